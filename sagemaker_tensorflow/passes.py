"""One pass over a channel for each iterator: a thread prefetches from the FIFO, the iterator takes blocks of records.

TensorFlow knows a pass by a number in a tensor. The tensor shares its memory with a NumPy array: when the iterator is
deleted, TensorFlow frees the tensor and with it the array, and that closes the FIFO.
"""

import itertools
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import numpy as np

from sagemaker_tensorflow.state import PipeState
from train.errors import DataError, StopRequested
from train.records.channels import FifoSource, FileStream, Stream
from train.records.stream_buffer import RecordBlock, RecordList
from train.runtime.environment import Channel

RecordReader = Callable[[Stream], Generator[RecordBlock | RecordList]]
Block = tuple[np.ndarray, bool, np.ndarray]  # (n,) records as bytes, whether the pass goes on, (m,) uint8 failure text

_PREFETCH_BYTES = 2 << 20  # read in advance; also the limit of a block, except for its last records
_WAIT_SECONDS = 0.3  # wait for a record; then return an empty block, so that TensorFlow can check for cancellation
_ALIGNMENT = 64  # bytes: TensorFlow copies arrays with less


class Pass:
    """The records of a channel's next FIFO. The FIFO is this iterator's own from the beginning, and opened when the
    first record is asked for: Dataset.repeat makes an iterator more than it reads."""

    def __init__(self, channel: Channel, state: PipeState, read_stream: RecordReader) -> None:
        self._channel, self._state, self._read_stream = channel, state, read_stream
        self._index = state.take()
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._records: list[bytes] = []  # read and not taken yet
        self._bytes = 0
        self._ended = False
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    def _start(self) -> None:
        self._index = self._state.first_unread(self._index)
        self._thread = threading.Thread(target=self._read, name="pipe mode", daemon=True)
        self._thread.start()

    def take(self) -> tuple[list[bytes], bool]:
        """The records read so far, none after a while without; whether there may be more. Raises the pass's error."""
        if not self._thread:
            self._start()
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
        """Stop reading and close the FIFO."""
        if not self._thread:
            self._state.give_back(self._index)
            return
        self._stop.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()

    def _read(self) -> None:
        failure = None
        try:
            with closing(self._streams()) as streams:
                for stream in streams:
                    with closing(self._read_stream(stream)) as blocks:  # before the stream, which its thread reads
                        for block in blocks:
                            self._put(block)
        except StopRequested:
            pass
        except Exception as error:  # any: raised in the iterator's thread
            failure = error
        with self._changed:
            self._ended, self._failure = True, failure
            self._changed.notify()

    def _streams(self) -> Generator[Stream]:
        path = self._channel.data / f"{self._channel.name}_{self._index}"
        if path.is_file():  # as in the official reader: handy to try a script
            with closing(FileStream(path, f"file {path.name}")) as stream:
                yield stream
            return
        source = FifoSource(self._channel, stop=self._stop)
        source.next_index = self._index
        try:
            yield from source.streams()
        finally:
            if source.next_index == self._index:  # the FIFO did not appear
                self._state.give_back(self._index)

    def _put(self, block: RecordBlock | RecordList) -> None:
        records = block.contents()
        with self._changed:
            while self._bytes > _PREFETCH_BYTES and not self._stop.is_set():
                self._changed.wait()
            if self._stop.is_set():
                raise StopRequested
            self._records += records
            self._bytes += sum(map(len, records)) + 64 * len(records)  # what Python takes for a record besides its data
            self._changed.notify()


class Passes:
    """The passes of one dataset's iterators."""

    def __init__(
        self, channel: Channel, state: PipeState, read_stream: RecordReader, benchmark: bool, interval: int
    ) -> None:
        self._channel, self._state, self._read_stream = channel, state, read_stream
        self._benchmark, self._interval = benchmark, interval
        self._numbers = itertools.count()
        self._open: dict[int, tuple[Pass, Meter]] = {}

    def open(self) -> np.ndarray:
        """Begin a pass over the next FIFO: its number, (1,) int64. The pass ends when the array is deleted."""
        memory = np.empty(_ALIGNMENT + 8, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        handle = memory[start : start + 8].view(np.int64)
        handle[0] = number = next(self._numbers)
        reader = Pass(self._channel, self._state, self._read_stream)
        self._open[number] = reader, Meter(self._benchmark, self._interval)
        weakref.finalize(memory, self._close, number)
        return handle

    def read(self, handle: np.ndarray) -> Block:
        """The next records of a pass. Errors in the data are returned as text, errors in the code are raised."""
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
        """`records` arrived after a wait; prints those whose number is a multiple of the interval."""
        self._nanoseconds += nanoseconds
        if self._interval:
            first = self._interval - self._records % self._interval - 1
            for place in range(first, len(records), self._interval):
                self._print(f"records: {self._records + place + 1}")
                self._print(f"records read_time_ns: {nanoseconds // len(records)}")
                self._print(f"records read_bytes: {len(records[place])}")
        self._records += len(records)
        self._bytes += sum(map(len, records))

    def close(self) -> None:
        """Print the totals: the iterator was deleted."""
        if self._totals:
            milliseconds = self._nanoseconds // 1_000_000
            rate = self._bytes / 1024**3 / (milliseconds / 1000) if milliseconds else float("inf")
            self._print(f"total read_time_ms: {milliseconds}")
            self._print(f"total read_bytes: {self._bytes}")
            self._print(f"total read_GB/s: {rate:g}")

    def _print(self, what: str) -> None:
        sys.stdout.write(f"{self._NAME} {what}\n")
        sys.stdout.flush()


def replace_root(path: str | Path, root: str | None) -> Path:
    """The path with `root`, SAGEMAKER_BASE_DIR's value, in place of /opt/ml."""
    opt_ml = Path("/opt/ml")
    return Path(root) / Path(path).relative_to(opt_ml) if root and Path(path).is_relative_to(opt_ml) else Path(path)
