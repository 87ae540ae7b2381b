"""One training job's life: accepted, downloading, training, uploading, over.

A job is checked when it is made (`TrainingJob(...)` raises) and run by `run`, which returns its description: whatever
happens on the way is in there, not an exception. `stop` and `kill` may come from any thread and from a signal handler.
"""

import os
import queue
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from local_test.artifacts import pack
from local_test.channels import Channel, find_channels
from local_test.checkpoints import Checkpoints
from local_test.errors import BadRequest, Cancelled, DataError, ResourceInUse, RunnerError
from local_test.feeder import Fed, Feeder
from local_test.files import file_uri, write_json
from local_test.history import History, algorithm_error
from local_test.logs import LogFile
from local_test.metrics import MetricFile, MetricReader
from local_test.observer import Observer
from local_test.optml import Host, checkpoint_path, fetch_channel, make_folders, write_config, write_manifest
from local_test.runners import ContainerSpec, Runner
from local_test.storage import Storage, join_uri
from local_test.supervision import Events, Outcome, Stop, Supervisor, listening
from local_test.support import check_request

ACCOUNT = "123456789012"
GRACE_SECONDS = 120.0  # between SIGTERM and SIGKILL, on the service
# What a container gets of the caller's environment, so that a program can reach the S3 that the job's data came from.
PASSED_ON = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
)
_LAST_STATES = {"ended": "Completed", "stopped": "Stopped", "max runtime": "MaxRuntimeExceeded"}


class _Failed(Exception):  # noqa: N818 - the job's end, not an error of this program
    """The job has failed; the text is its FailureReason."""


def now_utc() -> datetime:
    """To the millisecond, as the API tells times."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def region(environ: Mapping[str, str]) -> str:
    """The region that ARNs and AWS_REGION name."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"


class TrainingJob:
    """A CreateTrainingJob request, accepted: its folder `out/<name>` exists from here on.

    `now` gives aware datetimes, `grace` is in seconds. Raises BadRequest, ResourceInUse or RunnerError, each one line,
    before anything is on disk.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        out: Path,
        runner: Runner,
        storage: Storage,
        environ: Mapping[str, str],
        observers: Sequence[Observer] = (),
        now: Callable[[], datetime] = now_utc,
        grace: float = GRACE_SECONDS,
    ) -> None:
        without_effect = check_request(request)
        self.request, self.name = request, request["TrainingJobName"]
        self.out, self.folder = out, out / self.name
        self._runner, self._storage, self._environ = runner, storage, environ
        self._observers, self._now, self._grace = observers, now, grace
        self.arn = f"arn:aws:sagemaker:{region(environ)}:{ACCOUNT}:training-job/{self.name.lower()}"
        self._metrics = MetricReader(request["AlgorithmSpecification"].get("MetricDefinitions", []))
        self._host = Host(Path(os.path.abspath(self.folder)) / "algo-1/opt/ml")  # noqa: PTH100 - links stay
        self._spec = self._container()
        if self.folder.exists():
            self._in_use()
        runner.check(self._spec)
        self.channels: list[Channel] = find_channels(request, storage)
        self._check_buckets()
        self._events: Events = queue.SimpleQueue()
        self._stop_asked = threading.Event()
        self.history = History(request, self.arn, now)
        self._publishing = threading.Lock()
        self._make_folder()
        if without_effect:
            self._note(f"accepted without effect here: {', '.join(without_effect)}")

    def describe(self) -> dict[str, Any]:
        """DescribeTrainingJob's response; times are datetimes."""
        return self.history.describe()

    def update(self, members: Mapping[str, Any]) -> None:
        """As UpdateTrainingJob: for what has no effect on the container."""
        self.history.update(members)
        self._write_description()

    def stop(self) -> None:
        """As the service would: SIGTERM, SIGKILL after the grace period; artifacts are kept."""
        self._stop_asked.set()
        self._events.put(Stop())

    def kill(self) -> None:
        """SIGKILL at once."""
        self._stop_asked.set()
        self._events.put(Stop(kill=True))

    def run(self) -> dict[str, Any]:
        """The job from beginning to end; its description. Call it once."""
        state = "Failed"
        try:
            state = self._attempt()
        except _Failed as failed:
            self.history.fail(str(failed))
        except BaseException as error:  # a bug, or this program is being ended: leave no job that seems to run
            self.history.fail(f"InternalServerError: {error or type(error).__name__}")
            raise
        finally:
            self._remove_tree()
            self._move(state)
        return self.describe()

    def _attempt(self) -> str:
        """The last state; _Failed where that is Failed. What a failed job has written is uploaded all the same."""
        failure, state = None, "Failed"
        try:
            state = _LAST_STATES[self._train(self._download()).why]
        except Cancelled:  # before there was a container to stop
            self._move("Stopping")
            return "Stopped"
        except _Failed as failed:
            failure = failed
        self._move("Uploading")
        self.history.measure(self._metrics.final)
        self._upload()
        if failure:
            raise failure
        return state

    # Starting

    def _container(self) -> ContainerSpec:
        algorithm = self.request["AlgorithmSpecification"]
        local_path = checkpoint_path(self.request)
        outside = local_path and self._host.inside(local_path) is None
        return ContainerSpec(
            job=self.name,
            host=self._host.name,
            image=algorithm.get("TrainingImage", ""),
            base=self._host.base,
            environment=self._container_environment(),
            entrypoint=algorithm.get("ContainerEntrypoint"),
            arguments=algorithm.get("ContainerArguments", () if "ContainerEntrypoint" in algorithm else ("train",)),
            mounts={self._host.base.parent / "checkpoints": local_path} if local_path and outside else {},
            network=not self.request.get("EnableNetworkIsolation", False),
        )

    def _container_environment(self) -> dict[str, str]:
        """The request's, the platform's, and the way to S3; an isolated container gets no credentials."""
        isolated = self.request.get("EnableNetworkIsolation", False)
        passed_on = {} if isolated else {name: self._environ[name] for name in PASSED_ON if name in self._environ}
        return {
            **passed_on,
            **self.request.get("Environment", {}),
            "AWS_REGION": region(self._environ),
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.arn,
        }

    def _check_buckets(self) -> None:
        """What is written to must be there: a job that can't leave its model must not run for hours."""
        for path in ("OutputDataConfig.S3OutputPath", "CheckpointConfig.S3Uri"):
            outer, inner = path.split(".")
            uri = self.request.get(outer, {}).get(inner)
            if uri and not self._storage.has_bucket(uri):
                raise BadRequest(f"{path}: its S3 bucket does not exist. Received: {uri}. Create the bucket first")

    def _make_folder(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir()
            self._platform_log = self.folder / "logs/platform.log"
            self._platform_log.parent.mkdir()
            write_json(self.folder / "request.json", self.request)
        except FileExistsError:
            if self.folder.exists():
                self._in_use()
            raise BadRequest(f"--out must be a folder. Received: {self.out}") from None
        except OSError as error:
            raise BadRequest(
                f"The job's folder can't be written: {error.strerror}. Received: {self.folder}. Name another with --out"
            ) from None
        self._publish()

    def _in_use(self) -> NoReturn:
        raise ResourceInUse(
            "Training job names must be unique within an AWS account and region, and a training job with this name "
            f"already exists ({self.arn}). Received: {self.name}, see {self.folder}"
        )

    # Downloading

    def _download(self) -> Checkpoints | None:
        self._check()
        self._move("Downloading")
        try:
            make_folders(self._host, self.request)
            write_config(self._host, self.request, self.channels, self.arn)
            for channel in self.channels:
                if channel.mode != "Pipe":
                    fetch_channel(self._host, channel, self._storage, self._check)
            return self._restore()
        except (DataError, OSError) as error:
            raise _Failed(f"ClientError: Data download failed:{error}") from None

    def _restore(self) -> Checkpoints | None:
        local_path = checkpoint_path(self.request)
        if not local_path:
            return None
        folder = self._host.inside(local_path) or next(iter(self._spec.mounts))
        folder.mkdir(parents=True, exist_ok=True)
        uri = self.request["CheckpointConfig"]["S3Uri"]
        checkpoints = Checkpoints(folder, uri, self._storage, self._checkpoint_problem)
        restored = checkpoints.restore(self._check)
        write_manifest(self._host, "checkpoints", uri, restored)
        if restored:
            self._note(f"{len(restored)} files of checkpoints restored from {uri}")
        return checkpoints

    def _checkpoint_problem(self, error: Exception) -> None:
        self._note(f"a checkpoint could not be copied and will be tried again: {error}")

    def _check(self) -> None:
        if self._stop_asked.is_set():
            raise Cancelled

    # Training

    def _train(self, checkpoints: Checkpoints | None) -> Outcome:
        self._check()
        with ExitStack() as stack:  # left in the opposite order: the container first, its feeders last
            self._start_feeders(stack)
            if checkpoints:
                checkpoints.start()
                stack.callback(self._last_checkpoint, checkpoints)
            self._move("Training")
            outcome = self._run_container()
        ended = outcome.exit
        if outcome.error:
            raise _Failed(f"ClientError: Data download failed:{outcome.error}")
        if outcome.why == "ended" and ended.code:
            raise _Failed(algorithm_error(self._failure_text(), ended.code, ended.out_of_memory))
        return outcome

    def _start_feeders(self, stack: ExitStack) -> None:
        for channel in self.channels:
            if channel.mode == "Pipe":
                feeder = Feeder(
                    self._host.input_data / channel.name,
                    lambda n, channel=channel: channel.contents(n, self._storage),
                    self._fed,
                    self._feed_failed,
                )
                stack.callback(feeder.stop)
                try:
                    feeder.start()
                except DataError as error:
                    raise _Failed(f"InternalServerError: {error}") from None

    def _run_container(self) -> Outcome:
        with ExitStack() as stack:
            log = stack.enter_context(closing(LogFile(self.folder / f"logs/{self._host.name}.log")))
            rows = stack.enter_context(closing(MetricFile(self.folder / "metrics.csv")))
            try:
                container = self._runner.start(self._spec)
                stack.callback(container.close)
                supervisor = Supervisor(container, self._events, self._grace, lambda: self._move("Stopping"))
                with listening(container, lambda line: self._line(line, log, rows), self._events):
                    return supervisor.watch(self.history.max_runtime)
            except RunnerError as error:
                raise _Failed(f"InternalServerError: {error}") from None

    def _line(self, line: str, log: LogFile, rows: MetricFile) -> None:
        log.write(line)
        metrics = self._metrics.read(line, self._now())
        rows.write(metrics)
        for observer in self._observers:
            observer.on_line(line)
            for metric in metrics:
                observer.on_metric(metric)

    def _fed(self, fed: Fed) -> None:
        for observer in self._observers:
            observer.on_fed(fed)

    def _feed_failed(self, error: Exception) -> None:
        self._note(f"the data can't be fed any further, the container is stopped: {error}")
        self._events.put(error if isinstance(error, DataError) else DataError(str(error)))

    def _failure_text(self) -> str:
        """What the program has written to /opt/ml/output/failure; a link there is not followed."""
        path = self._host.failure
        if path.is_symlink() or not path.is_file():
            return ""
        return path.read_bytes()[: 4 * 1024].decode(errors="replace")

    def _last_checkpoint(self, checkpoints: Checkpoints) -> None:
        try:
            checkpoints.stop()
        except (DataError, OSError) as error:
            raise _Failed(f"ClientError: Checkpoint upload failed:{error}") from None

    # Uploading

    def _upload(self) -> None:
        """Both archives, in the job's folder and where OutputDataConfig wants them."""
        if not self._host.model.is_dir():  # it has failed before there was a tree
            return
        try:
            for folder, name in ((self._host.model, "model.tar.gz"), (self._host.output_data, "output.tar.gz")):
                pack(folder, self.folder / name)
                self._put(name)
        except (DataError, OSError) as error:
            raise _Failed(f"ClientError: Artifact upload failed:{error}") from None
        self.history.leave(self._artifact_uri("model.tar.gz"))

    def _artifact_uri(self, name: str) -> str:
        """S3OutputPath/<job>/output/, as on the service; the job's own folder where that is the output path."""
        path = self.request["OutputDataConfig"]["S3OutputPath"]
        here = file_uri(self.out)
        return (
            join_uri(here, self.name, name) if path.rstrip("/") == here else join_uri(path, self.name, "output", name)
        )

    def _put(self, name: str) -> None:
        uri = self._artifact_uri(name)
        if uri != file_uri(self.folder / name):
            self._storage.put(self.folder / name, uri)

    # over

    def _remove_tree(self) -> None:
        problems: list[str] = []
        shutil.rmtree(self.folder / "algo-1", onerror=lambda _, path, error: problems.append(f"{path}: {error[1]}"))
        if problems and (self.folder / "algo-1").exists():
            self._note(f"{len(problems)} files of the container can't be removed: {problems[0]}")

    def _move(self, state: str) -> None:
        self.history.move(state)
        self._publish()

    def _publish(self) -> None:
        description = self._write_description()
        for observer in self._observers:
            observer.on_transition(description)

    def _write_description(self) -> dict[str, Any]:
        with self._publishing:  # two writers would share a temporary name, and the older description could win
            description = self.describe()
            write_json(self.folder / "describe.json", description)
            return description

    def _note(self, text: str) -> None:
        with suppress(OSError), self._platform_log.open("a", encoding="utf-8") as log:
            log.write(f"{self._now().isoformat(timespec='milliseconds')} {text}\n")
        for observer in self._observers:
            observer.on_note(text)
