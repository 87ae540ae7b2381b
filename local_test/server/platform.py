"""The platform put together: jobs on disk, job queue, tuning jobs, experiments. `tune` and `serve` both run on it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_test.data.object_store import ObjectStore
from local_test.experiments.entities import Experiments
from local_test.experiments.job_tracker import JobTracker, sync_component
from local_test.experiments.lineage import Lineage
from local_test.runners.base import Runner
from local_test.training.job import TrainingJob
from local_test.training.job_queue import JobQueue
from local_test.training.job_store import JobStore
from local_test.training.observer import Observer
from local_test.training.spot import SpotInterruption, seconds_from_tags
from local_test.tuning.job_manager import TuningJobManager
from local_test.util.clock import now_utc


@dataclass(frozen=True)
class JobContext:
    """Where one training job reads and writes, and who observes it."""

    storage: ObjectStore
    environ: Mapping[str, str]
    observers: Sequence[Observer] = ()


NewContext = Callable[[Mapping[str, Any], str], JobContext]  # (CreateTrainingJob request, region) → its context


class Platform:
    """Keeps everything below the folder `root` and runs at most `slots` training jobs at a time.

    BadRequest, one line, if the folder can't be had.
    """

    def __init__(self, root: Path, runner: Runner, slots: int, new_context: NewContext) -> None:
        self._runner, self._new_context = runner, new_context
        with ExitStack() as stack:
            self.store = stack.enter_context(closing(JobStore(root)))
            self.jobs = JobQueue(self.store, self._new_job, slots, runner.remove_orphans)
            self.tuning_jobs = TuningJobManager(self.store.tuning, self.jobs)
            self.experiments = Experiments(self.store.experiments, now_utc)
            self.lineage = Lineage(self.store.experiments, self.experiments.components, now_utc)
            for description in self.jobs.all():  # of an earlier program
                sync_component(self.experiments, description)
            self._stack = stack.pop_all()

    def stop(self) -> list[str]:
        """Stops all jobs as the service would; the names of the training jobs that still have to end."""
        self.tuning_jobs.close()
        return self.jobs.close()

    def wait(self, seconds: float) -> bool:
        """Waits for the end of all jobs, at most so long; whether they have ended."""
        return self.jobs.wait(seconds) and self.tuning_jobs.wait(seconds)

    def close(self) -> None:
        """Does not wait for jobs that still run: see `stop` and `wait`."""
        self._stack.close()

    def _new_job(self, request: Mapping[str, Any], region: str, tuning_arn: str | None) -> TrainingJob:
        context, interrupt_after = self._new_context(request, region), seconds_from_tags(request)
        observers = [*context.observers, JobTracker(self.experiments, request, region)]
        job = TrainingJob(
            request, self.store.jobs, self._runner, context.storage, context.environ, observers, tuning_arn=tuning_arn
        )
        if interrupt_after is not None:
            job.observe(SpotInterruption(job, interrupt_after))
        return job
