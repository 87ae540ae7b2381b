"""A processing job's states and times, as DescribeProcessingJob shows them."""

from local_test.request.defaults import fill_processing_job
from local_test.request.job_kind import PROCESSING
from local_test.training.job_status import JobStatus

MESSAGE_CHARACTERS = 1024  # of an ExitMessage: the API's limit


class ProcessingJobStatus(JobStatus):
    """Its SecondaryStatus, which no answer has, is as a training job's, but for Processing while its containers run."""

    kind = PROCESSING
    _fill = staticmethod(fill_processing_job)

    def set_message(self, text: str) -> None:
        """What the containers have left in /opt/ml/output/message."""
        if text:
            with self._lock:
                self._description["ExitMessage"] = text[:MESSAGE_CHARACTERS]
