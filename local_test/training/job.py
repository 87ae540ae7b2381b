"""One training job: downloading, training, uploading, and again after an interruption."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from local_test.data.channels import Channel
from local_test.data.object_store import ObjectStore, join_uri
from local_test.errors import BadRequest, Cancelled, DataError, RunnerError
from local_test.hosts.artifacts import checked, keep_report, pack, put_files
from local_test.hosts.container_tree import ContainerTree
from local_test.runners.base import Runner
from local_test.runners.supervisor import Interrupt, Outcome
from local_test.training.admission import admit
from local_test.training.job_status import PLATFORM, TrainingJobStatus
from local_test.training.lifecycle import GRACE_SECONDS, Job
from local_test.training.metrics import MetricRecorder
from local_test.training.observer import Observer
from local_test.training.run import LAST_STATES, JobFailed, TrainingRun
from local_test.util.atomic_files import file_uri
from local_test.util.clock import now_utc

_PAUSE_SECONDS = 0.1  # before the first retry, twice as long before each further one
_ABSENT_SECONDS = 60.0  # for which a retry waits for a runner that is not there


class TrainingJob(Job):
    """A CreateTrainingJob request, accepted: its folder `out/<name>` exists from here on.

    `now` gives aware datetimes; `clock` counts seconds, of which `grace` is a number. `left`: the description of a job
    that a server has left when it was killed; it runs again, from its checkpoints, as after an interruption. Raises
    BadRequest, ResourceInUse or RunnerError, each one line, before anything is on disk.
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
        clock: Callable[[], float] = time.monotonic,
        left: Mapping[str, Any] | None = None,
    ) -> None:
        self._job = admit(request, out, storage, runner, environ, again=left is not None)
        self.hosts, self._request, self._runner, self._storage = self._job.hosts, self._job.request, runner, storage
        self._clock, self._created = clock, clock()
        self.status: TrainingJobStatus
        if left:
            # MaxWaitTimeInSeconds counts from the job's creation, whether a server runs or not
            self.status = TrainingJobStatus(left, now)
            self._created -= (now() - left["CreationTime"]).total_seconds()
        else:
            tuning = {"TuningJobArn": tuning_arn} if tuning_arn else None
            self.status = TrainingJobStatus.from_request(request, self._job.arn, now, tuning)
        super().__init__(self._job, self.status, observers, now, grace, left=left is not None)

    @property
    def channels(self) -> Sequence[Channel]:
        """As the first host sees them."""
        return self.hosts[0].channels

    def update(self, members: Mapping[str, Any]) -> None:
        """As UpdateTrainingJob: for what has no effect on the container."""
        self.status.update(members)
        self._publisher.write_description()

    def interrupt(self) -> None:
        """As if the spot instances were taken away. BadRequest for a job that has none, or that does not train now."""
        if not self._request.get("EnableManagedSpotTraining"):
            raise BadRequest(f"Only a job with EnableManagedSpotTraining can be interrupted. Received: {self.name}")
        state = self.describe()["SecondaryStatus"]
        if state != "Training":
            raise BadRequest(f"Only a job that trains can be interrupted. Received: {self.name}, which is {state}")
        self._events.put(Interrupt())

    def _work(self) -> str:
        """The last state; JobFailed where that is Failed. What a failed job has written is uploaded all the same."""
        failure, state = None, "Failed"
        try:
            state = LAST_STATES[self._train().reason]
        except Cancelled:  # before there was a container to stop
            self._publisher.move("Stopping")
            return "MaxWaitTimeExceeded" if self._waited_too_long() else self._cancelled()
        except JobFailed as error:
            failure = error
        self._publisher.move("Uploading")
        self.status.set_metrics(self._job.metrics.final)
        if self.status.is_stopping:  # what stopped the container is no word about its upload
            self._upload_limit = math.inf
        try:
            self._upload()
        except Cancelled:
            self._publisher.note("the upload of the job's artifacts was stopped, so there are none")
        self._storage.keep()
        if failure:
            raise failure
        return "Stopped" if state == "Completed" and self._stop_requested.is_set() else state

    def _train(self) -> Outcome:
        """Started again, from its checkpoints, after an interruption; and after a failure of the platform's as often as
        RetryStrategy allows."""
        retries = self._request.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0)
        with closing(MetricRecorder(self._job.metrics, self.folder / "metrics.csv", self._publisher.note)) as metrics:
            while True:
                try:
                    outcome = self._execute(metrics)
                    if outcome.reason != "interrupted":
                        return outcome
                    self._publisher.move("Interrupted")
                except JobFailed as failure:
                    if not retries or not str(failure).startswith(PLATFORM):
                        raise
                    retries -= 1
                    self._publisher.note(f"{failure}. Started again")
                    self._publisher.move("Restarting")
                    self._await_runner()
                self._check()
                self._clear()

    def _keep_left(self) -> None:
        """The checkpoints."""
        for host in self.hosts:
            try:
                host.keep_checkpoints(self._request, self._storage, lambda error: self._publisher.note(str(error)))
            except (DataError, OSError) as error:
                self._publisher.note(f"the last checkpoints can't be copied, the job goes on without them: {error}")

    def _await_runner(self) -> None:
        """Until the runner could start a container again, at most a minute; so no retry is spent on its absence."""
        limit = time.monotonic() + _ABSENT_SECONDS
        pause = _PAUSE_SECONDS * 2 ** min(self._runtime.starts, 4)
        while not self._stop_requested.wait(pause) and time.monotonic() < limit and not self._waited_too_long():
            with suppress(RunnerError):
                self._runner.check(self.hosts[0].spec)
                return

    def _execute(self, metrics: MetricRecorder) -> Outcome:
        run = TrainingRun(self._job, self._runtime, metrics, self._runner, self._storage, self._publisher, self._grace)
        self._events = run.events  # _stop_requested remembers a stop that came before
        return run.execute(self._check, self._limits)

    # Limits

    def _check(self) -> None:
        super()._check()
        if self._waited_too_long():
            raise Cancelled

    def _waited_too_long(self) -> bool:
        return self._wait_left() <= 0 and not self._stop_requested.is_set()

    def _wait_left(self) -> float:
        """Seconds until MaxWaitTimeInSeconds, which counts from the job's creation."""
        limit = self._request.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
        return math.inf if limit is None else self._created + limit - self._clock()

    def _limits(self) -> dict[str, float]:
        """Seconds left by each."""
        return {"max runtime": self._runtime_left(), "max wait": self._wait_left()}

    # The end

    def _upload(self) -> None:
        """The model and the output data of all hosts. Cancelled if that was to stop, and the grace period is over."""
        if not self._has_trees():
            return
        paths = [host.paths for host in self.hosts]
        for path in paths:
            if not path.model.is_folder:
                self._publisher.note(f"{path.name}: /opt/ml/model is not a folder any more, so nothing of it is kept")
        self._check_upload()
        models, data = [path.model for path in paths], [path.output_data for path in paths]
        try:
            keep_report(data, self.folder)
            if self._request["OutputDataConfig"].get("CompressionType") == "NONE":
                model_uri = f"{self._put_files(models, 'model')}/"
                self._put_files(data, "data")
            else:
                model_uri = self._put_archive(models, "model.tar.gz")
                self._put_archive(data, "output.tar.gz")
        except (DataError, OSError) as error:
            raise JobFailed(f"ClientError: Artifact upload failed:{error}") from None
        self._check_upload()
        self.status.set_model(model_uri)

    def _artifact_uri(self, name: str) -> str:
        """S3OutputPath/<job>/output/, as on the service; the job's own folder where that is the output path."""
        path, local = self._request["OutputDataConfig"]["S3OutputPath"], file_uri(self.folder.parent)
        if path.rstrip("/") == local:
            return join_uri(local, self.name, name)
        return join_uri(path, self.name, "output", name)

    def _put_archive(self, trees: Sequence[ContainerTree], name: str) -> str:
        """In the job's folder and where OutputDataConfig wants it: there."""
        pack(trees, self.folder / name, self._check_upload)
        uri = self._artifact_uri(name)
        if uri != file_uri(self.folder / name):
            with (self.folder / name).open("rb") as file:
                self._storage.put(checked(file, self._check_upload), uri)
        return uri

    def _put_files(self, trees: Sequence[ContainerTree], name: str) -> str:
        """Each file as an object, where OutputDataConfig wants them alone: these are models too large for archives."""
        uri = self._artifact_uri(name)
        for problem in put_files(trees, uri, self._storage, self._check_upload):
            self._publisher.note(f"{uri}: a file is not copied: {problem}")
        return uri
