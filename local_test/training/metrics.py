"""MetricDefinitions → values: every log line is searched with every regex, the first group is the value."""

import csv
import math
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from local_test.errors import BadRequest
from local_test.util.numbers import number

COLUMNS = ("timestamp", "metric", "value", "index")


@dataclass(frozen=True)
class Metric:
    """One value; `index` counts the values of that name from 0 (the epoch, where a metric is printed once an epoch)."""

    timestamp: datetime
    name: str
    value: float
    index: int


class MetricReader:
    """Finds the values in lines, and remembers the last of each name: the service's FinalMetricDataList."""

    def __init__(self, definitions: Sequence[Mapping[str, str]]) -> None:
        self._patterns = [(item["Name"], _compile(item["Name"], item["Regex"])) for item in definitions]
        self._counts: dict[str, int] = {}
        self.final: dict[str, Metric] = {}

    def read(self, line: str, now: datetime) -> list[Metric]:
        """The metrics of one line; a group that is not a number is not a metric."""
        found = []
        for name, pattern in self._patterns:
            match = pattern.search(line)
            value = number(match[1]) if match else None
            if value is not None:
                found.append(self._next(name, value, now))
        return found

    def _next(self, name: str, value: float, now: datetime) -> Metric:
        index = self._counts.get(name, 0)
        self._counts[name] = index + 1
        metric = Metric(now, name, value, index)
        if math.isfinite(value):  # neither CloudWatch nor JSON has a NaN; metrics.csv keeps it
            self.final[name] = metric
        return metric


class MetricFile:
    """metrics.csv: a header, then a row a value as it arrives."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="", buffering=1)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def write(self, metrics: Iterable[Metric]) -> None:
        for metric in metrics:
            when = metric.timestamp.isoformat(timespec="milliseconds")
            self._rows.writerow((when, metric.name, repr(metric.value), metric.index))

    def close(self) -> None:
        self._file.close()


class MetricRecorder:
    """Reads the lines of all hosts and writes what it finds to metrics.csv. Safe for threads."""

    def __init__(self, reader: MetricReader, path: Path) -> None:
        self._reader, self._file, self._lock = reader, MetricFile(path), threading.Lock()

    def record(self, line: str, now: datetime) -> list[Metric]:
        """The metrics of one line."""
        with self._lock:
            metrics = self._reader.read(line, now)
            self._file.write(metrics)
        return metrics

    def close(self) -> None:
        self._file.close()


def _compile(name: str, regex: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise BadRequest(f"MetricDefinitions: the regex of {name} is not one: {error}. Received: {regex}") from None
    if not pattern.groups:
        raise BadRequest(f"MetricDefinitions: the regex of {name} has no group for the value. Received: {regex}")
    return pattern
