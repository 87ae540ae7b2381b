"""A window that slides over a stream: what has been read and not yet handed out, and where in the stream that is."""

from dataclasses import dataclass

import numpy as np

from train.errors import DataError
from train.records.channels import Stream
from train.records.prefetch import BLOCK_BYTES, HEADROOM, blocks

MAX_RECORD_BYTES = 1 << 30  # a longer one is taken for damage: it would have to fit in memory
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class Run:
    """Consecutive records of one length. `rows` (n, length) uint8 is valid until the next run is asked for."""

    rows: np.ndarray
    first: int  # number of the first record in its stream, from 0
    offset: int  # byte offset of the first record's frame in its stream
    stride: int  # bytes from one record's frame to the next
    stream: str  # the stream's name, for messages

    def where(self, row: int) -> str:
        """`channel train, FIFO train_0, record 7 at byte 21882`."""
        return place(self.stream, self.first + row, self.offset + row * self.stride)

    def contents(self) -> list[bytes]:
        """The records as bytes of their own."""
        data, size = self.rows.tobytes(), self.rows.shape[1]
        if not size:
            return [b""] * len(self.rows)
        return [data[start : start + size] for start in range(0, len(data), size)]


@dataclass(frozen=True)
class Lot:
    """Consecutive records of any lengths, at least one, as bytes of their own."""

    records: list[bytes]
    first: int  # number of the first record in its stream, from 0
    offsets: list[int]  # byte offset of each record's frame in its stream
    stream: str

    def where(self, index: int) -> str:
        """As Run's."""
        return place(self.stream, self.first + index, self.offsets[index])

    def contents(self) -> list[bytes]:
        """As Run's."""
        return self.records


def lot(run: Run) -> Lot:
    """A run's records."""
    offsets = [run.offset + row * run.stride for row in range(len(run.rows))]
    return Lot(run.contents(), run.first, offsets, run.stream)


def place(stream: str, number: int, offset: int) -> str:
    """A record's place as messages name it."""
    return f"{stream}, record {number} at byte {offset}"


class Window:
    """The bytes of `stream` from the record that comes next. To be closed before the stream is."""

    def __init__(self, stream: Stream) -> None:
        self.name = stream.name
        self._blocks = blocks(stream)
        self._buffer, self._own = np.empty(0, np.uint8), False  # own: not one of the blocks
        self._start = self._end = 0
        self.offset = 0  # of the window's first byte in the stream
        self.number = 0  # of the record that starts there
        self.ended = False

    def close(self) -> None:
        self._blocks.close()

    @property
    def view(self) -> np.ndarray:
        """(n,) uint8: all that is there, valid until the next `fill`."""
        return self._buffer[self._start : self._end]

    def fill(self, wanted: int) -> bool:
        """Read until `wanted` bytes are there; False if the stream ends before."""
        if self._end - self._start >= wanted:
            return True
        if wanted > HEADROOM:
            return self._gather(wanted)
        while self._end - self._start < wanted and not self.ended:
            memory, count = self._blocks.next()
            left = self.view
            start = HEADROOM - left.size
            memory[start:HEADROOM] = left
            self._buffer, self._start, self._end, self._own = memory, start, HEADROOM + count, False
            self.ended = not count
        return self._end - self._start >= wanted

    def _gather(self, wanted: int) -> bool:
        """The same for a record that is longer than a block: into memory of its own, which grows with it."""
        size = self._end - self._start
        if self._start + wanted + BLOCK_BYTES > self._buffer.size or not self._own:
            memory = np.empty(max(wanted, 2 * size) + BLOCK_BYTES, np.uint8)
            memory[:size] = self.view
            self._buffer, self._start, self._end, self._own = memory, 0, size, True
        while self._end - self._start < wanted and not self.ended:
            block, count = self._blocks.next()
            self._buffer[self._end : self._end + count] = block[HEADROOM : HEADROOM + count]
            self._end += count
            self.ended = not count
        return self._end - self._start >= wanted

    def rows(self, frames: np.ndarray, start: int, end: int) -> Run:
        """The run of `frames` (n, stride), which begin the window; each record is the frame's bytes start to end."""
        return Run(frames[:, start:end], self.number, self.offset, frames.shape[1], self.name)

    def record(self, data: bytes | bytearray, number: int, offset: int) -> Run:
        """A run of one record that lies nowhere in one piece."""
        row = np.frombuffer(bytes(data), np.uint8)[None]
        return Run(row, number, offset, 0, self.name)

    def drop(self, count: int, records: int) -> None:
        """Pass over the first `count` bytes, which held `records` records."""
        self._start += count
        self.offset += count
        self.number += records

    def bounded(self, length: int) -> None:
        """DataError if a record of `length` bytes is too long to be one."""
        if length > MAX_RECORD_BYTES:
            raise self.error(f"is {length} bytes long. Expected: at most {MAX_RECORD_BYTES}.")

    def refuse_gzip(self, expected: str) -> None:
        """DataError if the window begins as gzip does."""
        if self.view[:2].tobytes() == GZIP_MAGIC:
            raise self.error(
                f"is gzip-compressed (1f 8b). Expected: plain {expected}. Set CompressionType Gzip on the channel in "
                "Pipe mode, or store the objects uncompressed."
            )

    def error(self, what: str) -> DataError:
        """About the record at the window's start."""
        return DataError(f"{place(self.name, self.number, self.offset)} {what}")
