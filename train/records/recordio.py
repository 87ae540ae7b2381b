"""RecordIO: a stream of bytes → checked records.

A record is `u32 magic | u32 (flag << 29) | length | data | zeros up to a multiple of 4`, little endian. A flag of 0
marks a whole record, 1, 2 and 3 the first, a middle and the last part of one. In the original format (dmlc-core) a
record is split where its data holds the magic at a multiple of 4: the writer drops those four bytes, the reader puts
them back. Other writers split without dropping anything. The bytes don't tell which, so the reader is told.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Literal

import numpy as np

from train.errors import DataError
from train.records.channels import Stream
from train.records.stream_buffer import Run, Window

Splits = Literal["dmlc", "plain"]  # the magic is put back between parts; parts are joined as they are

MAGIC = b"\x0a\x23\xd7\xce"
_HEAD = 8  # magic, flag and length
_LENGTH = (1 << 29) - 1
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_NEXT = {_WHOLE: (_WHOLE, _FIRST), _FIRST: (_MIDDLE, _LAST), _MIDDLE: (_MIDDLE, _LAST), _LAST: (_WHOLE, _FIRST)}


def recordio(stream: Stream, splits: Splits | None = None) -> Iterator[Run]:
    """The records of `stream` in order. A split record without `splits` is an error: guessing would lose bytes.

    DataError, naming stream, record and byte, for anything that is not whole RecordIO.
    """
    with closing(Window(stream)) as window:
        reader = _RecordIOReader(window, splits)
        while (run := reader.run()) is not None:
            yield run


class _RecordIOReader:
    def __init__(self, window: Window, splits: Splits | None) -> None:
        self._window, self._splits = window, splits
        self._stretch = 1  # how many records are compared at once: grows while they are of one length

    def run(self) -> Run | None:
        """The next records, None at the stream's end."""
        if not self._window.fill(1):
            return None
        flag, length = self._head(_WHOLE)
        if flag == _FIRST:
            return self._joined(length)
        stride = self._whole(length)
        frames = self._alike(stride, len(self._window.view) // stride)
        run = self._window.rows(frames, _HEAD, _HEAD + length)
        self._window.drop(frames.size, len(frames))
        return run

    def _head(self, before: int) -> tuple[int, int]:
        """Flag and length of the part at the window's start; `before` is the flag of the part before it."""
        if not self._window.fill(_HEAD):
            raise self._cut(f"a head of {_HEAD} bytes")
        head = self._window.view[:_HEAD].tobytes()
        if head[:4] != MAGIC:
            raise self._not_a_head(head)
        word = int.from_bytes(head[4:], "little")
        flag, length = word >> 29, word & _LENGTH
        if flag not in _NEXT[before]:
            raise self._window.error(
                f"has a part out of order. Received: flag {flag}. Expected: {' or '.join(map(str, _NEXT[before]))}."
            )
        return flag, length

    def _whole(self, length: int) -> int:
        """Bytes of the part at the window's start, head and padding included, which are all there afterwards."""
        stride = _HEAD + length + -length % 4
        if not self._window.fill(stride):
            raise self._cut(f"{stride} bytes")
        return stride

    def _alike(self, stride: int, most: int) -> np.ndarray:
        """The frames (n, stride) from the start on whose heads equal the first's, n ≥ 1."""
        count = min(most, self._stretch)
        frames = self._window.view[: count * stride].reshape(count, stride)
        if count == 1:
            self._stretch = 4
            return frames
        differ = np.flatnonzero((frames[:, :_HEAD] != frames[0, :_HEAD]).any(axis=1))
        self._stretch = 1 if differ.size else min(self._stretch * 4, 1 << 20)
        return frames[: differ[0]] if differ.size else frames

    def _joined(self, length: int) -> Run:
        """The record whose first part, of `length` bytes, is at the window's start."""
        if self._splits is None:
            raise self._window.error(
                "is split into parts. Expected: whole records, or to be told how they were split: dmlc (the writer "
                "drops the magic between parts) or plain (it drops nothing)."
            )
        number, offset, data, flag = self._window.number, self._window.offset, bytearray(), _FIRST
        while True:
            stride = self._whole(length)
            data += self._window.view[_HEAD : _HEAD + length].tobytes()
            self._window.bounded(len(data))
            self._window.drop(stride, int(flag == _LAST))
            if flag == _LAST:
                return self._window.record(data, number, offset)
            flag, length = self._head(flag)
            if self._splits == "dmlc":
                data += MAGIC

    def _cut(self, expected: str) -> DataError:
        window = self._window
        if window.number == 0 and not window.view[:4].tobytes().startswith(MAGIC[: len(window.view)]):
            return self._not_a_head(window.view[:4].tobytes())
        return window.error(f"is truncated. Received: {len(window.view)} bytes. Expected: {expected}.")

    def _not_a_head(self, head: bytes) -> DataError:
        if self._window.number:
            return self._window.error(
                f"has no RecordIO magic. Received: {head[:4].hex(' ')}. Expected: {MAGIC.hex(' ')}. The data is "
                "damaged; write it again."
            )
        self._window.refuse_gzip("RecordIO")
        return self._window.error(
            f"is not RecordIO. Received: {head[:4].hex(' ')}. Expected: {MAGIC.hex(' ')}. TFRecord, perhaps, or a "
            "channel without RecordWrapperType RecordIO?"
        )
