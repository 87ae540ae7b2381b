"""Operations on tuning jobs."""

from collections.abc import Mapping
from typing import Any

from local_test.api.dispatch import Operation
from local_test.api.pagination import filter_items, page, sort_key
from local_test.tuning.job_manager import TuningJobManager

_NAMES = ("HyperParameterTuningJobName", "HyperParameterTuningJobStatus")
_SUMMARY = (
    *_NAMES,
    "HyperParameterTuningJobArn",
    "CreationTime",
    "HyperParameterTuningEndTime",
    "LastModifiedTime",
    "TrainingJobStatusCounters",
    "ObjectiveStatusCounters",
)
_OBJECTIVE = "FinalHyperParameterTuningJobObjectiveMetric"


class TuningJobsApi:
    """The operations over one set of tuning jobs."""

    def __init__(self, tunings: TuningJobManager) -> None:
        self._tunings = tunings

    def operations(self) -> dict[str, Operation]:
        return {
            "CreateHyperParameterTuningJob": self._create,
            "DescribeHyperParameterTuningJob": self._describe,
            "ListHyperParameterTuningJobs": self._list,
            "StopHyperParameterTuningJob": self._stop,
            "DeleteHyperParameterTuningJob": self._delete,
            "ListTrainingJobsForHyperParameterTuningJob": self._children,
        }

    def _create(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:
        return {"HyperParameterTuningJobArn": self._tunings.create(request, region)}

    def _describe(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:  # noqa: ARG002 - an Operation
        return self._tunings.describe(request["HyperParameterTuningJobName"])

    def _list(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:  # noqa: ARG002
        request = {"SortBy": "Name", **request}
        matching = filter_items(self._tunings.all(), request, *_NAMES)
        on_page, more = page(matching, request, sort_key(request, *_NAMES))
        return {"HyperParameterTuningJobSummaries": [_summary(job) for job in on_page], **more}

    def _stop(self, request: dict[str, Any], region: str) -> None:  # noqa: ARG002
        self._tunings.stop(request["HyperParameterTuningJobName"])

    def _delete(self, request: dict[str, Any], region: str) -> None:  # noqa: ARG002
        self._tunings.delete(request["HyperParameterTuningJobName"])

    def _children(self, request: dict[str, Any], region: str) -> Mapping[str, Any]:  # noqa: ARG002
        """Sorted by name by default; sorting by objective leaves out jobs without one."""
        status, by = request.get("StatusEquals"), request.get("SortBy", "Name")
        matching = [
            child
            for child in self._tunings.children(request["HyperParameterTuningJobName"])
            if status in (None, child["TrainingJobStatus"])
            and (by != "FinalObjectiveMetricValue" or _OBJECTIVE in child)
        ]
        key = sort_key({"SortBy": by}, "TrainingJobName", "TrainingJobStatus")
        if by == "FinalObjectiveMetricValue":
            on_page, more = page(
                matching, request, lambda child: (child[_OBJECTIVE]["Value"], child["TrainingJobName"])
            )
        else:
            on_page, more = page(matching, request, key)
        return {"TrainingJobSummaries": on_page, **more}


def _summary(job: Mapping[str, Any]) -> dict[str, Any]:
    config = job["HyperParameterTuningJobConfig"]
    return {
        **{name: job[name] for name in _SUMMARY if name in job},
        "Strategy": config["Strategy"],
        "ResourceLimits": config["ResourceLimits"],
    }
