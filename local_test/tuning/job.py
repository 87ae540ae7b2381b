"""One tuning job's life: it creates training jobs, several at a time, until one of its limits or criteria is met.

Driven by events (a training job has ended, a person stops the tuning job), so that its thread sleeps in between and a
simulation needs no clock. Each training job is counted once, when it has ended; a pruner may stop it before.
"""

import itertools
import math
import queue
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

from local_test.errors import LocalTestError
from local_test.training.job_status import FINAL_STATUSES
from local_test.training.metrics import Metric
from local_test.tuning.plan import Definition, no_tuning_job, read_plan
from local_test.tuning.state import TuningState, count_statuses
from local_test.tuning.warm_start import FindTuningJob, TuningRecord
from local_test.util.arns import format_arn
from local_test.util.queues import get_before

_TRIES = 5  # children that may fail before a first success: then the service gives up
_ADVICE = "Please take a look at the training job failures to get more details."


class TrainingBackend(Protocol):
    """Runs training jobs; the job queue is one."""

    def create(self, request: Mapping[str, Any], tuning_arn: str | None = None) -> str: ...

    def describe(self, name: str) -> dict[str, Any]: ...

    def stop(self, name: str) -> None: ...


@dataclass(frozen=True)
class ObjectiveReported:
    """A training job has a new value of its objective."""

    name: str
    value: float


# a training job that has ended, by name; a new objective; None: a stop, or the end of the time
Event = str | ObjectiveReported | None
EventQueue = queue.SimpleQueue[Event]


class TuningJob:
    """A CreateHyperParameterTuningJob request, accepted. BadRequest if it can't be. `find` knows earlier tuning jobs.

    The caller reports each training job that ends to `on_job_end` and every metric of one to `on_metric`; `save` is
    called with the description and the summaries of the training jobs after every change. `left`: both as a server that
    was killed has left them; the tuning job goes on from there.
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        arn: str,
        backend: TrainingBackend,
        region: str,
        now: Callable[[], datetime],
        save: Callable[[dict[str, Any], list[dict[str, Any]]], None] = lambda *_: None,
        find: FindTuningJob = no_tuning_job,
        events: EventQueue | None = None,
        left: TuningRecord | None = None,
    ) -> None:
        self._plan = read_plan(request, find)
        self._state = TuningState(request, arn, self._plan.earlier, backend.describe, now, left)
        self.name, self.describe, self.children = self._state.name, self._state.describe, self._state.children
        self._backend, self._region, self._now, self._save = backend, region, now, save
        self._events: EventQueue = events or queue.SimpleQueue()
        self._running: dict[str, Definition] = {}
        self._pruned: set[str] = set()
        self._turns = itertools.cycle(self._plan.definitions)
        self._stale = 0  # training jobs since the best one
        self._stopping, self._end = False, "Completed"
        self._tags = {"Tags": request["Tags"]} if request.get("Tags") else {}  # children have them, too, on the service
        self._left = left[1] if left else []

    def check(self, check_job: Callable[[Mapping[str, Any]], None]) -> None:
        """Calls it with a request of each definition, which it refuses if no such training job could be run."""
        for definition in self._plan.definitions:
            check_job({**definition.make_request(f"{self.name}-001-{uuid4().hex[:8]}", {}), **self._tags})

    def on_job_end(self, name: str) -> None:
        """One of its training jobs has ended. From any thread."""
        self._events.put(name)

    def on_metric(self, name: str, metric: Metric) -> None:
        """A training job, of this or of another tuning job, has a new value of a metric. From any thread."""
        if name.startswith(f"{self.name}-") and self._plan.prunes_by(metric.name):
            self._events.put(ObjectiveReported(name, metric.value))

    def stop(self) -> None:
        """As StopHyperParameterTuningJob: stops its training jobs, then itself. From any thread."""
        self._state.begin_stopping()
        self._events.put(None)

    def run(self) -> dict[str, Any]:
        """From beginning to end; its description. Call it once."""
        began = self._state.describe()["CreationTime"]
        self._take_over()
        self._start_jobs()
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
            self._start_jobs()
            self._store()
        return self._finish()

    def _take_over(self) -> None:
        """What a server that was killed has left: results are told again, in their order, and training jobs that had no
        end are waited for."""
        definitions = {item.name: item for item in self._plan.definitions}
        children = [(child, definitions[child.get("TrainingJobDefinitionName")]) for child in self._left]
        for child, definition in children:
            next(self._turns)
            definition.sampler.recall(child["TunedHyperParameters"])
            if definition.pruner:
                definition.pruner.on_start(child["TrainingJobName"])
        ended = [item for item in children if item[0]["ObjectiveStatus"] != "Pending"]
        for child, definition in sorted(ended, key=_end_time):
            best = self._state.best_loss
            loss = self._state.recall_result(child["TrainingJobName"], definition)
            self._count_result(child["TrainingJobName"], definition, child["TunedHyperParameters"], loss, best)
        for child, definition in children:
            if child["ObjectiveStatus"] == "Pending":
                self._adopt(child, definition)
        if "FailureReason" in self.describe():
            self._stop_all("Failed")
        for child, definition in ended:
            self._check_completion(definition, self._state.recall_result(child["TrainingJobName"], definition))
        if self._state.status == "Stopping":
            self._stop_all("Stopped")

    def _adopt(self, child: dict[str, Any], definition: Definition) -> None:
        """A training job that was created, or was about to be."""
        name = child["TrainingJobName"]
        self._running[name] = definition
        try:
            status = self._backend.describe(name)["TrainingJobStatus"]
        except LocalTestError:
            try:
                self._create(name, definition, child["TunedHyperParameters"])
            except LocalTestError as error:
                self._state.set_failure(str(error))
                self._events.put(name)
            return
        if status in FINAL_STATUSES:
            self._events.put(name)
        elif status == "Stopping" and definition.pruner and self._state.status == "InProgress":
            self._pruned.add(name)

    def _next(self, began: datetime) -> Event:
        limit = self._plan.max_seconds
        left = math.inf if limit is None or self._stopping else limit - (self._now() - began).total_seconds()
        try:
            return get_before(self._events, time.monotonic() + left)
        except queue.Empty:
            return None

    def _start_jobs(self) -> None:
        """Creates training jobs until enough run. If one can't be created the tuning job ends: nor could the next."""
        while self._wants_more() and (asked := self._ask()) is not None:
            definition, values = asked
            try:
                self._start_job(definition, values)
                self._store()
            except LocalTestError as error:
                if self._state.status == "InProgress":  # else it is to end: then none can be created any more
                    self._state.set_failure(str(error))
                self._stop_all("Failed")

    def _wants_more(self) -> bool:
        if self._stopping or self._state.status != "InProgress":
            return False
        return self._state.created < self._plan.max_jobs and len(self._running) < self._plan.parallel

    def _ask(self) -> tuple[Definition, dict[str, str]] | None:
        """Of the definitions in turn; None if none of them has anything left to try."""
        for definition in itertools.islice(self._turns, len(self._plan.definitions)):
            if (values := definition.sampler.ask()) is not None:
                return definition, values
        return None

    def _start_job(self, definition: Definition, values: dict[str, str]) -> None:
        """It may end before it is in `_running`; its event is read only after that."""
        name = f"{self.name}-{self._state.created + 1:03d}-{uuid4().hex[:8]}"
        child = self._state.new_child(name, format_arn(self._region, "training-job", name), definition, values)
        self._save(self.describe(), [*self.children(), child])  # whoever goes on after a kill finds it by its name
        self._state.add_child(child, partial(self._create, name, definition, values))
        self._running[name] = definition
        if definition.pruner:
            definition.pruner.on_start(name)

    def _create(self, name: str, definition: Definition, values: Mapping[str, str]) -> None:
        request = {**definition.make_request(name, values), **self._tags}
        self._backend.create(request, self._state.arn)

    def _maybe_prune(self, event: ObjectiveReported) -> None:
        """Stops a training job that its pruner gives up."""
        name = event.name
        definition = None if name in self._pruned else self._running.get(name)  # it may be of another tuning job
        if not definition or not definition.pruner or self._stopping:
            return
        if definition.pruner.report(name, definition.loss(event.value)):
            self._pruned.add(name)
            self._stop_job(name)

    def _record_result(self, name: str) -> None:
        definition, best = self._running.pop(name), self._state.best_loss
        values, loss = self._state.record_result(name, definition, name in self._pruned)
        self._count_result(name, definition, values, loss, best)
        self._check_completion(definition, loss)

    def _count_result(
        self, name: str, definition: Definition, values: dict[str, str], loss: float | None, best: float
    ) -> None:
        """`best`: the best loss before."""
        if definition.pruner:
            definition.pruner.on_end(name, loss is not None)
        definition.sampler.tell(values, loss)
        self._stale = 0 if loss is not None and loss < best else self._stale + 1

    def _check_completion(self, definition: Definition, loss: float | None) -> None:
        """Ends the tuning job if its last result is good enough, or if there is no hope for a better one."""
        target, patience = self._plan.target, self._plan.patience
        if (target is not None and loss is not None and loss <= definition.loss(target)) or (
            patience and self._state.has_result and self._stale >= patience
        ):
            self._stop_all("Completed")
        elif not self._state.has_result and self._state.created - len(self._running) >= _TRIES:
            self._fail(f"No training job succeeded after {_TRIES} attempts. {_ADVICE}")
            self._stop_all("Failed")

    def _fail(self, reason: str) -> None:
        """No training job has an objective: `reason`, unless some have completed. All words are the service's."""
        if count_statuses(self.children())["TrainingJobStatusCounters"]["Completed"]:
            over = self._state.created - len(self._running)
            reason = (
                f"No objective metrics found after running {over} training jobs. Please ensure that the custom "
                "algorithm is emitting the objective metric as defined by the regular expression provided."
            )
        self._state.set_failure(reason)

    def _stop_all(self, end: str) -> None:
        """Creates no more training jobs and stops those that run; `end`: the tuning job's last status."""
        if self._stopping:
            return
        self._stopping, self._end = True, end
        for name in list(self._running):
            self._stop_job(name)

    def _stop_job(self, name: str) -> None:
        with suppress(LocalTestError):  # it has just ended, and its event comes
            self._backend.stop(name)

    def _finish(self) -> dict[str, Any]:
        if self._state.status == "Stopping":
            self._end = "Stopped"  # even if nothing was left to stop
        if self._end == "Completed" and not self._state.has_result:
            self._fail(f"All training jobs failed. {_ADVICE}")
            self._end = "Failed"
        self._state.end(self._end)
        self._save(self.describe(), self.children())
        return self.describe()

    def _store(self) -> None:
        self._state.touch()
        self._save(self.describe(), self.children())


def _end_time(item: tuple[Mapping[str, Any], Definition]) -> datetime:
    """One that never ran has none."""
    child, _ = item
    time: datetime = child.get("TrainingEndTime", child["CreationTime"])
    return time
