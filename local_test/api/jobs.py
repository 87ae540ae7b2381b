"""Operations on training jobs, tuning jobs and processing jobs."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from local_test.api.dispatch import INTERRUPT, Operation, Request
from local_test.api.pagination import filter_items, page, sort_key
from local_test.errors import BadRequest
from local_test.request.job_kind import PROCESSING, TRAINING, TUNING, JobKind
from local_test.training.job_queue import JobQueue, TrainingJobQueue
from local_test.tuning.job_manager import TuningJobManager
from local_test.tuning.warm_start import FINAL_OBJECTIVE

_TIMES = ("CreationTime", "TrainingEndTime", "HyperParameterTuningEndTime", "LastModifiedTime")
_SUMMARY = (*_TIMES, "SecondaryStatus", "TrainingJobStatusCounters", "ObjectiveStatusCounters")

Description = Mapping[str, Any]


class Jobs(Protocol):
    """All jobs of one kind."""

    def create(self, request: Request) -> str: ...

    def describe(self, name: str) -> dict[str, Any]: ...

    def all(self) -> list[dict[str, Any]]: ...

    def stop(self, name: str) -> None: ...

    def delete(self, name: str) -> None: ...


def _common_operations(kind: JobKind, jobs: Jobs) -> dict[str, Operation]:
    what, name, arn = kind.name, f"{kind.name}Name", f"{kind.name}Arn"
    return {
        f"Create{what}": lambda request: {arn: jobs.create(request)},
        f"Describe{what}": lambda request: jobs.describe(request[name]),
        f"Stop{what}": lambda request: jobs.stop(request[name]),
        f"Delete{what}": lambda request: jobs.delete(request[name]),
    }


def _list(
    kind: JobKind,
    found: list[Description],
    request: Request,
    more_of: Callable[[Description], Description] = lambda _: {},
) -> Mapping[str, Any]:
    """One page of summaries, with the members that `more_of` adds."""
    what, name, status = kind.name, f"{kind.name}Name", f"{kind.name}Status"
    on_page, more = page(found, request, sort_key(request, name, status))
    members = (name, f"{what}Arn", status, *_SUMMARY)
    summaries = [{**{key: job[key] for key in members if key in job}, **more_of(job)} for job in on_page]
    return {f"{what}Summaries": summaries, **more}


class TrainingJobsApi:
    """The operations over one set of jobs."""

    def __init__(self, jobs: TrainingJobQueue) -> None:
        self._jobs = jobs

    def operations(self) -> dict[str, Operation]:
        return {
            **_common_operations(TRAINING, self._jobs),
            "ListTrainingJobs": self._list,
            "UpdateTrainingJob": self._update,
            INTERRUPT: lambda request: self._jobs.interrupt(request["TrainingJobName"]),
        }

    def _list(self, request: Request) -> Mapping[str, Any]:
        """With StatusEquals and MaxResults the page is cut first and then filtered, as the API reference says."""
        if "WarmPoolStatusEquals" in request or "TrainingPlanArnEquals" in request:  # no job here has such a thing
            return {"TrainingJobSummaries": []}
        status = request.get("StatusEquals") if "MaxResults" in request else None
        filters = {name: value for name, value in request.items() if not (status and name == "StatusEquals")}
        found = filter_items(self._jobs.all(), filters, "TrainingJobName", "TrainingJobStatus")
        answer = _list(TRAINING, found, request)
        shown = [job for job in answer["TrainingJobSummaries"] if status in (None, job["TrainingJobStatus"])]
        return {**answer, "TrainingJobSummaries": shown}

    def _update(self, request: Request) -> Mapping[str, Any]:
        """Changes of profiler and remote debugging have no effect, as when a job is created."""
        if "ResourceConfig" in request:
            raise BadRequest(
                "ResourceConfig can be updated only while a warm pool is kept, and the local platform keeps none. "
                f"Received: {request['ResourceConfig']}"
            )
        changes = {key: value for key, value in request.items() if key != "TrainingJobName"}
        return {"TrainingJobArn": self._jobs.update(request["TrainingJobName"], changes)}


class TuningJobsApi:
    """The operations over one set of tuning jobs."""

    def __init__(self, tunings: TuningJobManager) -> None:
        self._tunings = tunings

    def operations(self) -> dict[str, Operation]:
        return {
            **_common_operations(TUNING, self._tunings),
            "ListHyperParameterTuningJobs": self._list,
            "ListTrainingJobsForHyperParameterTuningJob": self._children,
        }

    def _list(self, request: Request) -> Mapping[str, Any]:
        """Sorted by name by default, unlike training jobs."""
        found = filter_items(self._tunings.all(), request, f"{TUNING.name}Name", f"{TUNING.name}Status")
        return _list(TUNING, found, {"SortBy": "Name", **request}, _describe_plan)

    def _children(self, request: Request) -> Mapping[str, Any]:
        """Sorted by name by default; sorting by objective leaves out jobs without one."""
        status, by = request.get("StatusEquals"), request.get("SortBy", "Name")
        by_objective = by == "FinalObjectiveMetricValue"
        matching = [
            child
            for child in self._tunings.children(request["HyperParameterTuningJobName"])
            if status in (None, child["TrainingJobStatus"]) and (not by_objective or FINAL_OBJECTIVE in child)
        ]
        key = _objective_key if by_objective else sort_key({"SortBy": by}, "TrainingJobName", "TrainingJobStatus")
        on_page, more = page(matching, request, key)
        return {"TrainingJobSummaries": on_page, **more}


class ProcessingJobsApi:
    """The operations over one set of processing jobs."""

    def __init__(self, jobs: JobQueue) -> None:
        self._jobs = jobs

    def operations(self) -> dict[str, Operation]:
        return {**_common_operations(PROCESSING, self._jobs), "ListProcessingJobs": self._list}

    def _list(self, request: Request) -> Mapping[str, Any]:
        found = filter_items(self._jobs.all(), request, f"{PROCESSING.name}Name", f"{PROCESSING.name}Status")
        return _list(PROCESSING, found, request, _describe_end)


def _describe_end(job: Description) -> Description:
    return {name: job[name] for name in ("ProcessingEndTime", "FailureReason", "ExitMessage") if name in job}


def _objective_key(child: Description) -> tuple[Any, ...]:
    return child[FINAL_OBJECTIVE]["Value"], child["TrainingJobName"]


def _describe_plan(job: Description) -> Description:
    return {name: job["HyperParameterTuningJobConfig"][name] for name in ("Strategy", "ResourceLimits")}
