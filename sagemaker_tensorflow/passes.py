"""One pass over a channel for each iterator: a thread reads the FIFO ahead, blocks of records are asked for.

TensorFlow knows a pass by a number in a tensor. The tensor shares its memory with a NumPy array, so that when
TensorFlow lets go of it, because the iterator is gone, the array goes too, and that closes the FIFO.
"""

import itertools
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from sagemaker_tensorflow.state import PipeState
from train.errors import DataError, StopRequested
from train.records.channels import FifoSource, FileStream, Stream
from train.records.stream_buffer import Lot, Run
from train.runtime.environment import Channel

Framing = Callable[[Stream], Iterator[Run | Lot]]
Block = tuple[np.ndarray, bool, np.ndarray]  # (n,) records as bytes, whether the pass goes on, (m,) uint8 failure text

_AHEAD_BYTES = 2 << 20  # read ahead of what was asked for, and the most in one block but for a last run
_WAIT_SECONDS = 0.3  # for a record; then an empty block, so that TensorFlow can see whether the iterator is cancelled
_ALIGNMENT = 64  # bytes: TensorFlow copies what is aligned to less


class Pass:
    """The records of a channel's next FIFO."""

    def __init__(self, channel: Channel, state: PipeState, framing: Framing) -> None:
        self._channel, self._state, self._framing = channel, state, framing
        self._index = state.take()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._records: list[bytes] = []  # read and not yet asked for
        self._bytes = 0
        self._ended = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._read, name="pipe mode", daemon=True)
        self._thread.start()

    def take(self) -> tuple[list[bytes], bool]:
        """The records that are there, none after a while without; whether there may be more. Raises what went wrong."""
        with self._changed:
            if not self._records and not self._ended:
                self._changed.wait(_WAIT_SECONDS)
            records, self._records, self._bytes = self._records, [], 0
            self._changed.notify()
            if records or not self._ended:
                return records, True
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return [], False

    def close(self) -> None:
        """Close the FIFO, wherever the reading is."""
        self._stop.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()

    def _read(self) -> None:
        failure = None
        try:
            with closing(self._streams()) as streams:
                for stream in streams:
                    with closing(self._framing(stream)) as arriving:  # before the stream is: its thread reads from it
                        for found in arriving:
                            self._put(found)
        except StopRequested:
            pass
        except Exception as error:  # whatever it is, the one who iterates is to meet it
            failure = error
        with self._changed:
            self._ended, self._failure = True, failure
            self._changed.notify()

    def _streams(self) -> Iterator[Stream]:
        path = self._channel.data / f"{self._channel.name}_{self._index}"
        if path.is_file():  # as the official reader took it: handy for trying a script
            with closing(FileStream(path, f"file {path.name}")) as stream:
                yield stream
            return
        source = FifoSource(self._channel, stop=self._stop)
        source.opened = self._index
        try:
            yield from source.streams()
        finally:
            if source.opened == self._index:  # it never came
                self._state.give_back(self._index)

    def _put(self, found: Run | Lot) -> None:
        records = found.contents()
        with self._changed:
            while self._bytes > _AHEAD_BYTES and not self._stop.is_set():
                self._changed.wait()
            if self._stop.is_set():
                raise StopRequested
            self._records += records
            self._bytes += sum(map(len, records)) + 64 * len(records)  # what Python takes for a record besides its data
            self._changed.notify()


class Passes:
    """The passes of one dataset's iterators."""

    def __init__(self, channel: Channel, state: PipeState, framing: Framing, benchmark: bool, interval: int) -> None:
        self._channel, self._state, self._framing = channel, state, framing
        self._benchmark, self._interval = benchmark, interval
        self._numbers = itertools.count()
        self._open: dict[int, tuple[Pass, Meter]] = {}

    def open(self) -> np.ndarray:
        """Begin a pass over the next FIFO: its number, (1,) int64. The pass ends when the array is gone."""
        memory = np.empty(_ALIGNMENT + 8, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        handle = memory[start : start + 8].view(np.int64)
        handle[0] = number = next(self._numbers)
        reader = Pass(self._channel, self._state, self._framing)
        self._open[number] = reader, Meter(self._benchmark, self._interval)
        weakref.finalize(memory, self._close, number)
        return handle

    def read(self, handle: np.ndarray) -> Block:
        """The next records of a pass. What is wrong with the data is a value, what is wrong with the code is raised."""
        reader, meter = self._open[int(handle[0])]
        began = time.perf_counter_ns()
        try:
            records, more = reader.take()
        except DataError as error:
            return np.array([], object), True, np.frombuffer(str(error).encode(), np.uint8)
        meter.count(records, time.perf_counter_ns() - began)
        block = np.empty(len(records), object)
        block[:] = records
        return block, more, np.array([], np.uint8)

    def _close(self, number: int) -> None:
        reader, meter = self._open.pop(number)
        reader.close()
        meter.close()


class Meter:
    """The official reader's benchmark output, on stdout."""

    _NAME = "PipeModeDatasetOp::Dataset::Iterator"

    def __init__(self, totals: bool, interval: int) -> None:
        self._totals, self._interval = totals, interval
        self._records = self._bytes = self._nanoseconds = 0

    def count(self, records: list[bytes], nanoseconds: int) -> None:
        """`records` came after a wait of so long; those whose number is a multiple of the interval are reported."""
        self._nanoseconds += nanoseconds
        if self._interval:
            first = self._interval - self._records % self._interval - 1
            for place in range(first, len(records), self._interval):
                self._say(f"records: {self._records + place + 1}")
                self._say(f"records read_time_ns: {nanoseconds // len(records)}")
                self._say(f"records read_bytes: {len(records[place])}")
        self._records += len(records)
        self._bytes += sum(map(len, records))

    def close(self) -> None:
        """The iterator is gone."""
        if self._totals:
            milliseconds = self._nanoseconds // 1_000_000
            rate = self._bytes / 1024**3 / (milliseconds / 1000) if milliseconds else float("inf")
            self._say(f"total read_time_ms: {milliseconds}")
            self._say(f"total read_bytes: {self._bytes}")
            self._say(f"total read_GB/s: {rate:g}")

    def _say(self, what: str) -> None:
        sys.stdout.write(f"{self._NAME} {what}\n")
        sys.stdout.flush()


def moved(path: str | Path, root: str | None) -> Path:
    """A path below /opt/ml where that is elsewhere: below `root`, which is SAGEMAKER_BASE_DIR's value."""
    opt_ml = Path("/opt/ml")
    return Path(root) / Path(path).relative_to(opt_ml) if root and Path(path).is_relative_to(opt_ml) else Path(path)
