"""Framing: a stream of bytes → checked records, many at a time.

A TFRecord file is a row of `u64 length | u32 masked crc32c(length) | data | u32 masked crc32c(data)`, little endian.
Records of equal length that follow each other (all of them, for raw pictures) come out as one matrix, a view of the
read buffer; a lone record is a matrix of one row. So there is one path, whatever the lengths are.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Literal

import google_crc32c
import numpy as np

from train.errors import DataError
from train.records import native
from train.records.channels import Stream
from train.records.stream_buffer import GZIP_MAGIC, MAX_RECORD_BYTES, Lot, Run, Window, lot
from train.records.tfrecord_format import HEAD, TAIL, masked, masked_crc32c

_HEAD, _FRAME = HEAD, HEAD + TAIL
_RECORDIO_MAGIC = b"\x0a\x23\xd7\xce"
Crc = Literal["full", "header", "off"]
_LOT = 64  # records that leave together at most
_SHORT = 8  # records
_log = logging.getLogger(__name__)


def tfrecords(stream: Stream, crc: Crc = "full", skip: int = 0) -> Iterator[Run]:
    """The records of `stream` in order. `crc`: "full" checks the CRCs of lengths and data, "header" lengths' alone.

    Up to `skip` records in sequence are left out, with a warning each, where their data's CRC is wrong.
    DataError, naming stream, record and byte, for anything else that is not whole TFRecord.
    """
    with closing(Window(stream)) as window:
        reader = _TFRecordReader(window, crc, skip)
        while (run := reader.run()) is not None:
            if len(run.rows):
                yield run


def differing(run: Run) -> bool:
    """Whether a run is too short to be quicker than a lot."""
    return len(run.rows) < _SHORT


def tfrecords_or_lots(
    stream: Stream,
    crc: Crc = "full",
    in_lots: Callable[[Run], bool] = differing,
) -> Iterator[Run | Lot]:
    """The same records; as lots from the first run on for which `in_lots` is true: quicker where lengths differ."""
    with closing(Window(stream)) as window:
        reader, lots = _TFRecordReader(window, crc, 0), False
        while (found := (reader.lot() if lots else None) or reader.run()) is not None:
            lots = lots or (isinstance(found, Run) and in_lots(found))
            yield lot(found) if lots and isinstance(found, Run) else found


class _TFRecordReader:
    """Records are views of the window."""

    def __init__(self, window: Window, crc: Crc, skip: int) -> None:
        self._window, self._crc, self._skip = window, crc, skip
        self._skipped = 0  # in sequence, just before the record at the window's start
        self._stretch = 1  # how many records are compared at once: grows while they are of one length

    def run(self) -> Run | None:
        """The next records, None at the stream's end; none of them where one is skipped."""
        window = self._window
        if not window.fill(_HEAD):
            return self._end()
        stride = self._length() + _FRAME
        if not window.fill(stride):
            raise self._cut(f"{stride} bytes")
        frames = self._frames(stride, window.view.size // stride)
        run = window.rows(frames, _HEAD, stride - 4)
        records = max(len(frames), 1)
        window.drop(records * stride, records)
        return run

    def lot(self) -> Lot | None:
        """The records that are whole in the window, None where more bytes are needed or something is wrong."""
        window, check = self._window, ("off", "header", "full").index(self._crc)
        starts, lengths = native.frames(window.view, check, MAX_RECORD_BYTES, _LOT)
        if not starts:
            return None
        view = memoryview(window.view)
        records = [bytes(view[start : start + length]) for start, length in zip(starts, lengths, strict=True)]
        found = Lot(records, window.number, [window.offset + start - _HEAD for start in starts], window.name)
        window.drop(starts[-1] + lengths[-1] + 4, len(starts))
        return found

    def _end(self) -> None:
        """Whether the stream ended where a record did."""
        left = self._window.view
        if left.size:
            if self._window.number == 0:
                raise self._not_a_head(left[:2].tobytes())
            raise self._cut(f"a record's head of {_HEAD} bytes")

    def _cut(self, expected: str) -> DataError:
        return self._window.error(f"is truncated. Received: {self._window.view.size} bytes. Expected: {expected}.")

    def _length(self) -> int:
        head = self._window.view[:_HEAD].tobytes()
        if self._crc != "off" and masked(google_crc32c.value(head[:8])) != int.from_bytes(head[8:], "little"):
            raise self._not_a_head(head)
        length = int.from_bytes(head[:8], "little")
        self._window.bounded(length)
        return length

    def _frames(self, stride: int, most: int) -> np.ndarray:
        """The sound frames (n, stride) from the start on, alike in their heads; none where the first may be skipped."""
        frames = self._window.view[: most * stride].reshape(most, stride)
        count = native.sound(frames, self._crc == "full")
        if count:
            self._skipped = 0
            return frames[:count]
        frames = frames[:1] if count == 0 else self._alike(stride, most)
        return self._sound(frames) if self._crc == "full" else frames

    def _alike(self, stride: int, most: int) -> np.ndarray:
        """The frames (n, stride) from the start on whose length field equals the first's, n ≥ 1."""
        count = min(most, self._stretch)
        frames = self._window.view[: count * stride].reshape(count, stride)
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
            f"{self._window.rows(frames, 0, 0).where(row)}: the data's CRC is "
            f"wrong. Received: {computed[row]:08x}. Expected: {stored[row]:08x}."
        )
        if self._skipped == self._skip:
            raise DataError(f"{what} The record is damaged; write the shard again.")
        self._skipped += 1
        _log.warning("%s Skipped, %d of at most %d in sequence.", what, self._skipped, self._skip)
        return frames[:0]

    @staticmethod
    def _intact(frame: np.ndarray) -> bool:
        return masked(google_crc32c.value(frame[_HEAD:-4])) == int.from_bytes(frame[-4:].tobytes(), "little")

    def _not_a_head(self, head: bytes) -> DataError:
        if head.startswith(GZIP_MAGIC):
            return self._window.error(
                "is gzip-compressed (1f 8b). Expected: plain TFRecord. Set CompressionType Gzip on the channel in Pipe "
                "mode, or store the shards uncompressed."
            )
        if head.startswith(_RECORDIO_MAGIC):
            return self._window.error("is RecordIO. Expected: TFRecord. Set RecordWrapperType None on the channel.")
        if self._window.number == 0:
            return self._window.error(f"is not TFRecord. Received: {head.hex(' ')}. Expected: a length and its CRC.")
        return self._window.error(
            f"has a wrong length CRC. Received: {head.hex(' ')}. The shard is damaged; write it again."
        )
