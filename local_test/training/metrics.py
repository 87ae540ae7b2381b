"""MetricDefinitions → values: every log line is searched with every regex, the first group is the value."""

import csv
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import regex

from local_test.errors import BadRequest
from local_test.util.numbers import number

# Some regexes need time that grows with the square of a line's length, or doubles with each letter of it.
MATCH_SECONDS = 0.1  # for one regex on one line; a usual one needs 0.00001
_MAX_TIMEOUTS = 10  # after which a definition is not looked for any more
COLUMNS = ("timestamp", "metric", "value", "index")


@dataclass(frozen=True)
class Metric:
    """One value; `index` counts the values of that name from 0 (the epoch, where a metric is printed once an epoch)."""

    timestamp: datetime
    name: str
    value: float
    index: int


class _Pattern:
    """A definition's regex, which has a limited time for a line, and is given up after a number of lines."""

    def __init__(self, name: str, compiled: regex.Pattern[str]) -> None:
        self.name, self._compiled, self._timeouts = name, compiled, 0

    def search(self, line: str, warn: Callable[[str], object]) -> str | None:
        """The first group of the first match."""
        if self._timeouts == _MAX_TIMEOUTS:
            return None
        try:
            match = self._compiled.search(line, timeout=MATCH_SECONDS, concurrent=True)
        except TimeoutError:
            self._count_timeout(line, warn)
            return None
        return match[1] if match else None

    def _count_timeout(self, line: str, warn: Callable[[str], object]) -> None:
        self._timeouts += 1
        what = f"MetricDefinitions: the regex of {self.name} takes more than {MATCH_SECONDS} s on a line"
        if self._timeouts == 1:
            warn(
                f"{what} of {len(line)} characters, which is passed over. Avoid .* between two groups, and repetitions "
                "of repetitions"
            )
        if self._timeouts == _MAX_TIMEOUTS:
            warn(f"{what}, {_MAX_TIMEOUTS} times by now. It is not looked for any more")


class MetricReader:
    """Finds the values in lines, and remembers the last of each name: the service's FinalMetricDataList."""

    def __init__(self, definitions: Sequence[Mapping[str, str]]) -> None:
        self._patterns = [_Pattern(item["Name"], _compile(item["Name"], item["Regex"])) for item in definitions]
        self._counts: dict[str, int] = {}
        self.final: dict[str, Metric] = {}

    def read(self, line: str, now: datetime, warn: Callable[[str], object] = lambda _: None) -> list[Metric]:
        """The metrics of one line; a group that is not a number is not a metric.

        `warn` gets a sentence when a regex takes too long for the first time, and when it is given up.
        """
        found = []
        for pattern in self._patterns:
            value = number(pattern.search(line, warn))
            if value is not None:
                found.append(self._next(pattern.name, value, now))
        return found

    def recall(self, earlier: Iterable[Metric]) -> None:
        """Values that were found before, in their order."""
        for metric in earlier:
            self._keep(metric)

    def _next(self, name: str, value: float, now: datetime) -> Metric:
        return self._keep(Metric(now, name, value, self._counts.get(name, 0)))

    def _keep(self, metric: Metric) -> Metric:
        self._counts[metric.name] = metric.index + 1
        if math.isfinite(metric.value):  # neither CloudWatch nor JSON has a NaN; metrics.csv keeps it
            self.final[metric.name] = metric
        return metric


class MetricFile:
    """metrics.csv: a header, then a row a value as it arrives. `earlier`: those of the job's runs under a server that
    was killed."""

    def __init__(self, path: Path, earlier: Iterable[Metric] = ()) -> None:
        self._file = path.open("w", encoding="utf-8", newline="", buffering=1)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(COLUMNS)
        self.write(earlier)

    def write(self, metrics: Iterable[Metric]) -> None:
        for metric in metrics:
            when = metric.timestamp.isoformat(timespec="milliseconds")
            self._rows.writerow((when, metric.name, repr(metric.value), metric.index))

    def close(self) -> None:
        with suppress(OSError):  # what could not be written has been an error of `write`
            self._file.close()


class MetricRecorder:
    """Reads the lines of all hosts and writes what it finds to metrics.csv. Safe for threads."""

    def __init__(self, reader: MetricReader, path: Path, warn: Callable[[str], object]) -> None:
        earlier = list(_read_rows(path))
        reader.recall(earlier)
        self._reader, self._warn, self._file, self._lock = reader, warn, MetricFile(path, earlier), threading.Lock()

    def record(self, line: str, now: datetime) -> list[Metric]:
        """The metrics of one line."""
        with self._lock:
            metrics = self._reader.read(line, now, self._warn)
            self._file.write(metrics)
        return metrics

    def close(self) -> None:
        self._file.close()


def _read_rows(path: Path) -> Iterator[Metric]:
    """The whole rows of a metrics.csv; none if there is no such file. The last one may be cut off."""
    with suppress(FileNotFoundError, ValueError, TypeError, KeyError), path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(line for line in file if line.endswith("\n")):
            when, value = datetime.fromisoformat(row["timestamp"]), float(row["value"])
            yield Metric(when, row["metric"], value, int(row["index"]))


def _compile(name: str, text: str) -> regex.Pattern[str]:
    try:
        pattern = regex.compile(text)
    except regex.error as error:
        raise BadRequest(f"MetricDefinitions: the regex of {name} is not one: {error}. Received: {text}") from None
    if not pattern.groups:
        raise BadRequest(f"MetricDefinitions: the regex of {name} has no group for the value. Received: {text}")
    return pattern
