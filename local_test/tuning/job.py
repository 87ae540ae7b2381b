"""One tuning job's life: it makes training jobs, several at a time, until it has enough, and knows the best.

Driven by events (a training job has ended, somebody stops it), so that its thread sleeps in between and a simulation
needs no clock. Each training job is counted once, when it has ended; one that measures its objective may be stopped.
"""

import copy
import math
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import uuid4

from local_test.errors import LocalTestError
from local_test.training.job_status import FINAL_STATUSES, PLATFORM
from local_test.training.metrics import Metric
from local_test.tuning.plan import Definition, read_plan
from local_test.tuning.warm_start import FINAL_OBJECTIVE, OBJECTIVE, FindTuningJob

_TRIES = 5  # children that may fail before a first success: then the service gives up
_SUMMARY = (
    "TrainingJobArn",
    "CreationTime",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingJobStatus",
    "FailureReason",
)
_COUNTERS = {"Completed": "Completed", "Failed": "NonRetryableError", "Stopped": "Stopped"}


class TrainingBackend(Protocol):
    """Runs training jobs; jobs.Jobs is one."""

    def create(self, request: Mapping[str, Any], region: str, tuning_arn: str | None = None) -> str: ...

    def describe(self, name: str) -> dict[str, Any]: ...

    def stop(self, name: str) -> None: ...


@dataclass(frozen=True)
class ObjectiveReported:
    """A training job has a new value of its objective."""

    name: str
    value: float


class TuningJob:
    """A CreateHyperParameterTuningJob request, accepted. BadRequest if it can't be. `find` knows earlier tuning jobs.

    The caller reports each training job that ends to `on_job_end` and every metric of one to `on_metric`;
    `save` is called with the description and the summaries of its training jobs after every change.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        arn: str,
        backend: TrainingBackend,
        region: str,
        now: Callable[[], datetime],
        save: Callable[[dict[str, Any], list[dict[str, Any]]], None] = lambda *_: None,
        find: FindTuningJob | None = None,
    ) -> None:
        self.request, self.name, self.arn = request, request["HyperParameterTuningJobName"], arn
        self.plan = read_plan(request, find) if find else read_plan(request)
        self._backend, self._region, self._now, self._save = backend, region, now, save
        self._lock, self._events = threading.RLock(), queue.SimpleQueue[str | ObjectiveReported | None]()
        self._running: dict[str, Definition] = {}
        self._children: dict[str, dict[str, Any]] = {}  # name → summary
        self._losses: dict[str, float] = {}
        self._pruned: set[str] = set()  # stopped early
        self._watched = {item.objective for item in self.plan.definitions if item.pruner}
        self._made, self._stale = 0, 0  # jobs since the best was found
        self._turn = 0
        self._stopping, self._end = False, "Completed"
        self._description = self._first_description(now())

    def _first_description(self, now: datetime) -> dict[str, Any]:
        echo = copy.deepcopy({key: value for key, value in self.request.items() if key != "Tags"})
        for definition in [*echo.get("TrainingJobDefinitions", []), *filter(None, [echo.get("TrainingJobDefinition")])]:
            objective = definition.get("TuningObjective") or echo["HyperParameterTuningJobConfig"].get(
                "HyperParameterTuningJobObjective"
            )
            static = definition.setdefault("StaticHyperParameters", {})
            static[OBJECTIVE] = objective["MetricName"]
        return {
            **echo,
            "HyperParameterTuningJobArn": self.arn,
            "HyperParameterTuningJobStatus": "InProgress",
            "CreationTime": now,
            "LastModifiedTime": now,
        }

    # What clients read

    def describe(self) -> dict[str, Any]:
        """DescribeHyperParameterTuningJob's response; times are datetimes."""
        with self._lock:
            children = self.children()
            best = min(self._losses, key=self._losses.__getitem__, default=None)
            return {
                **copy.deepcopy(self._description),
                **({"BestTrainingJob": dict(self._children[best])} if best else {}),
                **self._overall_best(best),
                **counters(children),
            }

    def _overall_best(self, best: str | None) -> dict[str, Any]:
        """Of this tuning job and its parents, where they can be compared."""
        own = [(self._losses[best], {**self._children[best], "TuningJobName": self.name})] if best else []
        found = min([*self.plan.earlier, *own], key=lambda item: item[0], default=None)
        return {"OverallBestTrainingJob": dict(found[1])} if found and self.plan.earlier else {}

    def children(self) -> list[dict[str, Any]]:
        """A HyperParameterTrainingJobSummary for each training job, in the order they were made."""
        with self._lock:
            for name in self._running:
                self._refresh(name)
            return [dict(child) for child in self._children.values()]

    def _refresh(self, name: str) -> dict[str, Any]:
        child = self._children[name]
        try:
            description = self._backend.describe(name)
        except LocalTestError:  # somebody has deleted it
            description = {"TrainingJobStatus": "Failed", "FailureReason": "The training job was deleted"}
        child.update({key: description[key] for key in _SUMMARY if key in description})
        return description

    # What happens

    def on_job_end(self, name: str) -> None:
        """One of its training jobs has ended. From any thread."""
        self._events.put(name)

    def on_metric(self, name: str, metric: Metric) -> None:
        """A training job, of this or of another tuning job, has measured something. From any thread."""
        if metric.name in self._watched and name.startswith(f"{self.name}-"):
            self._events.put(ObjectiveReported(name, metric.value))

    def stop(self) -> None:
        """As StopHyperParameterTuningJob: its training jobs are stopped, then it is. From any thread."""
        with self._lock:
            if self._description["HyperParameterTuningJobStatus"] == "InProgress":
                self._description["HyperParameterTuningJobStatus"] = "Stopping"
        self._events.put(None)

    def run(self) -> dict[str, Any]:
        """From beginning to end; its description. Call it once."""
        began = self._now()
        self._fill()
        self._store()
        while self._running:
            event = self._next(began)
            if isinstance(event, ObjectiveReported):
                self._maybe_prune(event)
                continue
            if event is None:
                self._stop_all("Stopped")
            elif event in self._running:
                self._record_result(event)
            self._fill()
            self._store()
        return self._finish()

    def _next(self, began: datetime) -> str | ObjectiveReported | None:
        """The next training job that has ended or measured something, None for a stop or the end of the time."""
        limit = self.plan.max_seconds
        left = None if limit is None or self._stopping else limit - (self._now() - began).total_seconds()
        try:
            return self._events.get(timeout=None if left is None else max(0.0, left))
        except queue.Empty:
            return None

    def _fill(self) -> None:
        """Make training jobs until enough run. One that can't be made ends it all: the next one could not be either."""
        while self._wants_more() and self._made < self.plan.max_jobs and len(self._running) < self.plan.parallel:
            found = self._ask()
            if found is None:
                return
            definition, values = found
            name = f"{self.name}-{self._made + 1:03d}-{uuid4().hex[:8]}"
            try:
                with self._lock:  # it may end before it is known here, but is not looked at before
                    arn = self._backend.create(definition.child(name, values), self._region, self.arn)
                    self._begin(name, arn, definition, values)
                self._store()
            except LocalTestError as error:
                with self._lock:
                    self._description["FailureReason"] = str(error)[:1024]
                self._stop_all("Failed")

    def _wants_more(self) -> bool:
        return not self._stopping and self._description["HyperParameterTuningJobStatus"] == "InProgress"

    def _ask(self) -> tuple[Definition, dict[str, str]] | None:
        """Of the definitions in turn; None if none of them has anything left."""
        for _ in self.plan.definitions:
            definition = self.plan.definitions[self._turn % len(self.plan.definitions)]
            self._turn += 1
            if (values := definition.sampler.ask()) is not None:
                return definition, values
        return None

    def _begin(self, name: str, arn: str, definition: Definition, values: dict[str, str]) -> None:
        self._made += 1
        self._running[name] = definition
        if definition.pruner:
            definition.pruner.on_start(name)
        self._children[name] = {
            **({"TrainingJobDefinitionName": definition.name} if definition.name else {}),
            "TrainingJobName": name,
            "TrainingJobArn": arn,
            "CreationTime": self._now(),
            "TrainingJobStatus": "InProgress",
            "TunedHyperParameters": values,
            "ObjectiveStatus": "Pending",
        }

    def _maybe_prune(self, event: ObjectiveReported) -> None:
        """Stop a training job that is not worth its time."""
        name = event.name
        definition = None if name in self._pruned else self._running.get(name)  # it may be of another tuning job
        if not definition or not definition.pruner or self._stopping:
            return
        if definition.pruner.report(name, definition.loss(event.value)):
            self._pruned.add(name)
            self._stop(name)

    def _record_result(self, name: str) -> None:
        """Count a training job that has ended."""
        with self._lock:
            description, child, definition = self._refresh(name), self._children[name], self._running.pop(name)
            value = _objective(description, definition.objective, name in self._pruned)
            if definition.pruner:
                definition.pruner.on_end(name, value is not None)
            child["ObjectiveStatus"] = "Failed" if value is None else "Succeeded"
            if value is not None:
                kind = "Maximize" if definition.maximize else "Minimize"
                child[FINAL_OBJECTIVE] = {
                    "Type": kind,
                    "MetricName": definition.objective,
                    "Value": value,
                }
            definition.sampler.tell(child["TunedHyperParameters"], None if value is None else definition.loss(value))
        self._check_completion(name, definition, value)

    def _check_completion(self, name: str, definition: Definition, value: float | None) -> None:
        """Whether that was enough."""
        best = min(self._losses.values(), default=math.inf)
        if value is not None:
            self._losses[name] = definition.loss(value)
        self._stale = 0 if value is not None and definition.loss(value) < best else self._stale + 1
        target = self.plan.target
        if (target is not None and value is not None and definition.loss(value) <= definition.loss(target)) or (
            self.plan.patience and self._losses and self._stale >= self.plan.patience
        ):
            self._stop_all("Completed")
        elif not self._losses and self._made - len(self._running) >= _TRIES:
            self._fail(f"No training job succeeded after {_TRIES} attempts. ")
            self._stop_all("Failed")

    def _fail(self, reason: str) -> None:
        advice = "For additional details, list the training jobs of the tuning job and see their failures."
        with self._lock:
            self._description.setdefault("FailureReason", f"{reason}{advice}")

    def _stop_all(self, end: str) -> None:
        """Make no more, and stop those that run."""
        if self._stopping:
            return
        self._stopping, self._end = True, end
        for name in list(self._running):
            self._stop(name)

    def _stop(self, name: str) -> None:
        with suppress(LocalTestError):  # it has just ended, and will be taken
            self._backend.stop(name)

    def _finish(self) -> dict[str, Any]:
        if self._description["HyperParameterTuningJobStatus"] == "Stopping":
            self._end = "Stopped"  # even if nothing was left to stop
        if self._end == "Completed" and not self._losses:
            self._fail("All training jobs failed. ")
            self._end = "Failed"
        now = self._now()
        with self._lock:
            self._description["HyperParameterTuningJobStatus"] = self._end
            self._description["HyperParameterTuningEndTime"] = self._description["LastModifiedTime"] = now
        self._save(self.describe(), self.children())
        return self.describe()

    def _store(self) -> None:
        with self._lock:
            self._description["LastModifiedTime"] = self._now()
        self._save(self.describe(), self.children())


def counters(children: list[dict[str, Any]]) -> dict[str, Any]:
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


def _objective(description: Mapping[str, Any], name: str, pruned: bool) -> float | None:
    """The last value, of a job that is Completed, or Stopped because it was not worth more time (`pruned`): what one
    measured that failed, or that somebody stopped, counts for nothing."""
    status = description["TrainingJobStatus"]
    assert status in FINAL_STATUSES, status
    if status == "Failed" or (status == "Stopped" and not pruned):
        return None
    values = {metric["MetricName"]: metric["Value"] for metric in description.get("FinalMetricDataList", [])}
    return values.get(name)
