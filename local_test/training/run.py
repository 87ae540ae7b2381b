"""One start of a job: its data is downloaded, its containers run, the outcome is judged."""

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import datetime

from local_test.data.fifo_feeder import FeedProgress
from local_test.data.object_store import ObjectStore
from local_test.errors import DataError, RunnerError
from local_test.hosts.checkpoint_sync import CheckpointSync
from local_test.hosts.opt_ml import checkpoint_path, tensorboard_path
from local_test.runners.base import Container, Runner
from local_test.runners.logs import LogFile
from local_test.runners.supervisor import Ended, EventQueue, Outcome, Supervisor, attach
from local_test.training.admission import Accepted, AcceptedJob
from local_test.training.job_status import PLATFORM, format_algorithm_error
from local_test.training.metrics import Metric, MetricRecorder
from local_test.training.publisher import Publisher
from local_test.training.runtime import Runtime
from local_test.util import console
from local_test.util.progress_lines import parse

LAST_STATES = {  # by an Outcome's reason
    "ended": "Completed",
    "stopped": "Stopped",
    "max runtime": "MaxRuntimeExceeded",
    "max wait": "MaxWaitTimeExceeded",
}


class JobFailed(Exception):  # noqa: N818 - the job's end, not an error of this program
    """The text is the job's FailureReason."""


class Run(ABC):
    """A start of a job of any kind. What is put to `events` stops it, from any thread and from a signal handler.

    `runtime` counts it, and how long its containers run. `synced` and `lost`: what is copied up meanwhile, and that the
    last copy could not be made.
    """

    synced: str
    lost: str

    def __init__(
        self,
        job: AcceptedJob,
        runtime: Runtime,
        runner: Runner,
        storage: ObjectStore,
        publisher: Publisher,
        grace: float,
    ) -> None:
        self._hosts, self._folder, self._request, self._arn = job.hosts, job.folder, job.request, job.arn
        self._asks_progress = job.asks_progress
        self._runtime, self._runner, self._storage = runtime, runner, storage
        self._publisher, self._grace = publisher, grace
        self.events: EventQueue = queue.SimpleQueue()

    def execute(self, check: Callable[[], None], limits: Callable[[], Mapping[str, float]]) -> Outcome:
        """From download to end. JobFailed if that fails the job. Before there are containers, `check` raises to end
        the work; then the seconds of `limits`, reason → seconds, do."""
        check()
        self._runtime.starts += 1
        self._publisher.move("Downloading")
        syncs = self._download(check)
        check()
        with ExitStack() as stack:  # left in the opposite order: the containers first, their feeders last
            self._start_feeders(stack)
            for sync in syncs:
                sync.start()
                stack.callback(self._stop_sync, sync)
            self._publisher.move(self._publisher.kind.running)
            outcome = self._run_containers(limits)
        if outcome.error:
            raise JobFailed(f"ClientError: Data download failed:{outcome.error}")
        if outcome.reason == "ended" and outcome.ended.exit.code:
            reason = self._explain_failure(outcome.ended)
            if advice := self._runner.advise(reason):
                self._publisher.note(advice)
            raise JobFailed(reason)
        return outcome

    @abstractmethod
    def _make_syncs(self, check: Callable[[], None]) -> list[CheckpointSync]:
        """What copies files up while the containers run."""

    @abstractmethod
    def _explain_failure(self, ended: Ended) -> str:
        """The FailureReason of a job whose container ended with another code than 0."""

    def _record(self, line: str, now: datetime) -> Sequence[Metric]:  # noqa: ARG002 - for the kinds that have metrics
        """The metrics in a line."""
        return ()

    # Downloading

    def _download(self, check: Callable[[], None]) -> list[CheckpointSync]:
        try:
            for host in self._hosts:
                host.prepare(self._request, self._arn, self._runtime.starts, self._storage, check)
            return self._make_syncs(check)
        except (DataError, OSError) as error:
            raise JobFailed(f"ClientError: Data download failed:{error}") from None

    def _note_copy_problem(self, error: Exception) -> None:
        self._publisher.note(f"{self.synced} could not be copied and will be tried again: {error}")

    def _stop_sync(self, sync: CheckpointSync) -> None:
        try:
            sync.stop()
        except (DataError, OSError) as error:
            raise JobFailed(f"ClientError: {self.lost}:{error}") from None

    # Running

    def _start_feeders(self, stack: ExitStack) -> None:
        first, *others = self._hosts
        try:
            first.start_feeders(stack, self._storage, self._publisher.feed, self._stop_for_data)
            for host in others:
                host.start_feeders(stack, self._storage, _ignore, self._stop_for_data)
        except DataError as error:
            raise JobFailed(f"{PLATFORM}: {error}") from None

    def _stop_for_data(self, error: Exception) -> None:
        self._publisher.note(f"the data can't be fed any further, the container is stopped: {error}")
        self.events.put(error if isinstance(error, DataError) else DataError(str(error)))

    def _run_containers(self, limits: Callable[[], Mapping[str, float]]) -> Outcome:
        names = [host.paths.name for host in self._hosts]
        with ExitStack() as stack:
            try:
                logs = [stack.enter_context(closing(LogFile(self._folder / f"logs/{name}.log"))) for name in names]
                containers = self._start_containers(stack)

                def on_lines(index: int, lines: Sequence[str]) -> None:
                    kept = [line for line in lines if not self._is_progress(line)]
                    logs[index].write(kept)
                    for line in kept:
                        self._publisher.line(names[index], line, self._record(line, self._publisher.now()))

                with attach(containers, on_lines, self.events, self._publisher.note):
                    return self._supervise(containers, limits())
            except RunnerError as error:
                raise JobFailed(f"{PLATFORM}: {error}") from None

    def _is_progress(self, line: str) -> bool:
        """Tells how far the program is. Only a line that the platform itself has asked for is no line of the log."""
        if progress := parse(line):
            self._publisher.progress(progress)
        return progress is not None and self._asks_progress

    def _start_containers(self, stack: ExitStack) -> list[Container]:
        network = stack.enter_context(self._runner.job_network(self._hosts[0].spec))
        containers = []
        for host in self._hosts:
            container = self._runner.start(replace(host.spec, network_name=network))
            stack.callback(container.close)
            containers.append(container)
        return containers

    def _supervise(self, containers: Sequence[Container], limits: Mapping[str, float]) -> Outcome:
        supervisor = Supervisor(containers, self.events, self._grace, lambda: self._publisher.move("Stopping"))
        with self._runtime.running():
            return supervisor.watch(limits)


class TrainingRun(Run):
    """Of a training job: with checkpoints and metrics."""

    synced, lost = "a checkpoint or an event", "Checkpoint upload failed"

    def __init__(
        self,
        job: Accepted,
        runtime: Runtime,
        metrics: MetricRecorder,
        runner: Runner,
        storage: ObjectStore,
        publisher: Publisher,
        grace: float,
    ) -> None:
        super().__init__(job, runtime, runner, storage, publisher, grace)
        self._metrics = metrics

    def _make_syncs(self, check: Callable[[], None]) -> list[CheckpointSync]:
        """The checkpoints, restored to every host; what then copies each host's checkpoints and TensorBoard's events
        up."""
        request, hosts, syncs = self._request, self._hosts, []
        if checkpoint_path(request):
            for host in hosts:
                sync, count = host.restore_checkpoints(request, self._storage, check, self._note_copy_problem)
                syncs.append(sync)
            if count:
                uri = request["CheckpointConfig"]["S3Uri"]
                self._publisher.note(f"{console.count(count, 'file')} of checkpoints restored from {uri}")
        if tensorboard_path(request):
            syncs += [host.sync_tensorboard(request, self._storage, self._note_copy_problem) for host in hosts]
        return syncs

    def _record(self, line: str, now: datetime) -> Sequence[Metric]:
        return self._metrics.record(line, now)

    def _explain_failure(self, ended: Ended) -> str:
        """A host that was killed leaves no word; the others may say which it was."""
        texts = [text for host in (self._hosts[ended.index], *self._hosts) if (text := host.failure_text())]
        return format_algorithm_error(texts[0] if texts else "", ended.exit.code, ended.exit.out_of_memory)


def _ignore(_: FeedProgress) -> None:
    """The progress of a host whose feeding is not shown."""
