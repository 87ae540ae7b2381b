"""A job, wherever it is, and what every place of jobs can do."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from local_test.data.object_store import ObjectStore, open_object_store
from local_test.request.job_kind import TUNING, JobKind
from local_test.training.job_status import FINAL_STATUSES
from local_test.tuning.warm_start import FINAL_OBJECTIVE, OBJECTIVE

Description = Mapping[str, Any]
_NAME = re.compile(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}")  # of every kind of job; also a folder's


def is_name(text: str) -> bool:
    """Whether a job can have that name."""
    return _NAME.fullmatch(text) is not None


class Log(Protocol):
    """What a job's hosts print."""

    def read(self) -> Iterator[tuple[str, str]]:
        """(host, line) of each line since the last call. A host `platform` is this program's own."""
        ...


class Place(ABC):
    """`options` are the command line's that name it, for a person to copy; `seconds` between two looks at a job.
    `is_late`: whether the log of a job that is over may still get lines. `is_first`: whether its job is meant although
    another place of the same options has one of that name, too."""

    label: str
    options: Sequence[str] = ()
    seconds = 0.5
    is_late = is_first = False

    def __str__(self) -> str:
        return self.label

    @abstractmethod
    def newest(self, kind: JobKind, limit: int) -> Sequence[Description]:
        """The newest jobs of a kind, the newest first, as the API describes them."""

    @abstractmethod
    def describe(self, kind: JobKind, name: str) -> Description | None:
        """As the API's operation; None if there is no such job."""

    @abstractmethod
    def children(self, name: str) -> Sequence[Description]:
        """The summaries of a tuning job's training jobs."""

    @abstractmethod
    def stop(self, kind: JobKind, name: str) -> None:
        """As the API's operation. BadRequest if it is refused."""

    @abstractmethod
    def interrupt(self, name: str) -> None:
        """Takes a training job's spot instances away. BadRequest if that can't be."""

    @abstractmethod
    def log(self, kind: JobKind, description: Description) -> Log: ...

    @abstractmethod
    def report(self, description: Description) -> bytes | None:
        """The content of a training job's report.html, as the job wrote it; None if it has left none."""

    def open_storage(self, description: Description) -> ObjectStore:  # noqa: ARG002 - the service's is of a region
        """Where a training job's artifacts are."""
        return open_object_store(os.environ)

    def close(self) -> None:  # noqa: B027 - not every place holds something
        """Gives back what it holds."""


@dataclass(frozen=True)
class Job:
    """One job as it was when it was looked at."""

    place: Place
    kind: JobKind
    description: Description

    @property
    def name(self) -> str:
        return self.kind.name_of(self.description)

    @property
    def status(self) -> str:
        return self.kind.status_of(self.description)

    @property
    def state(self) -> str:
        """More than the status, where there is more."""
        return self.description.get("SecondaryStatus", self.status)

    @property
    def is_over(self) -> bool:
        return self.status in FINAL_STATUSES

    @property
    def identity(self) -> tuple[str, float]:
        """The same job seen in two places has the same: a server's is also in a folder."""
        return self.description[f"{self.kind.name}Arn"], round(self.description["CreationTime"].timestamp(), 3)

    def seconds(self, now: datetime) -> float:
        """That it has run, or was there, until it ended or until now."""
        found = self.description
        begin = found.get("TrainingStartTime") or found.get("ProcessingStartTime") or found["CreationTime"]
        ends = ("TrainingEndTime", "ProcessingEndTime", "HyperParameterTuningEndTime", "LastModifiedTime")
        end = next((found[name] for name in ends if name in found), now) if self.is_over else now
        return max(0.0, (end - begin).total_seconds())

    @property
    def metric(self) -> tuple[str, float] | None:
        """The objective; without one the last metric of the validation, or the last of all."""
        if self.kind is TUNING:
            best = self.description.get("BestTrainingJob", {}).get(FINAL_OBJECTIVE)
            return (best["MetricName"], best["Value"]) if best else None
        values = {item["MetricName"]: item["Value"] for item in self.description.get("FinalMetricDataList", [])}
        objective = self.description.get("HyperParameters", {}).get(OBJECTIVE)
        told = [name for name in values if re.match("val|test|eval", name)] or list(values)
        name = objective if objective in values else told[-1] if told else None
        return (name, values[name]) if name else None

    @property
    def groups(self) -> Sequence[Mapping[str, Any]]:
        """Of its instances: InstanceType, InstanceCount."""
        found = self.description
        resources = found.get("ResourceConfig") or found.get("ProcessingResources", {}).get("ClusterConfig", {})
        return resources.get("InstanceGroups") or ([resources] if resources else [])

    @property
    def hosts(self) -> int:
        return sum(group.get("InstanceCount", 1) for group in self.groups)

    def look(self) -> "Job":
        """As it is now; as it was if it is not there any more."""
        found = self.place.describe(self.kind, self.name)
        return Job(self.place, self.kind, found or self.description)

    @property
    def region(self) -> str:
        return self.description[f"{self.kind.name}Arn"].split(":")[3]
