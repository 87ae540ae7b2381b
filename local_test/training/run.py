"""One start of a job: its data is downloaded, its containers run, the outcome is judged."""

import queue
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

from local_test.data.fifo_feeder import FeedProgress
from local_test.data.object_store import ObjectStore
from local_test.errors import DataError, RunnerError
from local_test.hosts.checkpoint_sync import CheckpointSync
from local_test.hosts.opt_ml import checkpoint_path, tensorboard_path
from local_test.runners.base import Container, Runner
from local_test.training.admission import Accepted
from local_test.training.job_status import PLATFORM, format_algorithm_error
from local_test.training.logs import LogFile
from local_test.training.metrics import MetricRecorder
from local_test.training.publisher import Publisher
from local_test.training.supervisor import EventQueue, Outcome, Supervisor, attach
from local_test.util import console


class JobFailed(Exception):  # noqa: N818 - the job's end, not an error of this program
    """The text is the job's FailureReason."""


class Run:
    """Start `number`, counted from 1. What is put to `events` stops it, from any thread and from a signal handler.

    `training_seconds`: how long the containers have run.
    """

    def __init__(
        self, job: Accepted, number: int, runner: Runner, storage: ObjectStore, publisher: Publisher, grace: float
    ) -> None:
        self._job, self._number, self._runner, self._storage = job, number, runner, storage
        self._publisher, self._grace = publisher, grace
        self.events: EventQueue = queue.SimpleQueue()
        self.training_seconds = 0.0

    def execute(
        self, check: Callable[[], None], limits: Callable[[], Mapping[str, float]], metrics: MetricRecorder
    ) -> Outcome:
        """From download to end. JobFailed if that fails the job. Before there are containers, `check` raises to end
        the work; then the seconds of `limits`, reason → seconds, do."""
        check()
        self._publisher.move("Downloading")
        syncs = self._download(check)
        check()
        with ExitStack() as stack:  # left in the opposite order: the containers first, their feeders last
            self._start_feeders(stack)
            for sync in syncs:
                sync.start()
                stack.callback(_stop_sync, sync)
            self._publisher.move("Training")
            outcome = self._run_containers(limits, metrics)
        self._check_outcome(outcome)
        return outcome

    # Downloading

    def _download(self, check: Callable[[], None]) -> list[CheckpointSync]:
        try:
            for host in self._job.hosts:
                host.prepare(self._job.request, self._job.arn, self._number, self._storage, check)
            return self._restore(check)
        except (DataError, OSError) as error:
            raise JobFailed(f"ClientError: Data download failed:{error}") from None

    def _restore(self, check: Callable[[], None]) -> list[CheckpointSync]:
        """The checkpoints, to every host; what then copies each host's checkpoints and TensorBoard's events up."""
        request, hosts, syncs = self._job.request, self._job.hosts, []
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

    def _note_copy_problem(self, error: Exception) -> None:
        self._publisher.note(f"a checkpoint or an event could not be copied and will be tried again: {error}")

    # Training

    def _start_feeders(self, stack: ExitStack) -> None:
        first, *others = self._job.hosts
        try:
            first.start_feeders(stack, self._storage, self._publisher.feed, self._stop_for_data)
            for host in others:
                host.start_feeders(stack, self._storage, _ignore, self._stop_for_data)
        except DataError as error:
            raise JobFailed(f"{PLATFORM}: {error}") from None

    def _stop_for_data(self, error: Exception) -> None:
        self._publisher.note(f"the data can't be fed any further, the container is stopped: {error}")
        self.events.put(error if isinstance(error, DataError) else DataError(str(error)))

    def _run_containers(self, limits: Callable[[], Mapping[str, float]], metrics: MetricRecorder) -> Outcome:
        names = [host.paths.name for host in self._job.hosts]
        with ExitStack() as stack:
            try:
                logs = [stack.enter_context(closing(LogFile(self._job.folder / f"logs/{name}.log"))) for name in names]
                containers = self._start_containers(stack)

                def on_lines(index: int, lines: Sequence[str]) -> None:
                    logs[index].write(lines)
                    for line in lines:
                        self._publisher.line(names[index], line, metrics.record(line, self._publisher.now()))

                with attach(containers, on_lines, self.events, self._publisher.note):
                    return self._supervise(containers, limits())
            except RunnerError as error:
                raise JobFailed(f"{PLATFORM}: {error}") from None

    def _start_containers(self, stack: ExitStack) -> list[Container]:
        network = stack.enter_context(self._runner.job_network(self._job.hosts[0].spec))
        containers = []
        for host in self._job.hosts:
            container = self._runner.start(replace(host.spec, network_name=network))
            stack.callback(container.close)
            containers.append(container)
        return containers

    def _supervise(self, containers: Sequence[Container], limits: Mapping[str, float]) -> Outcome:
        supervisor = Supervisor(containers, self.events, self._grace, lambda: self._publisher.move("Stopping"))
        started = time.monotonic()
        try:
            return supervisor.watch(limits)
        finally:
            self.training_seconds = time.monotonic() - started

    def _check_outcome(self, outcome: Outcome) -> None:
        if outcome.error:
            raise JobFailed(f"ClientError: Data download failed:{outcome.error}")
        end, failed = outcome.ended.exit, self._job.hosts[outcome.ended.index]
        if outcome.reason == "ended" and end.code:
            # a host that was killed leaves no word; the others may say which it was
            texts = [text for host in (failed, *self._job.hosts) if (text := host.failure_text())]
            raise JobFailed(format_algorithm_error(texts[0] if texts else "", end.code, end.out_of_memory))


def _stop_sync(sync: CheckpointSync) -> None:
    try:
        sync.stop()
    except (DataError, OSError) as error:
        raise JobFailed(f"ClientError: Checkpoint upload failed:{error}") from None


def _ignore(_: FeedProgress) -> None:
    """The progress of a host whose feeding is not shown."""
