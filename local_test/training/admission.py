"""A CreateTrainingJob request is admitted as a job, or refused in one line while nothing of it is on disk. What jobs of
every kind need for that is here, too."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_test.data.channels import find_channels
from local_test.data.object_store import ObjectStore
from local_test.errors import BadRequest, ResourceInUse
from local_test.hosts.host import Host, make_paths, make_spec
from local_test.request.job_kind import TRAINING, JobKind
from local_test.request.normal_form import normal_form
from local_test.request.support import check_request
from local_test.runners.base import ContainerSpec, Runner
from local_test.training.metrics import MetricReader
from local_test.util.arns import format_arn, region
from local_test.util.atomic_files import check_folder, new_folder, write_json
from local_test.util.progress_lines import VARIABLE

# What a container gets of the caller's environment, so that a program can reach the S3 that the job's data came from.
PASSED_ON = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
)
_OUTPUTS = ("OutputDataConfig.S3OutputPath", "CheckpointConfig.S3Uri", "TensorBoardOutputConfig.S3OutputPath")


@dataclass(frozen=True)
class AcceptedJob:
    """A request that can be run, in its normal form; its job's folder (not there yet), ARN and hosts. `notes`: what
    the platform can't do for it, a line each."""

    request: Mapping[str, Any]
    folder: Path
    arn: str
    hosts: Sequence[Host]
    notes: Sequence[str]

    @property
    def asks_progress(self) -> bool:
        """Whether a program's progress lines are there because the platform has asked for them, not the request."""
        return VARIABLE in self.hosts[0].spec.environment and VARIABLE not in self.request.get("Environment", {})


@dataclass(frozen=True)
class Accepted(AcceptedJob):
    """A training job."""

    metrics: MetricReader


def admit(
    request: Mapping[str, Any],
    out: Path,
    storage: ObjectStore,
    runner: Runner,
    environ: Mapping[str, str],
    *,
    again: bool = False,
) -> Accepted:
    """The job `out/<name>`. BadRequest, ResourceInUse or RunnerError if it can't be run here. `again`: it was admitted
    before, and its folder is there with this request, which is in its normal form."""
    ignored = [] if again else check_request(request)
    request = request if again else normal_form(request)
    name = request["TrainingJobName"]
    folder, arn = out / name, format_arn(region(environ), TRAINING.resource, name)
    metrics = MetricReader(request["AlgorithmSpecification"].get("MetricDefinitions", []))
    paths = make_paths(request["ResourceConfig"]["InstanceCount"], folder)
    isolated, own = request.get("EnableNetworkIsolation", False), {"TRAINING_JOB_NAME": name, "TRAINING_JOB_ARN": arn}
    environment = container_environment(request.get("Environment", {}), own, environ, isolated=isolated)
    specs = [make_spec(request, host, environment) for host in paths]
    if not again:
        check_name(TRAINING, folder, arn)
    notes = check_start(specs[0], ignored, runner)
    channels = find_channels(request, storage)
    outputs = ((path, *path.split(".")) for path in _OUTPUTS)
    check_buckets(((path, request.get(outer, {}).get(inner)) for path, outer, inner in outputs), storage)
    hosts = [
        Host(host, spec, [channel.for_host(index, len(paths)) for channel in channels])
        for index, (host, spec) in enumerate(zip(paths, specs, strict=True))
    ]
    return Accepted(request, folder, arn, hosts, notes, metrics)


def check_name(kind: JobKind, folder: Path, arn: str) -> None:
    """ResourceInUse if the name is taken in any case: the ARN of both would be the same. BadRequest if there can't be
    such a folder."""
    out = folder.parent
    check_folder(out, "--out")
    beside = out.iterdir() if out.exists() else ()
    if taken := next((path for path in beside if path.name.lower() == folder.name.lower()), None):
        raise name_in_use(kind, taken, arn)


def check_start(spec: ContainerSpec, ignored: Sequence[str], runner: Runner) -> list[str]:
    """The job's notes. RunnerError if its containers can't be started."""
    runner.check(spec)
    return [*([f"ignored locally: {', '.join(ignored)}"] if ignored else []), *runner.unmet_limits(spec)]


def container_environment(
    requested: Mapping[str, str], own: Mapping[str, str], environ: Mapping[str, str], *, isolated: bool
) -> dict[str, str]:
    """The request's, the platform's, and the way to S3; an isolated container gets no credentials."""
    passed_on = {} if isolated else {name: environ[name] for name in PASSED_ON if name in environ}
    progress = {name: environ[name] for name in (VARIABLE,) if name in environ}
    return {**passed_on, **progress, **requested, "AWS_REGION": region(environ), **own}


def check_buckets(outputs: Iterable[tuple[str, str | None]], storage: ObjectStore) -> None:
    """What is written to must be there: a job that can't leave its model must not run for hours. (member, URI)s."""
    for path, uri in outputs:
        try:
            is_there = not uri or storage.has_bucket(uri)
        except BadRequest as error:
            raise BadRequest(f"{path}: {error}") from None
        if not is_there:
            raise BadRequest(f"{path}: its S3 bucket does not exist. Received: {uri}. Create the bucket first")


@contextmanager
def make_folder(kind: JobKind, accepted: AcceptedJob) -> Iterator[None]:
    """The job's folder with logs/ and request.json. It keeps the name unique: ResourceInUse if it exists by now. What
    fails while inside takes it away again."""
    out, folder = accepted.folder.parent, accepted.folder
    try:
        out.mkdir(parents=True, exist_ok=True)
        with new_folder(folder, "The job"):
            (folder / "logs").mkdir()
            write_json(folder / "request.json", accepted.request)
            yield
    except FileExistsError:
        raise name_in_use(kind, folder, accepted.arn) from None
    except OSError as error:
        raise BadRequest(
            f"The job's folder can't be written: {error.strerror}. Received: {folder}. Name another with --out"
        ) from None


def name_in_use(kind: JobKind, folder: Path, arn: str) -> ResourceInUse:
    return ResourceInUse(
        f"{kind.noun.capitalize()} names must be unique within an AWS account and region, and a {kind.noun} with this "
        f"name already exists ({arn}). Received: {folder.name}, see {folder}"
    )
