"""Framing: a stream of bytes → checked records, many at a time.

A TFRecord file is a row of `u64 length | u32 masked crc32c(length) | data | u32 masked crc32c(data)`, little endian.
Records of equal length that follow each other (all of them, for raw pictures) come out as one matrix, a view of the
read buffer; a lone record is a matrix of one row. So there is one path, whatever the lengths are.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c
import numpy as np

from train.errors import DataError
from train.fifo import Stream

BLOCK_BYTES = 1 << 20  # as much as a pipe holds
MAX_RECORD_BYTES = 1 << 30  # a longer one is taken for damage: it would have to fit in memory
_HEAD = 12  # length and its CRC
_FRAME = 16  # what a record takes besides its data
_MASK_DELTA = np.uint32(0xA282EAD8)
_RECORDIO_MAGIC = b"\x0a\x23\xd7\xce"
GZIP_MAGIC = b"\x1f\x8b"
_log = logging.getLogger(__name__)


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


def place(stream: str, number: int, offset: int) -> str:
    """A record's place as messages name it."""
    return f"{stream}, record {number} at byte {offset}"


def masked_crc32c(crc: np.ndarray) -> np.ndarray:
    """TFRecord's mask of CRC-32C values, uint32 → uint32."""
    crc = crc.astype(np.uint32)
    return (crc >> np.uint32(15) | crc << np.uint32(17)) + _MASK_DELTA


def _masked(crc: int) -> int:
    """The same for one value: a twentieth of the time, and records of differing lengths come one by one."""
    return (((crc >> 15) | (crc << 17)) + int(_MASK_DELTA)) & 0xFFFFFFFF


def tfrecords(stream: Stream, check_data: bool = True, skip: int = 0) -> Iterator[Run]:
    """The records of `stream` in order. Length CRCs are always checked, data CRCs unless `check_data` is false.

    Up to `skip` records in sequence are left out, with a warning each, where their data's CRC is wrong.
    DataError, naming stream, record and byte, for anything else that is not whole TFRecord.
    """
    reader = _TFRecordReader(stream, check_data, skip)
    while reader.fill():
        while (run := reader.run()) is not None:
            if len(run.rows):
                yield run
    reader.finish()


class _TFRecordReader:
    """A buffer that slides over the stream; records are views of it."""

    def __init__(self, stream: Stream, check_data: bool, skip: int) -> None:
        self._stream, self._check_data, self._skip = stream, check_data, skip
        self._skipped = 0  # in sequence, just before the record at _start
        self._buffer = np.empty(BLOCK_BYTES, np.uint8)
        self._start = self._end = 0  # what has been read and not yet handed out
        self._offset = 0  # of _start in the stream
        self._number = 0  # of the record at _start
        self._wanted = 1  # bytes that the record at _start needs to be whole
        self._stretch = 1  # how many records are compared at once: grows while they are of one length

    def fill(self) -> bool:
        """Read until the record at the start is whole; False at the stream's end."""
        self._make_room()
        target = self._wanted
        view = memoryview(self._buffer)
        while self._end < target:
            count = self._stream.readinto(view[self._end :])
            if not count:
                return False
            self._end += count
        return True

    def _make_room(self) -> None:
        kept = self._buffer[self._start : self._end]
        if self._wanted > self._buffer.size:
            self._buffer = np.empty(self._wanted + BLOCK_BYTES, np.uint8)
        self._buffer[: kept.size] = kept  # numpy copies overlapping ranges correctly
        self._start, self._end = 0, kept.size

    def run(self) -> Run | None:
        """The next records, or None when more bytes are needed."""
        available = self._end - self._start
        if available < _HEAD:
            self._wanted = _HEAD
            return None
        length = self._length()
        stride = length + _FRAME
        if available < stride:
            self._wanted = stride
            return None
        frames = self._alike(stride, available // stride)
        if self._check_data:
            frames = self._sound(frames)
        run = Run(frames[:, _HEAD:-4], self._number, self._offset, stride, self._stream.name)
        self._pass(max(len(frames), 1), stride)
        return run

    def _pass(self, records: int, stride: int) -> None:
        self._start += records * stride
        self._offset += records * stride
        self._number += records
        self._wanted = self._end - self._start + 1

    def _length(self) -> int:
        head = self._buffer[self._start : self._start + _HEAD].tobytes()
        if _masked(google_crc32c.value(head[:8])) != int.from_bytes(head[8:], "little"):
            raise self._not_a_head(head)
        length = int.from_bytes(head[:8], "little")
        if length > MAX_RECORD_BYTES:
            raise self._error(f"is {length} bytes long. Expected: at most {MAX_RECORD_BYTES}.")
        return length

    def _alike(self, stride: int, most: int) -> np.ndarray:
        """The frames (n, stride) from the start on whose length field equals the first's, n ≥ 1."""
        count = min(most, self._stretch)
        frames = self._buffer[self._start : self._start + count * stride].reshape(count, stride)
        if count == 1:
            self._stretch = 4
            return frames
        differ = np.flatnonzero((frames[:, :_HEAD] != frames[0, :_HEAD]).any(axis=1))
        self._stretch = 1 if differ.size else min(self._stretch * 4, 1 << 20)
        return frames[: differ[0]] if differ.size else frames

    def _sound(self, frames: np.ndarray) -> np.ndarray:
        """The frames before the first whose data is damaged; none where that is the first one and may be skipped."""
        if len(frames) == 1 and self._intact(frames[0]):
            self._skipped = 0
            return frames
        data = frames[:, _HEAD:-4]
        computed = masked_crc32c(np.fromiter(map(google_crc32c.value, data), np.uint32, len(data)))
        stored = np.ascontiguousarray(frames[:, -4:]).view("<u4").ravel()
        wrong = np.flatnonzero(computed != stored)
        if not wrong.size or (wrong[0] and self._skip):
            self._skipped = 0
            return frames[: wrong[0]] if wrong.size else frames
        row = int(wrong[0])
        what = (
            f"{place(self._stream.name, self._number + row, self._offset + row * frames.shape[1])}: the data's CRC is "
            f"wrong. Received: {computed[row]:08x}. Expected: {stored[row]:08x}."
        )
        if self._skipped == self._skip:
            raise DataError(f"{what} The record is damaged; write the shard again.")
        self._skipped += 1
        _log.warning("%s Skipped, %d of at most %d in sequence.", what, self._skipped, self._skip)
        return frames[:0]

    @staticmethod
    def _intact(frame: np.ndarray) -> bool:
        return _masked(google_crc32c.value(frame[_HEAD:-4])) == int.from_bytes(frame[-4:].tobytes(), "little")

    def finish(self) -> None:
        """Whether the stream ended where a record did."""
        left = self._end - self._start
        if left:
            head = self._buffer[self._start : self._start + 2].tobytes()
            if self._number == 0 and left < _HEAD:
                raise self._not_a_head(head)
            expected = f"{self._wanted} bytes" if self._wanted > _HEAD else "a record's head of 12 bytes"
            raise self._error(f"is truncated. Received: {left} bytes. Expected: {expected}.")

    def _not_a_head(self, head: bytes) -> DataError:
        if head.startswith(GZIP_MAGIC):
            return self._error(
                "is gzip-compressed (1f 8b). Expected: plain TFRecord. Set CompressionType Gzip on the channel in Pipe "
                "mode, or store the shards uncompressed."
            )
        if head.startswith(_RECORDIO_MAGIC):
            return self._error("is RecordIO. Expected: TFRecord. Set RecordWrapperType None on the channel.")
        if self._number == 0:
            return self._error(f"is not TFRecord. Received: {head.hex(' ')}. Expected: a length and its CRC.")
        return self._error(f"has a wrong length CRC. Received: {head.hex(' ')}. The shard is damaged; write it again.")

    def _error(self, what: str) -> DataError:
        return DataError(f"{place(self._stream.name, self._number, self._offset)} {what}")
