"""The lists of the page, as they change: jobs of each kind, experiments and their runs, pipelines, their executions and
steps. An open page gets each row once, again when it changes, and is told what is gone.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from local_test.errors import LocalTestError
from local_test.executions.manager import ExecutionManager
from local_test.executions.record import ExecutionRecord, StepRecord
from local_test.experiments.entities import Experiments, Members
from local_test.page.live import POLL_SECONDS, Event
from local_test.pipelines.versions import PipelineStore
from local_test.request.job_kind import kind_of
from local_test.training.job_status import FINAL_STATUSES

_AT_ONCE = 50  # rows of an event: a page draws the first ones while others are read

Row = Mapping[str, Any]  # `id` and what else the page shows of it, as JSON can hold it
Description = Mapping[str, Any]


class Entry(NamedTuple):
    """A row, which is made once `state` is another one than at the last look."""

    id: str
    state: Any
    make: Callable[[], Row]


ReadList = Callable[[], Iterable[Entry]]  # LocalTestError once what has the list is gone


class Jobs(Protocol):
    """All jobs of one kind; BadRequest for the name of none."""

    def describe(self, name: str) -> dict[str, Any]: ...

    def all(self) -> list[dict[str, Any]]: ...


class TuningJobs(Jobs, Protocol):
    def children(self, name: str) -> list[dict[str, Any]]: ...


class JobSet(NamedTuple):
    """The jobs of one kind that have logs, and where each keeps its files."""

    jobs: Jobs
    folder: Callable[[str], Path]

    def find(self, name: str) -> Path:
        """The folder of a job that there is: no other name gets as far as the file system."""
        self.jobs.describe(name)
        return self.folder(name)


class Region(Protocol):
    """What is shown of one region. None: what a command that runs one job does not have."""

    @property
    def tuning_jobs(self) -> TuningJobs: ...

    @property
    def experiments(self) -> Experiments | None: ...

    @property
    def pipelines(self) -> PipelineStore | None: ...

    @property
    def executions(self) -> ExecutionManager | None: ...

    def job_sets(self) -> Mapping[str, JobSet]:
        """training-jobs, and processing-jobs where there can be any."""


class Cache:
    """The rows of jobs, which are looked at once for all pages that follow them. Safe for threads."""

    def __init__(self, list_jobs: Callable[[], Iterable[Description]], make: Callable[[Description], Row]) -> None:
        self._list_jobs, self._make, self._lock = list_jobs, make, threading.Lock()
        self._entries: list[Entry] = []
        self._until = 0.0

    def read(self) -> Sequence[Entry]:
        """At most so old as the time between two looks of one page."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._entries = [_entry(self._make(job)) for job in self._list_jobs()]
                self._until = time.monotonic() + POLL_SECONDS / 2
            return self._entries


def _entry(row: Row) -> Entry:
    return Entry(row["id"], row, lambda: row)


class ListTail:
    """What is new of a list. The first look tells all of it, even if that is nothing; `ended`: it is gone."""

    has_more = False

    def __init__(self, name: str, read: ReadList) -> None:
        self._name, self._read = name, read
        self._states: dict[str, Any] | None = None
        self._ended = False

    def read(self) -> Iterator[Event]:
        if not self._ended:
            try:
                yield from self._look()
            except LocalTestError as error:
                self._ended = True
                yield "ended", {"list": self._name, "reason": str(error)}

    def _look(self) -> Iterator[Event]:
        before, states, changed = self._states or {}, dict[str, Any](), list[Row]()
        for entry in self._read():
            states[entry.id] = entry.state
            if entry.id not in before or before[entry.id] != entry.state:
                changed.append(entry.make())
            if len(changed) == _AT_ONCE:
                yield self._tell(changed)
                changed = []
        gone = [name for name in before if name not in states]
        if changed or gone or self._states is None:
            yield self._tell(changed, gone)
        self._states = states

    def _tell(self, rows: Sequence[Row], gone: Sequence[str] = ()) -> Event:
        return "rows", {"list": self._name, "rows": rows, "gone": gone}


def find_list(region: Region, address: str) -> ReadList | None:
    """By its address: experiments, experiments/NAME (its runs), pipelines, pipelines/NAME (its executions),
    pipelines/NAME/ID (the steps of one). LocalTestError if what has it is not there."""
    kind, *names = address.split("/")
    experiments, pipelines, executions = region.experiments, region.pipelines, region.executions
    read: ReadList | None = None
    if kind == "experiments" and experiments and len(names) < 2:
        read = partial(runs_of, experiments, *names) if names else partial(_experiments, experiments)
    if kind == "pipelines" and pipelines and executions and len(names) < 3:
        readers: Sequence[Callable[..., Iterable[Entry]]] = (_pipelines, _executions, _steps)
        read = partial(readers[len(names)], pipelines, executions, *names)
    if read:
        next(iter(read()), None)
    return read


def summarize(description: Description) -> Row:
    """A row of the list of jobs of one kind."""
    kind = kind_of(description)
    status = kind.status_of(description)
    return {
        "id": kind.name_of(description),
        "status": status,
        "state": description.get("SecondaryStatus", status),
        "created": description["CreationTime"].timestamp(),
        "ended": description["LastModifiedTime"].timestamp() if status in FINAL_STATUSES else None,
        "tuning": description.get("TuningJobArn", "").rpartition("/")[2],
        "metrics": {item["MetricName"]: item["Value"] for item in description.get("FinalMetricDataList", [])},
    }


def summarize_tuning(description: Description) -> Row:
    best = description.get("BestTrainingJob", {})
    objective = best.get("FinalHyperParameterTuningJobObjectiveMetric")
    return {
        **summarize(description),
        "strategy": description["HyperParameterTuningJobConfig"]["Strategy"],
        "best": objective
        and {
            "job": best["TrainingJobName"],
            "metric": objective["MetricName"],
            "value": objective["Value"],
        },
        "failure": description.get("FailureReason", ""),
    }


def _experiments(experiments: Experiments) -> Iterator[Entry]:
    runs: dict[str, set[str]] = {}
    for trial in experiments.trials.snapshot():
        runs.setdefault(trial["ExperimentName"], set()).update(trial["Components"])
    for one in experiments.experiments.snapshot():
        name = one["ExperimentName"]
        count = len(runs.get(name, ()))
        yield Entry(name, (one, count), partial(_experiment, one, count))


def _experiment(one: Members, runs: int) -> Row:
    times = {"created": one["CreationTime"].timestamp()}
    return {"id": one["ExperimentName"], "runs": runs, "description": one.get("Description", ""), **times}


def runs_of(experiments: Experiments, experiment: str) -> Iterator[Entry]:
    name = experiments.experiments.name(experiment)
    trials = [one for one in experiments.trials.snapshot() if one["ExperimentName"] == name]
    wanted = {component for trial in trials for component in trial["Components"]}
    return (_run(experiments, one) for one in experiments.components.snapshot() if one["TrialComponentName"] in wanted)


def _run(experiments: Experiments, component: Members) -> Entry:
    name = component["TrialComponentName"]
    try:
        store = experiments.metric_store(name)
    except LocalTestError:  # deleted since
        return Entry(name, component, lambda: _describe_run(component, []))
    return Entry(name, (component, store.changes), lambda: _describe_run(component, store.summary("")))


def _describe_run(component: Members, metrics: Iterable[Mapping[str, Any]]) -> Row:
    parameters = {
        name: value.get("NumberValue", value.get("StringValue"))
        for name, value in component.get("Parameters", {}).items()
        if not name.startswith("SageMaker.")
    }
    source = component.get("Source", {})
    return {
        "id": component["TrialComponentName"],
        "name": component.get("DisplayName", component["TrialComponentName"]),
        "status": component.get("Status", {}).get("PrimaryStatus", ""),
        "created": component["CreationTime"].timestamp(),
        "source": {"type": source.get("SourceType", ""), "arn": source.get("SourceArn", "")},
        "parameters": parameters,
        "metrics": {one["MetricName"]: {name: one[name] for name in ("Last", "Min", "Max")} for one in metrics},
    }


def _pipelines(pipelines: PipelineStore, executions: ExecutionManager) -> Iterator[Entry]:
    last: dict[str, ExecutionRecord] = {}
    for record in executions.all():
        if record.pipeline_arn not in last or record.created >= last[record.pipeline_arn].created:
            last[record.pipeline_arn] = record
    for one in pipelines.snapshot():
        newest = last.get(one["PipelineArn"])
        yield Entry(one["PipelineName"], (one, newest), partial(_pipeline, one, newest))


def _pipeline(one: Members, last: ExecutionRecord | None) -> Row:
    created = one["CreationTime"].timestamp()
    return {"id": one["PipelineName"], "created": created, "last": _describe_execution(last) if last else None}


def _executions(pipelines: PipelineStore, executions: ExecutionManager, pipeline: str) -> list[Entry]:
    arn = pipelines.get(pipeline)["PipelineArn"]
    return [Entry(record.id, record, partial(_describe_execution, record)) for record in executions.of(arn)]


def _describe_execution(record: ExecutionRecord) -> Row:
    return {
        "id": record.id,
        "name": record.display_name or record.id,
        "status": record.status,
        "created": record.created,
        "ended": record.modified if record.is_over else None,
        "failure": record.failure,
    }


def _steps(pipelines: PipelineStore, executions: ExecutionManager, pipeline: str, execution: str) -> list[Entry]:
    """Those that were begun, in that order."""
    record = executions.find(f"{pipelines.get(pipeline)['PipelineArn']}/execution/{execution}")
    return [Entry(step.name, step, partial(_step, order, step)) for order, step in enumerate(record.steps.values())]


def _step(order: int, step: StepRecord) -> Row:
    return {
        "id": step.name,
        "order": order,
        "status": step.status,
        "created": step.start,
        "ended": step.end,
        "made": step.metadata,
        "cached": bool(step.cached_from),
        "failure": step.failure,
    }
