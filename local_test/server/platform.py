"""The platform put together: jobs on disk, job queues, tuning jobs, experiments. `tune` and `serve` both run on it."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_test.api.dispatch import Operation
from local_test.api.executions import ExecutionsApi
from local_test.api.experiments import ExperimentsApi
from local_test.api.jobs import ProcessingJobsApi, TrainingJobsApi, TuningJobsApi
from local_test.api.lineage import LineageApi
from local_test.api.pipelines import PipelinesApi
from local_test.api.search import SearchApi
from local_test.api.tags import TagsApi
from local_test.data.object_store import ObjectStore
from local_test.errors import BadRequest
from local_test.executions.manager import ExecutionManager
from local_test.executions.record import ExecutionRecord
from local_test.executions.services import Services
from local_test.experiments.entities import Experiments
from local_test.experiments.job_tracker import JobTracker, sync_component
from local_test.experiments.lineage import Lineage
from local_test.page.lists import JobSet
from local_test.pipelines.versions import PipelineStore
from local_test.processing.job import ProcessingJob
from local_test.processing.job_status import ProcessingJobStatus
from local_test.request.guard import Guard
from local_test.runners.base import Runner
from local_test.training.admission import admit
from local_test.training.job import TrainingJob
from local_test.training.job_queue import JobQueue, Slots, TrainingJobQueue
from local_test.training.job_status import TrainingJobStatus
from local_test.training.job_store import JobStore, RegionStore
from local_test.training.observer import Observer
from local_test.training.spot import SpotInterruption, seconds_from_tags
from local_test.tuning.job_manager import TuningJobManager
from local_test.util.clock import now_utc
from local_test.util.console import warn_on_stderr
from local_test.util.mailbox import Request, answering


@dataclass(frozen=True)
class JobContext:
    """Where one job reads and writes, and who observes it."""

    storage: ObjectStore
    environ: Mapping[str, str]
    observers: Sequence[Observer] = ()


NewContext = Callable[[Mapping[str, Any], str], JobContext]  # (request, region) → its context


class Region:
    """A region: jobs of every kind, pipelines, experiments. Another region may have others of the same names."""

    def __init__(self, platform: "Platform", name: str, store: RegionStore, slots: Slots, runner: Runner) -> None:
        self.name, self._platform, self._runner, self.store = name, platform, runner, store
        self.jobs = TrainingJobQueue(store.training, name, TrainingJobStatus, self._new_job, slots)
        self.processing_jobs = JobQueue(store.processing, name, ProcessingJobStatus, self._new_processing_job, slots)
        for queue in self.queues:
            queue.delete_listeners = platform.delete_listeners
        self.tuning_jobs = TuningJobManager(store.tuning, name, self.jobs, store.late)
        self.tuning_jobs.listeners = platform.tuning_listeners
        self.tuning_jobs.check_job = self._check_job
        self.experiments = Experiments(store.experiments, name, now_utc)
        self.pipelines = PipelineStore(store.pipelines, name, now_utc)
        self.lineage = Lineage(store.experiments, name, self.experiments.components, now_utc)
        self.executions = ExecutionManager(store.executions, self._services, self.pipelines.at)
        self.executions.listeners = platform.execution_listeners
        for description in (*self.jobs.all(), *self.processing_jobs.all()):  # of an earlier program
            sync_component(self.experiments, description)

    @property
    def queues(self) -> tuple[JobQueue, ...]:
        """Of the jobs that take a slot."""
        return self.jobs, self.processing_jobs

    def job_sets(self) -> dict[str, JobSet]:
        """For the page."""
        return {
            "training-jobs": JobSet(self.jobs, self.store.training.folder),
            "processing-jobs": JobSet(self.processing_jobs, self.store.processing.folder),
        }

    def operations(self, guard: Guard, s3: Callable[[], Any]) -> dict[str, Operation]:
        """SageMaker's on what is kept here, by name; see PipelinesApi."""
        parts = (
            TrainingJobsApi(self.jobs),
            TuningJobsApi(self.tuning_jobs),
            ProcessingJobsApi(self.processing_jobs),
            ExperimentsApi(self.experiments),
            SearchApi(self.jobs, self.tuning_jobs, self.experiments, self.pipelines, self.executions),
            LineageApi(self.lineage),
            PipelinesApi(self.pipelines, s3, guard, self.executions),
            ExecutionsApi(self.executions),
            TagsApi(self.jobs, self.tuning_jobs, self.processing_jobs, self.pipelines, self.experiments, self.lineage),
        )
        return {name: operation for part in parts for name, operation in part.operations().items()}

    def _services(self) -> Services:
        assert self._platform.services, "executions need a server"
        return self._platform.services(self.name)

    def resume(self) -> None:
        """Jobs first: executions look for theirs."""
        for queue in self.queues:
            queue.resume()
        self.tuning_jobs.resume()
        self.executions.resume()

    def perform(self, operation: str, name: str) -> None:
        """What a command in another process asks for. BadRequest if it is refused."""
        operations: dict[str, Callable[[str], None]] = {
            "StopTrainingJob": self.jobs.stop,
            "StopProcessingJob": self.processing_jobs.stop,
            "StopHyperParameterTuningJob": self.tuning_jobs.stop,
            "InterruptTrainingJob": self.jobs.interrupt,
        }
        if operation not in operations:
            raise BadRequest(f"There is no such operation here. Received: {operation}")
        operations[operation](name)

    def _new_job(
        self, request: Mapping[str, Any], tuning_arn: str | None, left: Mapping[str, Any] | None
    ) -> TrainingJob:
        context, interrupt_after = self._platform.new_context(request, self.name), seconds_from_tags(request)
        # the tracker first: who waits for the job asks next
        observers = [JobTracker(self.experiments, request, again=left is not None), *context.observers]
        job = TrainingJob(
            request, self.store.training.path, self._runner, context.storage, context.environ, observers,
            tuning_arn=tuning_arn, left=left,
        )  # fmt: skip
        if interrupt_after is not None:
            job.observe(SpotInterruption(job, interrupt_after))
        return job

    def _check_job(self, request: Mapping[str, Any]) -> None:
        """BadRequest or RunnerError for a training job that could not be run: no data, no bucket, no image."""
        context = self._platform.new_context(request, self.name)
        admit(request, self.store.training.path, context.storage, self._runner, context.environ)

    def _new_processing_job(
        self,
        request: Mapping[str, Any],
        tuning_arn: str | None,  # noqa: ARG002 - a NewJob
        left: Mapping[str, Any] | None,
    ) -> ProcessingJob:
        context = self._platform.new_context(request, self.name)
        observers = [JobTracker(self.experiments, request, again=left is not None), *context.observers]
        folder = self.store.processing.path
        return ProcessingJob(request, folder, self._runner, context.storage, context.environ, observers, left=left)


class Platform:
    """Keeps everything below the folder `root` and runs at most `slots` jobs at a time.

    BadRequest, one line, if the folder can't be had.
    """

    def __init__(self, root: Path, runner: Runner, slots: int, new_context: NewContext) -> None:
        self.new_context, self._runner, self._slots = new_context, runner, Slots(slots)
        # called with the description of a job that is deleted
        self.delete_listeners: list[Callable[[Mapping[str, Any]], None]] = []
        # called with an execution of a pipeline after every change
        self.execution_listeners: list[Callable[[ExecutionRecord], None]] = []
        # called with the description of a tuning job after every change
        self.tuning_listeners: list[Callable[[dict[str, Any]], None]] = []
        # what executions ask for, by region; a server sets it
        self.services: Callable[[str], Services] | None = None
        self._regions: dict[str, Region] = {}
        with ExitStack() as stack:
            self.store = stack.enter_context(closing(JobStore(root)))
            runner.remove_orphans()  # before the folders of what they run
            for name in self.store.regions():
                self.region(name)
            stack.enter_context(answering(root, self._perform, warn_on_stderr))
            self._stack = stack.pop_all()

    def _perform(self, request: Request) -> None:
        self.region(request.get("region", "")).perform(request.get("operation", ""), request.get("name", ""))

    def region(self, name: str) -> Region:
        """Empty at first. BadRequest for what is no region's name."""
        with self._slots.lock:
            if name not in self._regions:
                self._regions[name] = Region(self, name, self.store.region(name), self._slots, self._runner)
            return self._regions[name]

    def regions(self, home: str) -> dict[str, Region]:
        """Those that there are, by name; `home` in any case, and first."""
        self.region(home)
        with self._slots.lock:
            return {name: self._regions[name] for name in (home, *sorted(set(self._regions) - {home}))}

    def _all(self) -> list[Region]:
        with self._slots.lock:
            return list(self._regions.values())

    def resume(self) -> None:
        """Goes on with what an earlier server was killed over. Call it once this one answers."""
        for region in self._all():
            region.resume()

    def stop(self) -> list[str]:
        """Stops all jobs as the service would; the names of those that take a slot and still have to end."""
        for region in self._all():
            region.executions.close()
            region.tuning_jobs.close()
        return [name for region in self._all() for queue in region.queues for name in queue.close()]

    def kill(self) -> None:
        """SIGKILL to what still runs."""
        for region in self._all():
            for queue in region.queues:
                queue.kill()

    def wait(self, seconds: float) -> bool:
        """Waits for the end of all jobs, at most so long; whether they have ended."""
        limit = time.monotonic() + seconds
        waits = [
            wait
            for region in self._all()
            for wait in (*(queue.wait for queue in region.queues), region.tuning_jobs.wait, region.executions.wait)
        ]
        return all(wait(max(0.0, limit - time.monotonic())) for wait in waits)

    def close(self) -> None:
        """Does not wait for jobs that still run: see `stop` and `wait`."""
        self._stack.close()
