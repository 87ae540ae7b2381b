"""A buffer over a stream: the bytes that were read and not yet consumed, and where in the stream they are."""

from dataclasses import dataclass

import numpy as np

from train.errors import DataError
from train.records.channels import Stream
from train.records.prefetch import BLOCK_BYTES, HEADROOM, read_blocks

MAX_RECORD_BYTES = 1 << 30  # a longer record is treated as damaged: it would have to fit in memory
GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class RecordList:
    """Consecutive records of any lengths, at least one, each as its own bytes object."""

    records: list[bytes]
    first: int  # number of the first record in its stream, from 0
    offsets: list[int]  # byte offset of each record's frame in its stream
    stream: str  # the stream's name, for messages

    def location(self, index: int) -> str:
        """As RecordBlock's."""
        return format_location(self.stream, self.first + index, self.offsets[index])

    def contents(self) -> list[bytes]:
        """As RecordBlock's."""
        return self.records


@dataclass(frozen=True)
class RecordBlock:
    """Consecutive records of one length. `rows` (n, length) uint8 is valid until the next block is read."""

    rows: np.ndarray
    first: int  # number of the first record in its stream, from 0
    offset: int  # byte offset of the first record's frame in its stream
    stride: int  # bytes from one record's frame to the next
    stream: str  # the stream's name, for messages

    def location(self, row: int) -> str:
        """`channel train, FIFO train_0, record 7 at byte 21882`."""
        return format_location(self.stream, self.first + row, self.offset + row * self.stride)

    def contents(self) -> list[bytes]:
        """The records, each as its own bytes object."""
        data, size = self.rows.tobytes(), self.rows.shape[1]
        if not size:
            return [b""] * len(self.rows)
        return [data[start : start + size] for start in range(0, len(data), size)]

    def to_list(self) -> RecordList:
        """The same records as a list."""
        offsets = [self.offset + row * self.stride for row in range(len(self.rows))]
        return RecordList(self.contents(), self.first, offsets, self.stream)


def format_location(stream: str, number: int, offset: int) -> str:
    """Where a record is, as messages say it."""
    return f"{stream}, record {number} at byte {offset}"


class StreamBuffer:
    """The bytes of `stream` from the next record on. Close it before the stream."""

    def __init__(self, stream: Stream) -> None:
        self.name = stream.name
        self._blocks = read_blocks(stream)
        self._buffer, self._owned = np.empty(0, np.uint8), False  # owned: not one of the blocks
        self._start = self._end = 0
        self._compare = 1  # frames to compare at once: grows while records have one length
        self.offset = 0  # of the buffer's first byte in the stream
        self.number = 0  # of the record that starts there
        self.ended = False

    def close(self) -> None:
        self._blocks.close()

    @property
    def view(self) -> np.ndarray:
        """(n,) uint8: all bytes in the buffer, valid until the next `fill`."""
        return self._buffer[self._start : self._end]

    def fill(self, wanted: int) -> bool:
        """Read until the buffer holds `wanted` bytes; False if the stream ends before."""
        if self._end - self._start >= wanted:
            return True
        if wanted > HEADROOM:
            return self._fill_large(wanted)
        while self._end - self._start < wanted and not self.ended:
            memory, count = self._blocks.next()
            left = self.view
            start = HEADROOM - left.size
            memory[start:HEADROOM] = left
            self._buffer, self._start, self._end, self._owned = memory, start, HEADROOM + count, False
            self.ended = not count
        return self._end - self._start >= wanted

    def _fill_large(self, wanted: int) -> bool:
        """`fill` for a record that is longer than a block: copies blocks into own memory, which grows as needed."""
        size = self._end - self._start
        if self._start + wanted + BLOCK_BYTES > self._buffer.size or not self._owned:
            memory = np.empty(max(wanted, 2 * size) + BLOCK_BYTES, np.uint8)
            memory[:size] = self.view
            self._buffer, self._start, self._end, self._owned = memory, 0, size, True
        while self._end - self._start < wanted and not self.ended:
            block, count = self._blocks.next()
            self._buffer[self._end : self._end + count] = block[HEADROOM : HEADROOM + count]
            self._end += count
            self.ended = not count
        return self._end - self._start >= wanted

    def matching_frames(self, stride: int, head: int) -> np.ndarray:
        """The frames (n, stride) at the buffer's start whose first `head` bytes equal the first frame's, n ≥ 1."""
        count = min(self.view.size // stride, self._compare)
        frames = self.view[: count * stride].reshape(count, stride)
        if count == 1:
            self._compare = 4
            return frames
        differ = np.flatnonzero((frames[:, :head] != frames[0, :head]).any(axis=1))
        self._compare = 1 if differ.size else min(self._compare * 4, 1 << 20)
        return frames[: differ[0]] if differ.size else frames

    def block(self, frames: np.ndarray, start: int, end: int) -> RecordBlock:
        """The records in `frames` (n, stride), which begin the buffer; each is its frame's bytes start to end."""
        return RecordBlock(frames[:, start:end], self.number, self.offset, frames.shape[1], self.name)

    def single_record(self, data: bytes | bytearray, number: int, offset: int) -> RecordBlock:
        """A block of one record that is not in one piece in the stream."""
        row = np.frombuffer(bytes(data), np.uint8)[None]
        return RecordBlock(row, number, offset, 0, self.name)

    def consume(self, count: int, records: int) -> None:
        """Drop the first `count` bytes, which held `records` records."""
        self._start += count
        self.offset += count
        self.number += records

    def check_length(self, length: int) -> None:
        """DataError if a record of `length` bytes is over the limit."""
        if length > MAX_RECORD_BYTES:
            raise self.error(f"is {length} bytes long. Expected: at most {MAX_RECORD_BYTES}.")

    def refuse_gzip(self, expected: str) -> None:
        """DataError if the buffer begins like a gzip file."""
        if self.view[:2].tobytes() == GZIP_MAGIC:
            raise self.error(
                f"is gzip-compressed (1f 8b). Expected: plain {expected}. Set CompressionType Gzip on the channel in "
                "Pipe mode, or store the objects uncompressed."
            )

    def error(self, what: str) -> DataError:
        """An error about the record at the buffer's start."""
        return DataError(f"{format_location(self.name, self.number, self.offset)} {what}")
