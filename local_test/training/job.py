"""One training job's life: accepted, downloading, training, uploading, over.

A job is checked when it is made (`TrainingJob(...)` raises) and run by `run`, which returns its description: whatever
happens on the way is in there, not an exception. `stop` and `kill` may come from any thread and from a signal handler.
"""

import math
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from local_test.data.channels import Channel, find_channels
from local_test.data.fifo_feeder import FeedProgress
from local_test.data.object_store import ObjectStore, join_uri
from local_test.errors import BadRequest, Cancelled, DataError, ResourceInUse, RunnerError
from local_test.hosts.artifacts import pack
from local_test.hosts.checkpoint_sync import CheckpointSync
from local_test.hosts.host import Host, find_hosts, specification
from local_test.hosts.opt_ml import checkpoint_path, tensorboard_path
from local_test.request.support import check_request
from local_test.runners.base import Container, Runner
from local_test.training.job_status import PLATFORM, JobStatus, algorithm_error
from local_test.training.logs import LogFile
from local_test.training.metrics import MetricFile, MetricReader
from local_test.training.observer import Observer
from local_test.training.supervisor import EventQueue, Interrupt, Outcome, Stop, Supervisor, attach
from local_test.util.arns import format_arn, region
from local_test.util.atomic_files import file_uri, write_json
from local_test.util.clock import now_utc

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
_LAST_STATES = {
    "ended": "Completed",
    "stopped": "Stopped",
    "max runtime": "MaxRuntimeExceeded",
    "max wait": "MaxWaitTimeExceeded",
}


class _Failed(Exception):  # noqa: N818 - the job's end, not an error of this program
    """The job has failed; the text is its FailureReason."""


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
        storage: ObjectStore,
        environ: Mapping[str, str],
        observers: Sequence[Observer] = (),
        now: Callable[[], datetime] = now_utc,
        grace: float = GRACE_SECONDS,
        tuning_arn: str | None = None,
    ) -> None:
        without_effect = check_request(request)
        self.request, self.name = request, request["TrainingJobName"]
        algorithm = request["AlgorithmSpecification"]
        self.out, self.folder = out, out / self.name
        self._runner, self._storage, self._environ = runner, storage, environ
        self._observers, self._now, self._grace = list(observers), now, grace
        self.arn = format_arn(region(environ), "training-job", self.name)
        self._metrics, self._reading = MetricReader(algorithm.get("MetricDefinitions", [])), threading.Lock()
        hosts = find_hosts(request, self.folder)
        environment = self._container_environment()
        specs = [specification(request, host, environment) for host in hosts]
        if self.folder.exists():
            self._in_use()
        runner.check(specs[0])
        unmet_limits = runner.unmet_limits(specs[0])
        channels = find_channels(request, storage)
        self._check_buckets()
        self.members = [
            Host(host, spec, [channel.for_host(index, len(hosts)) for channel in channels])
            for index, (host, spec) in enumerate(zip(hosts, specs, strict=True))
        ]
        self._runs, self._trained, self._created = 0, 0.0, time.monotonic()
        self._events: EventQueue = queue.SimpleQueue()
        self._stop_asked = threading.Event()
        self.status = JobStatus.from_request(request, self.arn, now, tuning_arn)
        self._publishing = threading.Lock()
        self._make_folder()
        if without_effect:
            self._note(f"accepted without effect here: {', '.join(without_effect)}")
        for text in unmet_limits:
            self._note(text)

    @property
    def channels(self) -> Sequence[Channel]:
        """As the first host sees them."""
        return self.members[0].channels

    def describe(self) -> dict[str, Any]:
        """DescribeTrainingJob's response; times are datetimes."""
        return self.status.describe()

    def observe(self, observer: Observer) -> None:
        """One more; before `run`."""
        self._observers.append(observer)

    def update(self, members: Mapping[str, Any]) -> None:
        """As UpdateTrainingJob: for what has no effect on the container."""
        self.status.update(members)
        self._write_description()

    def stop(self) -> None:
        """As the service would: SIGTERM, SIGKILL after the grace period; artifacts are kept."""
        self._stop_asked.set()
        self._events.put(Stop())

    def kill(self) -> None:
        """SIGKILL at once."""
        self._stop_asked.set()
        self._events.put(Stop(kill=True))

    def interrupt(self) -> None:
        """As if the spot instances were taken away. BadRequest for a job that has none, or that does not train now."""
        if not self.request.get("EnableManagedSpotTraining"):
            raise BadRequest(f"Only a job with EnableManagedSpotTraining can be interrupted. Received: {self.name}")
        state = self.describe()["SecondaryStatus"]
        if state != "Training":
            raise BadRequest(f"Only a job that trains can be interrupted. Received: {self.name}, which is {state}")
        self._events.put(Interrupt())

    def run(self) -> dict[str, Any]:
        """The job from beginning to end; its description. Call it once."""
        state = "Failed"
        try:
            state = self._attempt()
        except _Failed as failed:
            self.status.fail(str(failed))
        except BaseException as error:  # a bug, or this program is being ended: leave no job that seems to run
            self.status.fail(f"{PLATFORM}: {error or type(error).__name__}")
            raise
        finally:
            self._remove_trees()
            self._move(state)
        return self.describe()

    def _attempt(self) -> str:
        """The last state; _Failed where that is Failed. What a failed job has written is uploaded all the same."""
        failure, state = None, "Failed"
        try:
            state = _LAST_STATES[self._train_until_done().reason]
        except Cancelled:  # before there was a container to stop
            self._move("Stopping")
            return "MaxWaitTimeExceeded" if self._waited_too_long() else "Stopped"
        except _Failed as failed:
            failure = failed
        self._move("Uploading")
        self.status.measure(self._metrics.final)
        self._upload()
        if failure:
            raise failure
        return state

    def _train_until_done(self) -> Outcome:
        """Started again, from its checkpoints, after an interruption; and after a failure of the platform's as often as
        RetryStrategy allows."""
        retries = self.request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        with closing(MetricFile(self.folder / "metrics.csv")) as rows:
            while True:
                self._runs += 1
                try:
                    outcome = self._train(self._download(), rows)
                    if outcome.reason != "interrupted":
                        return outcome
                    again = "Interrupted"
                except _Failed as failed:
                    if not retries or not str(failed).startswith(PLATFORM):
                        raise
                    retries -= 1
                    again = "Restarting"
                    self._note(f"{failed}. Started again")
                self._start_again(again)

    def _start_again(self, state: str) -> None:
        self._move(state)
        self._events = queue.SimpleQueue()  # a stop that came before is remembered by _stop_asked
        self._remove_trees()
        self._move("Starting")

    # Starting

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
        for path in ("OutputDataConfig.S3OutputPath", "CheckpointConfig.S3Uri", "TensorBoardOutputConfig.S3OutputPath"):
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

    def _download(self) -> list[CheckpointSync]:
        self._check()
        self._move("Downloading")
        try:
            for member in self.members:
                member.prepare(self.request, self.arn, self._runs, self._storage, self._check)
            return self._restore()
        except (DataError, OSError) as error:
            raise _Failed(f"ClientError: Data download failed:{error}") from None

    def _restore(self) -> list[CheckpointSync]:
        """To every host."""
        kept = []
        if checkpoint_path(self.request):
            for member in self.members:
                checkpoints, count = member.restore(self.request, self._storage, self._check, self._checkpoint_problem)
                kept.append(checkpoints)
            if count:
                self._note(f"{count} files of checkpoints restored from {self.request['CheckpointConfig']['S3Uri']}")
        if tensorboard_path(self.request):
            kept += [
                member.tensorboard(self.request, self._storage, self._checkpoint_problem) for member in self.members
            ]
        return kept

    def _checkpoint_problem(self, error: Exception) -> None:
        self._note(f"a checkpoint or an event could not be copied and will be tried again: {error}")

    def _check(self) -> None:
        if self._stop_asked.is_set() or self._waited_too_long():
            raise Cancelled

    def _waited_too_long(self) -> bool:
        return self._wait_left() <= 0 and not self._stop_asked.is_set()

    def _wait_left(self) -> float:
        """Seconds until MaxWaitTimeInSeconds, which counts from the job's creation."""
        limit = self.request.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
        return math.inf if limit is None else self._created + limit - time.monotonic()

    # Training

    def _train(self, kept: Sequence[CheckpointSync], rows: MetricFile) -> Outcome:
        self._check()
        with ExitStack() as stack:  # left in the opposite order: the containers first, their feeders last
            self._start_feeders(stack)
            for checkpoints in kept:
                checkpoints.start()
                stack.callback(self._last_checkpoint, checkpoints)
            self._move("Training")
            outcome = self._run_containers(rows)
        if outcome.error:
            raise _Failed(f"ClientError: Data download failed:{outcome.error}")
        ended, failed = outcome.ended.exit, self.members[outcome.ended.index]
        if outcome.reason == "ended" and ended.code:
            # a host that was killed leaves no word; the others may say which it was
            said = [text for member in (failed, *self.members) if (text := member.failure_text())]
            raise _Failed(algorithm_error(said[0] if said else "", ended.code, ended.out_of_memory))
        return outcome

    def _start_feeders(self, stack: ExitStack) -> None:
        try:
            for member in self.members:
                shown = self._fed if member is self.members[0] else lambda _: None
                member.start_feeders(stack, self._storage, shown, self._feed_failed)
        except DataError as error:
            raise _Failed(f"{PLATFORM}: {error}") from None

    def _run_containers(self, rows: MetricFile) -> Outcome:
        with ExitStack() as stack:
            try:
                logs = [
                    stack.enter_context(closing(LogFile(self.folder / f"logs/{member.host.name}.log")))
                    for member in self.members
                ]
                containers = self._start_containers(stack)
                supervisor = Supervisor(containers, self._events, self._grace, lambda: self._move("Stopping"))
                with attach(containers, lambda index, line: self._line(index, line, logs, rows), self._events):
                    return self._timed(supervisor)
            except RunnerError as error:
                raise _Failed(f"{PLATFORM}: {error}") from None

    def _start_containers(self, stack: ExitStack) -> list[Container]:
        network = stack.enter_context(self._runner.job_network(self.members[0].spec))
        containers = []
        for member in self.members:
            container = self._runner.start(replace(member.spec, network_name=network))
            stack.callback(container.close)
            containers.append(container)
        return containers

    def _timed(self, supervisor: Supervisor) -> Outcome:
        """MaxRuntimeInSeconds limits the training time of all runs together."""
        started = time.monotonic()
        try:
            left = self.status.max_runtime - self._trained
            return supervisor.watch({"max runtime": left, "max wait": self._wait_left()})
        finally:
            self._trained += time.monotonic() - started

    def _line(self, index: int, line: str, logs: Sequence[LogFile], rows: MetricFile) -> None:
        logs[index].write(line)
        host = self.members[index].host.name
        with self._reading:  # one line at a time, whichever host prints it
            metrics = self._metrics.read(line, self._now())
            rows.write(metrics)
        for observer in self._observers:
            observer.on_line(line, host)
            for metric in metrics:
                observer.on_metric(metric)

    def _fed(self, fed: FeedProgress) -> None:
        for observer in self._observers:
            observer.on_feed(fed)

    def _feed_failed(self, error: Exception) -> None:
        self._note(f"the data can't be fed any further, the container is stopped: {error}")
        self._events.put(error if isinstance(error, DataError) else DataError(str(error)))

    def _last_checkpoint(self, checkpoints: CheckpointSync) -> None:
        try:
            checkpoints.stop()
        except (DataError, OSError) as error:
            raise _Failed(f"ClientError: Checkpoint upload failed:{error}") from None

    # Uploading

    def _upload(self) -> None:
        """Both archives, in the job's folder and where OutputDataConfig wants them."""
        hosts = [member.host for member in self.members]
        if not all(host.model.is_dir() for host in hosts):  # it has failed before there was a tree
            return
        try:
            pack([host.model for host in hosts], self.folder / "model.tar.gz")
            pack([host.output_data for host in hosts], self.folder / "output.tar.gz")
            self._put("model.tar.gz")
            self._put("output.tar.gz")
        except (DataError, OSError) as error:
            raise _Failed(f"ClientError: Artifact upload failed:{error}") from None
        self.status.leave(self._artifact_uri("model.tar.gz"))

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

    def _remove_trees(self) -> None:
        problems: list[str] = []
        for member in self.members:
            tree = self.folder / member.host.name
            shutil.rmtree(tree, onerror=lambda _, path, error: problems.append(f"{path}: {error[1]}"))
            if problems and tree.exists():
                self._note(f"{len(problems)} files of the container can't be removed: {problems[0]}")

    def _move(self, state: str) -> None:
        self.status.move(state)
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
