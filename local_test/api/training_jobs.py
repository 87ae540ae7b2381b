"""Operations on training jobs."""

from collections.abc import Mapping
from typing import Any

from local_test.api.dispatch import INTERRUPT, Operation
from local_test.api.pagination import filter_items, page, sort_key
from local_test.errors import BadRequest
from local_test.training.job_queue import JobQueue

_SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "TrainingJobStatus",
    "SecondaryStatus",
)


class TrainingJobsApi:
    """The operations over one set of jobs."""

    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs

    def operations(self) -> dict[str, Operation]:
        return {
            "CreateTrainingJob": self._create,
            "DescribeTrainingJob": self._describe,
            "ListTrainingJobs": self._list,
            "StopTrainingJob": self._stop,
            "DeleteTrainingJob": self._delete,
            "UpdateTrainingJob": self._update,
            INTERRUPT: self._interrupt,
        }

    def _create(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:
        return {"TrainingJobArn": self._jobs.create(request, region)}

    def _describe(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:  # noqa: ARG002 - an Operation
        return self._jobs.describe(request["TrainingJobName"])

    def _list(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:  # noqa: ARG002
        """With StatusEquals and MaxResults the page is cut first and then filtered, as the API reference says."""
        names, status = ("TrainingJobName", "TrainingJobStatus"), request.get("StatusEquals")
        first = {name: value for name, value in request.items() if name != "StatusEquals"}
        # no job here has a warm pool or a training plan
        matches_none = "WarmPoolStatusEquals" in request or "TrainingPlanArnEquals" in request
        filters = first if "MaxResults" in request else request
        matching = [] if matches_none else filter_items(self._jobs.all(), filters, *names)
        on_page, more = page(matching, request, sort_key(request, *names))
        shown = [job for job in on_page if status in (None, job["TrainingJobStatus"])]
        summaries = [{name: job[name] for name in _SUMMARY if name in job} for job in shown]
        return {"TrainingJobSummaries": summaries, **more}

    def _stop(self, request: dict[str, Any], region: str) -> None:  # noqa: ARG002
        self._jobs.stop(request["TrainingJobName"])

    def _interrupt(self, request: dict[str, Any], region: str) -> None:  # noqa: ARG002
        self._jobs.interrupt(request["TrainingJobName"])

    def _delete(self, request: dict[str, Any], region: str) -> None:  # noqa: ARG002
        self._jobs.delete(request["TrainingJobName"])

    def _update(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Changes of profiler and remote debugging have no effect, as when a job is created."""
        if "ResourceConfig" in request:
            raise BadRequest(
                "ResourceConfig can be updated only while a warm pool is kept, and the local platform keeps none. "
                f"Received: {request['ResourceConfig']}"
            )
        changes = {key: value for key, value in request.items() if key != "TrainingJobName"}
        return {"TrainingJobArn": self._jobs.update(request["TrainingJobName"], changes)}
