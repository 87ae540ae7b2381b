"""What a page follows: one or more jobs' or runs' metrics, and jobs' log lines, as they come; lists are in lists.py.

All of it is read from where jobs keep it anyway: metrics.csv, logs/ and a run's metrics.jsonl. So a job of an earlier
server is shown as one that runs, and nobody has to tell a page anything.
"""

import csv
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from local_test.experiments.metric_store import parse_point
from local_test.util.atomic_files import DAMAGE
from local_test.util.numbers import number

POLL_SECONDS = 0.3
ALIVE_SECONDS = 10.0  # after which something is written: only so does a server learn that nobody reads any more
FIRST_LOG_BYTES = 256 << 10  # of a log's end, that a page gets at first
_CHUNK = 1 << 20
_HEAD = 128  # bytes that tell files of metrics apart: a first value's time is among them
_GONE = (0, b"")
_LOG = ".log"

Event = tuple[str, Any]  # its name, and what JSON can hold


class Tail:
    """A file that grows: the whole lines that came since the last look. It may not exist yet, and may be replaced by
    another one."""

    def __init__(self, path: Path, last_bytes: int | None = None) -> None:
        self._path, self._last_bytes = path, last_bytes
        # its number on the disk, which a later one may get, and how it begins
        self._file: tuple[int, bytes] | None = None
        self._offset, self._rest, self._is_cut = 0, b"", False
        self.has_more = False  # than one look gives
        self.is_another = False  # with the last look: what came before is of a file that is gone

    def read(self) -> list[str]:
        """At most a MiB of them; the first one is left out where the file was entered in the middle."""
        self.has_more = self.is_another = False
        try:
            with self._path.open("rb") as file:
                self._check(os.fstat(file.fileno()), file.read(_HEAD))
                file.seek(self._offset)
                chunk = file.read(_CHUNK)
        except FileNotFoundError:
            self._file = self._file and _GONE
            return []
        self.has_more = len(chunk) == _CHUNK
        self._offset += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if self._is_cut and lines:
            self._is_cut, lines = False, lines[1:]
        return [line.decode(errors="replace") for line in lines]

    def _check(self, status: os.stat_result, head: bytes) -> None:
        """Enters the file if it is none that was read before."""
        known, self._file = self._file, (status.st_ino, head)
        if known and known[0] == status.st_ino and head.startswith(known[1]) and status.st_size >= self._offset:
            return
        self.is_another, self._rest = known is not None, b""
        self._offset = 0 if self._last_bytes is None else max(0, status.st_size - self._last_bytes)
        self._is_cut = self._offset > 0


class Reader(Protocol):
    """What an open page follows."""

    @property
    def has_more(self) -> bool:
        """At once, without waiting for something new."""

    def read(self) -> Iterator[Event]: ...


class JobTail:
    """One job's new metrics and log lines; `cleared` before those of another job that has got its name."""

    def __init__(self, name: str, folder: Path, *, with_logs: bool) -> None:
        self._name, self._folder, self._with_logs = name, folder, with_logs
        self._metrics = Tail(folder / "metrics.csv")
        self._logs: dict[str, Tail] = {}

    @property
    def has_more(self) -> bool:
        return any(tail.has_more for tail in (self._metrics, *self._logs.values()))

    def read(self) -> Iterator[Event]:
        rows = [row for line in self._metrics.read() for row in csv.reader([line])]
        yield from _tell(self._name, self._metrics, [point for row in rows if (point := _point(row))])
        if self._with_logs:
            yield from self._read_logs()

    def _read_logs(self) -> Iterator[Event]:
        for path in sorted((self._folder / "logs").glob(f"*{_LOG}")):
            tail = self._logs.setdefault(path.stem, Tail(path, FIRST_LOG_BYTES))
            if lines := tail.read():
                yield "log", {"job": self._name, "host": path.stem, "lines": lines}


class RunTail:
    """One run's new metrics: of a trial component, whoever has written them."""

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._metrics = name, Tail(path)
        self._counts: dict[str, int] = {}

    @property
    def has_more(self) -> bool:
        return self._metrics.has_more

    def read(self) -> Iterator[Event]:
        lines = self._metrics.read()
        if self._metrics.is_another:
            self._counts.clear()
        yield from _tell(self._name, self._metrics, [point for line in lines if (point := self._point(line))])

    def _point(self, line: str) -> list[Any] | None:
        """As of a job; without a step a value's index is how many came before."""
        with suppress(*DAMAGE):
            point = parse_point(line)
            count = self._counts[point.name] = self._counts.get(point.name, -1) + 1
            return [point.name, point.timestamp.timestamp(), point.value, count if point.step is None else point.step]
        return None


def _tell(name: str, tail: Tail, points: Sequence[Any]) -> Iterator[Event]:
    if tail.is_another:
        yield "cleared", {"job": name}
    if points:
        yield "metrics", {"job": name, "points": points}


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


def follow(
    readers: Sequence[Reader],
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Event]:
    """Events without an end, as they come; else `alive` now and then."""
    written = clock()
    while True:
        for event in chain.from_iterable(reader.read() for reader in readers):
            yield event
            written = clock()
        if clock() - written > ALIVE_SECONDS:
            yield "alive", None
            written = clock()
        if not any(reader.has_more for reader in readers):
            sleep(POLL_SECONDS)
