"""The metrics of a run: a file with one value a line, and a summary of each metric, as a trial component shows it."""

import errno
import json
import math
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local_test.util.atomic_files import DAMAGE, write_whole


@dataclass(frozen=True)
class MetricPoint:
    """One value of a metric."""

    name: str
    timestamp: datetime
    value: float
    step: int | None = None


@dataclass
class RunningSummary:
    """Count, mean, deviation and range of a metric without its values (Welford's algorithm)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0  # of the distances to the mean
    least: float = math.inf
    most: float = -math.inf
    last: float = 0.0
    time: datetime = field(default_factory=lambda: datetime.fromtimestamp(0, UTC))

    def add(self, point: MetricPoint) -> None:
        self.count += 1
        distance = point.value - self.mean
        self.mean += distance / self.count
        self.squares += distance * (point.value - self.mean)
        self.least, self.most = min(self.least, point.value), max(self.most, point.value)
        self.last, self.time = point.value, point.timestamp

    def describe(self, name: str, source: str) -> Mapping[str, Any]:
        """A TrialComponentMetricSummary."""
        deviation = math.sqrt(self.squares / self.count)
        return {
            "MetricName": name,
            "SourceArn": source,
            "TimeStamp": self.time,
            "Min": self.least,
            "Max": self.most,
            "Last": self.last,
            "Count": self.count,
            "Avg": self.mean,
            "StdDev": deviation,
        }


class MetricStore:
    """The values of one trial component, appended to a file as they come; opening drops an incomplete last line."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._summaries: dict[str, RunningSummary] = {}
        self.changes = 0  # so far: as long as it stays, the summary does
        self._drop_partial_line()
        for point in self.points():
            self._summaries.setdefault(point.name, RunningSummary()).add(point)

    def add(self, points: Iterable[MetricPoint]) -> None:
        """Leaves out values that are not finite: JSON has none."""
        kept = [point for point in points if math.isfinite(point.value)]
        lines = [json.dumps([point.name, point.timestamp.timestamp(), point.value, point.step]) for point in kept]
        with self._lock:
            self._append("".join(f"{line}\n" for line in lines).encode())
            for point in kept:
                self._summaries.setdefault(point.name, RunningSummary()).add(point)
            self.changes += 1

    def _append(self, lines: bytes) -> None:
        """All of them, or none where the disk is full."""
        with self._path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                if file.write(lines) < len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            except OSError:
                file.truncate(size)
                raise

    def clear(self) -> None:
        with self._lock:
            self._path.unlink(missing_ok=True)
            self._summaries.clear()
            self.changes += 1

    def summary(self, source: str) -> list[Mapping[str, Any]]:
        """A TrialComponentMetricSummary for each metric, sorted by name; `source`: the ARN of what they describe."""
        with self._lock:
            return [self._summaries[name].describe(name, source) for name in sorted(self._summaries)]

    def _drop_partial_line(self) -> None:
        if self._path.exists():
            content = self._path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                write_whole(self._path, lambda file: file.write(content[:whole]))

    def points(self) -> Iterator[MetricPoint]:
        """All values, oldest first. A line that is none, as damage leaves it, is passed over."""
        if not self._path.exists():
            return
        with self._path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                with suppress(*DAMAGE):
                    point = parse_point(line)
                    yield point


def parse_point(line: str) -> MetricPoint:
    """A line of the file. One of DAMAGE for any other text."""
    name, time, value, step = json.loads(line)
    if not math.isfinite(value):
        raise ValueError
    return MetricPoint(str(name), datetime.fromtimestamp(time, UTC), float(value), None if step is None else int(step))
