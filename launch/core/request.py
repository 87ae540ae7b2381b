"""What every client sends: training_job.json, tuning_job.json or a file of the caller's, its placeholders filled in.
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

FOLDER = Path(__file__).parents[1]
PREFIX = "cv_keras_cifar10"  # of all that is stored in the bucket
_BASE_NAME = "cv-keras-cifar10"
_TUNING_NAME = "cifar10"  # a tuning job's name has at most 32 characters
_WAIT_FACTOR = 2  # a spot job may wait for instances as long as it may run
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PLACEHOLDER = re.compile("<(name|image|role|bucket)>")


@dataclass(frozen=True)
class Options:
    """What a person says; `role` is an ARN by the time a request is made."""

    command: str  # train or tune
    image: str
    role: str
    bucket: str
    name: str
    instance_type: str | None = None
    spot: bool = False
    wait: bool = False
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None
    job: Path | None = None  # the file, if it is the caller's own

    @property
    def trial(self) -> str:
        """Of the job, in its experiment."""
        return self.name


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line that all clients share."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("command", choices=["train", "tune"], help="one training job, or a tuning job of six")
    made.add_argument("--job", type=Path, metavar="FILE", help="a request instead of launch/{training,tuning}_job.json")
    made.add_argument("--image", required=True, help="what push.sh printed: repository@sha256:…; locally any image")
    made.add_argument("--role", required=True, help="name or ARN of the execution role; locally: local")
    made.add_argument("--bucket", required=True, help="where `python -m dataset upload` has put the data")
    made.add_argument("--name", help="of the job; default: one with the time")
    made.add_argument("--instance-type", help="default: what the request's file says")
    made.add_argument("--spot", action="store_true", help="managed spot instances, with checkpoints")
    made.add_argument("--wait", action="store_true", help="follow the job to its end; exit 0 only if it completes")
    made.add_argument("--experiment", help="put the job's runs into a trial of this experiment; made if need be")
    made.add_argument(
        "--hyperparameter", action="append", default=[], metavar="NAME=VALUE", help="instead of, or besides the file's"
    )
    return made


def options(given: argparse.Namespace, now: datetime | None = None) -> Options:
    """SystemExit, as argparse does, for a hyperparameter without a value or a bucket that can't be one."""
    wrong = [text for text in given.hyperparameter if "=" not in text]
    if wrong:
        raise SystemExit(f"--hyperparameter must be NAME=VALUE. Received: {wrong[0]}")
    if not _BUCKET.fullmatch(given.bucket):
        raise SystemExit(f"--bucket must be a bucket's name alone. Received: {given.bucket}. Expected: my-bucket")
    base = _BASE_NAME if given.command == "train" else _TUNING_NAME
    return Options(
        given.command,
        given.image,
        given.role,
        given.bucket,
        given.name or f"{base}-{now or datetime.now(UTC):%Y%m%d-%H%M%S}",
        given.instance_type,
        given.spot,
        given.wait,
        dict(text.split("=", 1) for text in given.hyperparameter),
        given.experiment,
        given.job,
    )


def request(chosen: Options) -> dict[str, Any]:
    """A CreateTrainingJob or CreateHyperParameterTuningJob request."""
    return training_job(chosen) if chosen.command == "train" else tuning_job(chosen)


def training_job(chosen: Options) -> dict[str, Any]:
    """training_job.json, filled in."""
    made = _filled("training_job.json", "TrainingJobName", chosen)
    _adapt(made, chosen)
    made["HyperParameters"] = {**made.get("HyperParameters", {}), **chosen.hyperparameters}
    if chosen.experiment:
        made["ExperimentConfig"] = {"ExperimentName": chosen.experiment, "TrialName": chosen.trial}
    return made


def tuning_job(chosen: Options) -> dict[str, Any]:
    """tuning_job.json, filled in. A hyperparameter that is said is not tuned any more."""
    made = _filled("tuning_job.json", "HyperParameterTuningJobName", chosen)
    job = made.get("TrainingJobDefinition")
    ranges = made.get("HyperParameterTuningJobConfig", {}).get("ParameterRanges")
    if job is None or ranges is None:
        raise SystemExit(
            "--job must hold one TrainingJobDefinition, and ParameterRanges in HyperParameterTuningJobConfig, to tune. "
            f"Received: {', '.join(made)} in {chosen.job}. Several TrainingJobDefinitions can be sent as they are: "
            "aws sagemaker create-hyper-parameter-tuning-job --cli-input-json file://REQUEST.json"
        )
    _adapt(job, chosen)
    job["StaticHyperParameters"] = {**job.get("StaticHyperParameters", {}), **chosen.hyperparameters}
    for kind in ranges:
        ranges[kind] = [tuned for tuned in ranges[kind] if tuned["Name"] not in chosen.hyperparameters]
    if chosen.spot:
        # each training job of a tuning job gets a folder of its own below this
        job["CheckpointConfig"] = {"S3Uri": f"s3://{chosen.bucket}/{PREFIX}/checkpoints/{chosen.name}/"}
    return made


def places(made: Mapping[str, Any]) -> dict[str, str]:
    """S3 URI → channel of what a request reads."""
    job = made.get("TrainingJobDefinition", made)
    sources = ((one["ChannelName"], one["DataSource"].get("S3DataSource")) for one in job.get("InputDataConfig", ()))
    return {source["S3Uri"]: name for name, source in sources if source}


def no_data(channel: str, uri: str, bucket: str) -> str:
    """What to say of a channel without an object."""
    prefix, data, _ = uri.partition("/data/")
    prefix = prefix.removeprefix(f"s3://{bucket}/")
    advice = f"Put its files there: `aws s3 cp FILE {uri}`."
    if data:
        more = "" if prefix == PREFIX else f" --prefix {prefix}"
        advice = f"Run `python -m dataset prepare`, then `python -m dataset upload --bucket {bucket}{more}`."
    return f"There is no data for channel {channel}. Received: nothing at {uri}. {advice}"


def _adapt(job: dict[str, Any], chosen: Options) -> None:
    if chosen.instance_type:
        job["ResourceConfig"]["InstanceType"] = chosen.instance_type
    if chosen.spot:
        job["EnableManagedSpotTraining"] = True
        stopping = job["StoppingCondition"]
        stopping["MaxWaitTimeInSeconds"] = _WAIT_FACTOR * stopping["MaxRuntimeInSeconds"]


def _filled(name: str, expected: str, chosen: Options) -> dict[str, Any]:
    """The file `name`, or the caller's own. SystemExit if that isn't a request with the member `expected`."""
    values = {"name": chosen.name, "image": chosen.image, "role": chosen.role, "bucket": chosen.bucket}

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return _PLACEHOLDER.sub(lambda found: values[found[1]], value)
        if isinstance(value, list):
            return [fill(item) for item in value]
        return {key: fill(item) for key, item in value.items()} if isinstance(value, dict) else value

    path = chosen.job or FOLDER / name
    try:
        made = json.loads(path.read_text())
    except OSError as error:
        raise SystemExit(f"--job can't be read: {error.strerror}. Received: {path}") from None
    except ValueError as error:
        raise SystemExit(f"--job is not JSON: {error}. Received: {path}") from None
    if not isinstance(made, dict) or expected not in made:
        raise SystemExit(f"--job must hold a request with {expected} to {chosen.command}. Received: {path}")
    return fill(made)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the request."""
    chosen = options(parser(__doc__).parse_args(arguments))
    json.dump(request(chosen), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
