"""A buffer that slides over a stream: what has been read and not yet handed out, and where in the stream that is."""

import numpy as np

from train.errors import DataError
from train.fifo import Stream
from train.records import BLOCK_BYTES, GZIP_MAGIC, MAX_RECORD_BYTES, Run, place


class Window:
    """The bytes of `stream` from the record that comes next."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = np.empty(BLOCK_BYTES, np.uint8)
        self._start = self._end = 0
        self.offset = 0  # of the window's first byte in the stream
        self.number = 0  # of the record that starts there
        self.ended = False

    @property
    def view(self) -> np.ndarray:
        """(n,) uint8: all that is there, valid until the next `fill`."""
        return self._buffer[self._start : self._end]

    def fill(self, wanted: int) -> bool:
        """Read until `wanted` bytes are there; False if the stream ends before."""
        if self._end - self._start >= wanted:
            return True
        self._make_room(wanted)
        into = memoryview(self._buffer)
        while self._end < wanted and not self.ended:
            count = self._stream.readinto(into[self._end :])
            self._end += count
            self.ended = not count
        return self._end >= wanted

    def _make_room(self, wanted: int) -> None:
        kept = self.view
        if wanted > self._buffer.size:
            self._buffer = np.empty(wanted + BLOCK_BYTES, np.uint8)
        self._buffer[: kept.size] = kept  # numpy copies overlapping ranges correctly
        self._start, self._end = 0, kept.size

    def rows(self, frames: np.ndarray, start: int, end: int) -> Run:
        """The run of `frames` (n, stride), which begin the window; each record is the frame's bytes start to end."""
        return Run(frames[:, start:end], self.number, self.offset, frames.shape[1], self._stream.name)

    def record(self, data: bytes | bytearray, number: int, offset: int) -> Run:
        """A run of one record that lies nowhere in one piece."""
        row = np.frombuffer(bytes(data), np.uint8)[None]
        return Run(row, number, offset, 0, self._stream.name)

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
        return DataError(f"{place(self._stream.name, self.number, self.offset)} {what}")
