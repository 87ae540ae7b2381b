"""One processing job: its inputs are downloaded, its containers run, its outputs are uploaded."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local_test.data.object_store import ObjectStore
from local_test.errors import Cancelled, DataError
from local_test.hosts.artifacts import put_files
from local_test.processing.admission import admit_processing
from local_test.processing.host import exit_message, output_tree
from local_test.processing.job_status import ProcessingJobStatus
from local_test.processing.run import ProcessingRun
from local_test.request.processing import managed_outputs
from local_test.runners.base import Runner
from local_test.training.lifecycle import GRACE_SECONDS, Job
from local_test.training.observer import Observer
from local_test.training.run import LAST_STATES, JobFailed
from local_test.util.clock import now_utc


class ProcessingJob(Job):
    """A CreateProcessingJob request, accepted: its folder `out/<name>` exists from here on.

    `left`: the description of a job that a server has left
    when it was killed; it runs again from its beginning. Raises BadRequest, ResourceInUse or RunnerError, each one
    line, before anything is on disk.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        out: Path,
        runner: Runner,
        storage: ObjectStore,
        environ: Mapping[str, str],
        observers: Sequence[Observer],
        left: Mapping[str, Any] | None = None,
    ) -> None:
        self._job = admit_processing(request, out, storage, runner, environ, again=left is not None)
        self._runner, self._storage = runner, storage
        self.status: ProcessingJobStatus
        if left:
            self.status = ProcessingJobStatus(left, now_utc)
        else:
            self.status = ProcessingJobStatus.from_request(request, self._job.arn, now_utc)
        super().__init__(self._job, self.status, observers, now_utc, GRACE_SECONDS, left=left is not None)

    def _work(self) -> str:
        """What a job that failed, or was stopped, has left in outputs of mode EndOfJob is not uploaded."""
        failure, state = None, "Failed"
        run = ProcessingRun(self._job, self._runtime, self._runner, self._storage, self._publisher, self._grace)
        self._events = run.events  # _stop_requested remembers a stop that came before
        try:
            state = LAST_STATES[run.execute(self._check, lambda: {"max runtime": self._runtime_left()}).reason]
        except Cancelled:  # before there was a container to stop
            self._publisher.move("Stopping")
            return self._cancelled()
        except JobFailed as error:
            failure = error
        if self._has_trees():
            failure = self._keep_message(failure)
        if failure:
            raise failure
        return self._upload() if state == "Completed" else state

    def _keep_message(self, failure: JobFailed | None) -> JobFailed | None:
        """Of all hosts, one after the other. A message that is no text fails the job."""
        try:
            self.status.set_message("".join(exit_message(host.paths) for host in self._hosts))
        except DataError as error:
            return failure or JobFailed(f"ClientError: {error}")
        return failure

    def _upload(self) -> str:
        """The outputs of mode EndOfJob; the last state."""
        self._publisher.move("Uploading")
        try:
            self._check_upload()
            for output in managed_outputs(self._job.request):
                if output["S3Output"]["S3UploadMode"] == "EndOfJob":
                    self._upload_output(output)
            self._check_upload()
        except Cancelled:
            self._publisher.note("the upload of the job's outputs was stopped, so some of them are missing")
        except (DataError, OSError) as error:
            raise JobFailed(f"ClientError: Output upload failed:{error}") from None
        self._storage.keep()
        return "Stopped" if self._stop_requested.is_set() else "Completed"

    def _upload_output(self, output: Mapping[str, Any]) -> None:
        trees = [output_tree(host.paths, output) for host in self._hosts]
        place, uri = output["S3Output"]["LocalPath"], output["S3Output"]["S3Uri"]
        for host, tree in zip(self._hosts, trees, strict=True):
            if not tree.is_folder:
                self._publisher.note(f"{host.paths.name}: {place} is not a folder any more, so nothing of it is kept")
        for problem in put_files(trees, uri, self._storage, self._check_upload):
            self._publisher.note(f"{uri}: a file is not copied: {problem}")
