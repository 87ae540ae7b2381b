"""Builds what every client sends: training_job.json, tuning_job.json or the caller's file, its placeholders filled in.
Standard library only.

`python -m launch.core.request train|tune …` prints the request, for the AWS CLI and for a look.
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from launch.core.console import begin_program

FOLDER = Path(__file__).parents[1]
PREFIX = "cv_keras_cifar10"  # of all that is stored in the bucket
_BASE_NAME = "cv-keras-cifar10"
_TUNING_NAME = "cifar10"  # a tuning job's name has at most 32 characters
_PROGRESS_SECONDS = "9"  # between two lines on how far an epoch is, in the log of a job that is waited for
MAX_RUNTIME = 86400  # seconds, of a request that has no limit: the service's own
_WAIT_FACTOR = 2  # a spot job may wait for instances as long as it may run
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")  # of jobs and experiments; the service says how long
_MOST = 1 << 24  # characters of a request's file
_PLACEHOLDER = re.compile("<([a-z]+)>")
_SCRIPT = "sagemaker_program"  # the hyperparameter that names a script


@dataclass(frozen=True)
class Options:
    """What the command line says; `role` is an ARN by the time a request is built."""

    command: str  # train or tune
    image: str
    role: str
    bucket: str
    name: str  # of the job, and of its trial in the experiment
    instance_type: str | None = None
    spot: bool = False
    wait: bool = False
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None
    job: Path | None = None  # the file, if it is the caller's own


def build_parser(description: str | None, program: str | None = None) -> argparse.ArgumentParser:
    """The command line that all clients share. `program`: as it is typed, unless that is `python -m` and the module."""
    spec = sys.modules["__main__"].__spec__
    parser = argparse.ArgumentParser(
        program or (f"python -m {spec.name}" if spec else None), description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("command", choices=["train", "tune"], help="one training job, or a tuning job of six")
    parser.add_argument(
        "--job", type=Path, metavar="FILE", help="a request instead of launch/{training,tuning}_job.json"
    )
    parser.add_argument("--image", required=True, help="what push.sh printed: repository@sha256:…; locally any image")
    parser.add_argument("--role", required=True, help="name or ARN of the execution role; locally: local")
    parser.add_argument("--bucket", required=True, help="where `python -m dataset upload` has put the data")
    parser.add_argument("--name", help="of the job; default: one with the time")
    parser.add_argument("--instance-type", help="default: what the request's file says")
    parser.add_argument("--spot", action="store_true", help="managed spot instances, with checkpoints")
    parser.add_argument("--wait", action="store_true", help="follow the job to its end; exit 0 only if it completes")
    parser.add_argument("--experiment", help="put the job's runs into a trial of this experiment; made if need be")
    parser.add_argument(
        "--hyperparameter", action="append", default=[], metavar="NAME=VALUE", help="instead of, or besides the file's"
    )
    return parser


def parse_options(arguments: argparse.Namespace) -> Options:
    """SystemExit, as argparse does, for a hyperparameter without a value, a bucket or a name that can't be one."""
    check_bucket_name(arguments.bucket)
    for option in ("name", "experiment"):
        check_name(option, getattr(arguments, option))
    hyperparameters = parse_pairs("hyperparameter", arguments.hyperparameter)
    base = _BASE_NAME if arguments.command == "train" else _TUNING_NAME
    members = vars(arguments) | {"name": arguments.name or f"{base}-{datetime.now(UTC):%Y%m%d-%H%M%S}"}
    del members["hyperparameter"]
    return Options(**members, hyperparameters=hyperparameters)


def parse_pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE, as often as the option is given."""
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise SystemExit(f"--{option} must be NAME=VALUE. Received: {wrong[0]}")
    return dict(text.split("=", 1) for text in texts)


def check_bucket_name(bucket: str) -> None:
    """SystemExit for what can't be one."""
    if not _BUCKET.fullmatch(bucket):
        raise SystemExit(f"--bucket must be a bucket's name alone. Received: {bucket}. Expected: my-bucket")


def check_name(option: str, name: str | None) -> None:
    """SystemExit for what can't be the name of a job, an experiment, a pipeline."""
    if name is not None and not _NAME.fullmatch(name):
        raise SystemExit(f"--{option} must be letters, digits and hyphens. Received: {name!r}. Expected: my-{option}")


def build_request(options: Options) -> dict[str, Any]:
    """A CreateTrainingJob or CreateHyperParameterTuningJob request."""
    return build_training_job(options) if options.command == "train" else build_tuning_job(options)


def build_training_job(options: Options) -> dict[str, Any]:
    """training_job.json, filled in."""
    request = _read("training_job.json", "TrainingJobName", options)
    _adapt(request, options)
    own = request.get("HyperParameters", {})
    if _SCRIPT in options.hyperparameters and _SCRIPT not in own:
        own = {}  # of the program that the script replaces: it would get them as options
    request["HyperParameters"] = {**own, **options.hyperparameters}
    if options.wait:  # somebody reads the log as it comes
        request["Environment"] = {"PROGRESS_SECONDS": _PROGRESS_SECONDS, **request.get("Environment", {})}
    if options.experiment:
        request["ExperimentConfig"] = {"ExperimentName": options.experiment, "TrialName": options.name}
    return request


def build_tuning_job(options: Options) -> dict[str, Any]:
    """tuning_job.json, filled in. A hyperparameter with a value of its own is not tuned."""
    request = _read("tuning_job.json", "HyperParameterTuningJobName", options)
    job = request.get("TrainingJobDefinition")
    ranges = request.get("HyperParameterTuningJobConfig", {}).get("ParameterRanges")
    if job is None or ranges is None:
        raise SystemExit(
            "--job must hold one TrainingJobDefinition, and ParameterRanges in HyperParameterTuningJobConfig, to tune. "
            f"Received: {', '.join(request)} in {options.job}. Several TrainingJobDefinitions can be sent as they are: "
            "aws sagemaker create-hyper-parameter-tuning-job --cli-input-json file://REQUEST.json"
        )
    _adapt(job, options)
    job["StaticHyperParameters"] = {**job.get("StaticHyperParameters", {}), **options.hyperparameters}
    for kind in ranges:
        ranges[kind] = [tuned for tuned in ranges[kind] if tuned["Name"] not in options.hyperparameters]
    if options.spot:
        # each training job of a tuning job gets a folder of its own below this
        job["CheckpointConfig"] = {"S3Uri": f"s3://{options.bucket}/{PREFIX}/checkpoints/{options.name}/"}
    return request


def input_uris(request: Mapping[str, Any]) -> dict[str, str]:
    """S3 URI → channel of all that a request reads."""
    job = request.get("TrainingJobDefinition", request)
    sources = ((one["ChannelName"], one["DataSource"].get("S3DataSource")) for one in job.get("InputDataConfig", ()))
    return {source["S3Uri"]: name for name, source in sources if source}


def missing_data_message(channel: str, uri: str, bucket: str) -> str:
    """The error for a channel without an object."""
    prefix, data, _ = uri.partition("/data/")
    prefix = prefix.removeprefix(f"s3://{bucket}/")
    advice = f"Put its files there: `aws s3 cp FILE {uri}`."
    if data:
        more = "" if prefix == PREFIX else f" --prefix {prefix}"
        advice = f"Run `python -m dataset prepare`, then `python -m dataset upload --bucket {bucket}{more}`."
    return f"There is no data for channel {channel}. Received: nothing at {uri}. {advice}"


def _adapt(job: dict[str, Any], options: Options) -> None:
    if options.instance_type:
        job.setdefault("ResourceConfig", {})["InstanceType"] = options.instance_type
    if options.spot:
        job["EnableManagedSpotTraining"] = True
        stopping = job.setdefault("StoppingCondition", {})
        stopping["MaxWaitTimeInSeconds"] = _WAIT_FACTOR * stopping.setdefault("MaxRuntimeInSeconds", MAX_RUNTIME)


def _read(name: str, expected: str, options: Options) -> dict[str, Any]:
    """The file `name`, or the caller's own. SystemExit if that isn't a request with the member `expected`."""
    path = options.job or FOLDER / name
    try:
        with path.open(encoding="utf-8") as file:  # a device has no end, a FIFO of the shell's has
            text = file.read(_MOST + 1)
        if len(text) > _MOST:
            raise SystemExit(f"--job is too large. Received: {path}. Expected: at most {_MOST} characters")
        request = json.loads(text)
    except OSError as error:
        raise SystemExit(f"--job can't be read: {error.strerror}. Received: {path}") from None
    except (ValueError, RecursionError) as error:
        raise SystemExit(f"--job is not JSON: {error}. Received: {path}") from None
    if not isinstance(request, dict) or expected not in request:
        raise SystemExit(f"--job must hold a request with {expected} to {options.command}. Received: {path}")
    return fill_in(
        request, {"name": options.name, "image": options.image, "role": options.role, "bucket": options.bucket}
    )


def fill_in(value: Any, values: Mapping[str, str]) -> Any:
    """JSON with the texts of its placeholders, `<bucket>` for one; those without a value stay. A member that is null is
    none."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), value)
    if isinstance(value, list):
        return [fill_in(item, values) for item in value]
    if isinstance(value, dict):
        return {key: fill_in(item, values) for key, item in value.items() if item is not None}
    return value


def main(argv: Sequence[str] | None = None) -> None:
    """Print the request."""
    if argv is None:  # this is a program of its own
        begin_program()
    options = parse_options(build_parser(__doc__).parse_args(argv))
    json.dump(build_request(options), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
