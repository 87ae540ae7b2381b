"""The state of a tuning job that clients read: description, summaries of its training jobs, best job, counters."""

import copy
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from local_test.errors import LocalTestError
from local_test.request.defaults import fill_tuning_job
from local_test.training.job_status import FINAL_STATUSES, PLATFORM
from local_test.tuning.plan import Definition
from local_test.tuning.warm_start import FINAL_OBJECTIVE, OBJECTIVE, TuningRecord

_SUMMARY = (
    "TrainingJobArn",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingJobStatus",
    "FailureReason",
)
_COUNTERS = {"Completed": "Completed", "Failed": "NonRetryableError", "Stopped": "Stopped"}


class TuningState:
    """Safe for threads. `earlier`: (loss, summary) of the parents' training jobs; `describe_job`: for the own ones;
    `left`: what a server that was killed has left of the tuning job."""

    def __init__(
        self,
        request: Mapping[str, Any],
        arn: str,
        earlier: Sequence[tuple[float, dict[str, Any]]],
        describe_job: Callable[[str], dict[str, Any]],
        now: Callable[[], datetime],
        left: TuningRecord | None = None,
    ) -> None:
        self.name, self.arn = request["HyperParameterTuningJobName"], arn
        self._earlier, self._describe_job, self._now = earlier, describe_job, now
        self._lock = threading.RLock()
        self._children: dict[str, dict[str, Any]] = {}  # name → summary
        self._losses: dict[str, float] = {}
        self._description = _first_description(request, arn, now())
        if left:
            self._take_over(*left)

    def _take_over(self, description: Mapping[str, Any], children: Sequence[dict[str, Any]]) -> None:
        members = ("CreationTime", "HyperParameterTuningJobStatus", "FailureReason")
        self._description |= {name: description[name] for name in members if name in description}
        self._children = {child["TrainingJobName"]: child for child in children}

    def describe(self) -> dict[str, Any]:
        """DescribeHyperParameterTuningJob's response; times are datetimes."""
        with self._lock:
            children = self.children()
            best = min(self._losses, key=self._losses.__getitem__, default=None)
            return {
                **copy.deepcopy(self._description),
                **({"BestTrainingJob": dict(self._children[best])} if best else {}),
                **self._overall_best(best),
                **count_statuses(children),
                "ConsumedResources": {"RuntimeInSeconds": self._runtime()},
            }

    def _runtime(self) -> int:
        """Seconds of wall clock time, until now or to the end."""
        end = self._description.get("HyperParameterTuningEndTime") or self._now()
        return round((end - self._description["CreationTime"]).total_seconds())

    def _overall_best(self, best: str | None) -> dict[str, Any]:
        """Of this tuning job and its parents, where they can be compared."""
        own = [(self._losses[best], {**self._children[best], "TuningJobName": self.name})] if best else []
        overall = min([*self._earlier, *own], key=lambda item: item[0], default=None)
        return {"OverallBestTrainingJob": dict(overall[1])} if overall and self._earlier else {}

    def children(self) -> list[dict[str, Any]]:
        """A HyperParameterTrainingJobSummary for each training job, in the order they were created."""
        with self._lock:
            for name, child in self._children.items():
                if child["ObjectiveStatus"] == "Pending":
                    self._refresh(name)
            return [dict(child) for child in self._children.values()]

    def _refresh(self, name: str) -> dict[str, Any]:
        child = self._children[name]
        try:
            description = self._describe_job(name)
        except LocalTestError:  # somebody has deleted it
            description = {"TrainingJobStatus": "Failed", "FailureReason": "The training job was deleted"}
        child.update({key: description[key] for key in _SUMMARY if key in description})
        return description

    @property
    def created(self) -> int:
        """How many training jobs there are, ended ones included."""
        return len(self._children)

    @property
    def best_loss(self) -> float:
        """Infinite while there is none."""
        with self._lock:
            return min(self._losses.values(), default=math.inf)

    @property
    def has_result(self) -> bool:
        return bool(self._losses)

    @property
    def status(self) -> str:
        with self._lock:
            return self._description["HyperParameterTuningJobStatus"]

    def new_child(self, name: str, arn: str, definition: Definition, values: dict[str, str]) -> dict[str, Any]:
        """The summary of a training job that is about to be created."""
        return {
            **({"TrainingJobDefinitionName": definition.name} if definition.name else {}),
            "TrainingJobName": name,
            "TrainingJobArn": arn,
            "CreationTime": self._now(),
            "TrainingJobStatus": "InProgress",
            "TunedHyperParameters": values,
            "ObjectiveStatus": "Pending",
        }

    def add_child(self, child: dict[str, Any], create: Callable[[], object]) -> None:
        """Adds the training job that `create` creates; clients see both or neither."""
        with self._lock:
            create()
            self._children[child["TrainingJobName"]] = child

    def recall_result(self, name: str, definition: Definition) -> float | None:
        """The loss of a training job whose end a server that was killed has recorded; None if it has no objective."""
        with self._lock:
            child = self._children[name]
            if FINAL_OBJECTIVE not in child:
                return None
            self._losses[name] = definition.loss(child[FINAL_OBJECTIVE]["Value"])
            return self._losses[name]

    def record_result(self, name: str, definition: Definition, pruned: bool) -> tuple[dict[str, str], float | None]:
        """(hyperparameters, loss) of a training job that has ended; the loss is None if it has no objective."""
        with self._lock:
            value = _final_objective(self._refresh(name), definition.objective, pruned)
            child = self._children[name]
            child["ObjectiveStatus"] = "Failed" if value is None else "Succeeded"
            if value is None:
                return child["TunedHyperParameters"], None
            kind = "Maximize" if definition.maximize else "Minimize"
            child[FINAL_OBJECTIVE] = {"Type": kind, "MetricName": definition.objective, "Value": value}
            self._losses[name] = definition.loss(value)
            return child["TunedHyperParameters"], self._losses[name]

    def begin_stopping(self) -> None:
        with self._lock:
            if self._description["HyperParameterTuningJobStatus"] == "InProgress":
                self._description["HyperParameterTuningJobStatus"] = "Stopping"

    def set_failure(self, reason: str) -> None:
        """The first reason stays."""
        with self._lock:
            self._description.setdefault("FailureReason", reason[:1024])

    def touch(self) -> None:
        with self._lock:
            self._description["LastModifiedTime"] = self._now()

    def end(self, status: str) -> None:
        now = self._now()
        with self._lock:
            self._description["HyperParameterTuningJobStatus"] = status
            self._description["HyperParameterTuningEndTime"] = self._description["LastModifiedTime"] = now


def _first_description(request: Mapping[str, Any], arn: str, now: datetime) -> dict[str, Any]:
    echo = copy.deepcopy({key: value for key, value in request.items() if key != "Tags"})
    for definition in [*echo.get("TrainingJobDefinitions", []), *filter(None, [echo.get("TrainingJobDefinition")])]:
        objective = definition.get("TuningObjective") or echo["HyperParameterTuningJobConfig"].get(
            "HyperParameterTuningJobObjective"
        )
        definition.setdefault("StaticHyperParameters", {})[OBJECTIVE] = objective["MetricName"]
    return {
        **fill_tuning_job(echo),
        "HyperParameterTuningJobArn": arn,
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": now,
        "LastModifiedTime": now,
    }


def count_statuses(children: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """TrainingJobStatusCounters and ObjectiveStatusCounters."""
    jobs = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
    objectives = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
    for child in children:
        jobs[_counter(child)] += 1
        objectives[child["ObjectiveStatus"]] += 1
    return {"TrainingJobStatusCounters": jobs, "ObjectiveStatusCounters": objectives}


def _counter(child: Mapping[str, Any]) -> str:
    if child["TrainingJobStatus"] == "Failed" and child.get("FailureReason", "").startswith(PLATFORM):
        return "RetryableError"
    return _COUNTERS.get(child["TrainingJobStatus"], "InProgress")


def _final_objective(description: Mapping[str, Any], name: str, pruned: bool) -> float | None:
    """The objective's last value, of a training job that is Completed or that the pruner has stopped. One that failed,
    or that a person stopped, has no objective."""
    status = description["TrainingJobStatus"]
    assert status in FINAL_STATUSES, status
    if status == "Failed" or (status == "Stopped" and not pruned):
        return None
    values = {metric["MetricName"]: metric["Value"] for metric in description.get("FinalMetricDataList", [])}
    return values.get(name)
