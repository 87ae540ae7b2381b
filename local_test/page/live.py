"""What a page follows: the list of jobs, and one or more jobs' metrics and log lines, as they come.

All of it is read from where jobs keep it anyway: their descriptions, metrics.csv and logs/. So a job of an earlier
server is shown as one that runs, and nobody has to tell a page anything.
"""

import csv
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from local_test.request.job_kind import kind_of
from local_test.training.job_status import FINAL_STATUSES
from local_test.util.numbers import number

POLL_SECONDS = 0.3
ALIVE_SECONDS = 10.0  # after which something is written: only so does a server learn that nobody reads any more
FIRST_LOG_BYTES = 256 << 10  # of a log's end, that a page gets at first
_CHUNK = 1 << 20
_LOG = ".log"

Event = tuple[str, Any]  # its name, and what JSON can hold
Description = Mapping[str, Any]


class Tail:
    """A file that grows: the whole lines that came since the last look. It may not exist yet."""

    def __init__(self, path: Path, last_bytes: int | None = None) -> None:
        self._path, self._offset, self._rest = path, 0, b""
        if last_bytes is not None and path.is_file():
            self._offset = max(0, path.stat().st_size - last_bytes)
            self._is_cut = self._offset > 0
        else:
            self._is_cut = False

    def read(self) -> list[str]:
        """At most a MiB of them; the first one is left out where the file was entered in the middle."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                chunk = file.read(_CHUNK)
        except FileNotFoundError:
            return []
        self._offset += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if self._is_cut and lines:
            self._is_cut, lines = False, lines[1:]
        return [line.decode(errors="replace") for line in lines]


class JobTail:
    """One job's new metrics and log lines."""

    def __init__(self, name: str, folder: Path, *, with_logs: bool) -> None:
        self._name, self._folder, self._with_logs = name, folder, with_logs
        self._metrics = Tail(folder / "metrics.csv")
        self._logs: dict[str, Tail] = {}

    def read(self) -> Iterator[Event]:
        rows = (row for line in self._metrics.read() for row in csv.reader([line]))
        points = [point for row in rows if (point := _point(row))]
        if points:
            yield "metrics", {"job": self._name, "points": points}
        if self._with_logs:
            yield from self._read_logs()

    def _read_logs(self) -> Iterator[Event]:
        for path in sorted((self._folder / "logs").glob(f"*{_LOG}")):
            tail = self._logs.setdefault(path.stem, Tail(path, FIRST_LOG_BYTES))
            if lines := tail.read():
                yield "log", {"job": self._name, "host": path.stem, "lines": lines}


def _point(row: Sequence[str]) -> list[Any] | None:
    """[name, seconds since 1970, value, index]; None for the header, and for what a full disk has left of a row. None
    as value: no number of JSON."""
    value = number(row[2]) if len(row) == 4 else None
    if value is None:
        return None
    finite = value if value - value == 0 else None  # NaN, infinity
    with suppress(ValueError):
        return [row[1], datetime.fromisoformat(row[0]).timestamp(), finite, int(row[3])]
    return None


def summarize(description: Description) -> dict[str, Any]:
    """A row of the list of jobs of one kind."""
    kind = kind_of(description)
    status = kind.status_of(description)
    return {
        "name": kind.name_of(description),
        "arn": kind.arn_of(description),
        "status": status,
        "state": description.get("SecondaryStatus", status),
        "created": description["CreationTime"].timestamp(),
        "ended": description["LastModifiedTime"].timestamp() if status in FINAL_STATUSES else None,
        "tuning": description.get("TuningJobArn", "").rpartition("/")[2],
        "metrics": {item["MetricName"]: item["Value"] for item in description.get("FinalMetricDataList", [])},
    }


class Rows:
    """The list of jobs, which is looked at once for all pages that follow it. Safe for threads."""

    def __init__(self, list_jobs: Callable[[], Sequence[Description]]) -> None:
        self._list_jobs, self._lock = list_jobs, threading.Lock()
        self._rows: Sequence[dict[str, Any]] = ()
        self._until = 0.0

    def read(self) -> Sequence[dict[str, Any]]:
        """At most so old as the time between two looks of one page; the same object while nothing changes."""
        with self._lock:
            if time.monotonic() >= self._until:
                rows = [summarize(job) for job in self._list_jobs()]
                if rows != self._rows:
                    self._rows = rows
                self._until = time.monotonic() + POLL_SECONDS / 2
            return self._rows


def follow(
    read_rows: Callable[[], Sequence[dict[str, Any]]],
    tails: Sequence[JobTail],
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Event]:
    """Events without an end: `jobs` whenever the list is another, `metrics` and `log` as they come, else `alive`."""
    before: Sequence[dict[str, Any]] | None = None
    written = clock()
    while True:
        events: list[Event] = []
        rows = read_rows()
        if rows is not before:
            before = rows
            events.append(("jobs", rows))
        for tail in tails:
            events.extend(tail.read())
        if not events and clock() - written > ALIVE_SECONDS:
            events.append(("alive", None))
        if events:
            written = clock()
        yield from events
        if not any(name in ("metrics", "log") for name, _ in events):  # else there may be more at once
            sleep(POLL_SECONDS)
