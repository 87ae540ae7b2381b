"""RecordIO: a stream of bytes → checked records.

A record is `u32 magic | u32 (flag << 29) | length | data | zeros up to a multiple of 4`, little endian. Flag 0 marks a
whole record, 1, 2 and 3 the first, a middle and the last part of one. In the original format (dmlc-core) a record is
split where its data holds the magic at a multiple of 4: the writer drops those four bytes, the reader puts them back.
Other writers split without dropping anything. The bytes don't show which writer it was, so the caller has to say.
"""

from collections.abc import Generator
from contextlib import closing
from typing import Literal

from train.errors import DataError
from train.records.channels import Stream
from train.records.stream_buffer import RecordBlock, StreamBuffer

Splits = Literal["dmlc", "plain"]  # the magic is put back between parts; parts are joined as they are

MAGIC = b"\x0a\x23\xd7\xce"
_HEAD = 8  # magic, flag and length
_LENGTH = (1 << 29) - 1
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_NEXT = {_WHOLE: (_WHOLE, _FIRST), _FIRST: (_MIDDLE, _LAST), _MIDDLE: (_MIDDLE, _LAST), _LAST: (_WHOLE, _FIRST)}


def read_recordio(stream: Stream, splits: Splits | None = None) -> Generator[RecordBlock]:
    """The records of `stream` in order. A split record without `splits` is an error: guessing would lose bytes.

    DataError, naming stream, record and byte, for anything that is not whole RecordIO.
    """
    with closing(StreamBuffer(stream)) as buffer:
        reader = _RecordIOReader(buffer, splits)
        while (block := reader.next_block()) is not None:
            yield block


class _RecordIOReader:
    def __init__(self, buffer: StreamBuffer, splits: Splits | None) -> None:
        self._buffer, self._splits = buffer, splits

    def next_block(self) -> RecordBlock | None:
        """The next records, None at the stream's end."""
        if not self._buffer.fill(1):
            return None
        flag, length = self._read_head(_WHOLE)
        if flag == _FIRST:
            return self._join_parts(length)
        stride = self._fill_part(length)
        frames = self._buffer.matching_frames(stride, _HEAD)
        block = self._buffer.block(frames, _HEAD, _HEAD + length)
        self._buffer.consume(frames.size, len(frames))
        return block

    def _read_head(self, before: int) -> tuple[int, int]:
        """Flag and length of the part at the buffer's start; `before` is the flag of the part before it."""
        if not self._buffer.fill(_HEAD):
            raise self._truncated(f"a head of {_HEAD} bytes")
        head = self._buffer.view[:_HEAD].tobytes()
        if head[:4] != MAGIC:
            raise self._bad_head(head)
        word = int.from_bytes(head[4:], "little")
        flag, length = word >> 29, word & _LENGTH
        if flag not in _NEXT[before]:
            raise self._buffer.error(
                f"has a part out of order. Received: flag {flag}. Expected: {' or '.join(map(str, _NEXT[before]))}."
            )
        return flag, length

    def _fill_part(self, length: int) -> int:
        """Read the whole part at the buffer's start; its size in bytes, with head and padding."""
        stride = _HEAD + length + -length % 4
        if not self._buffer.fill(stride):
            raise self._truncated(f"{stride} bytes")
        return stride

    def _join_parts(self, length: int) -> RecordBlock:
        """The record whose first part, of `length` bytes, is at the buffer's start."""
        if self._splits is None:
            raise self._buffer.error(
                "is split into parts. Expected: whole records, or to be told how they were split: dmlc (the writer "
                "drops the magic between parts) or plain (it drops nothing)."
            )
        number, offset, data, flag = self._buffer.number, self._buffer.offset, bytearray(), _FIRST
        while True:
            stride = self._fill_part(length)
            data += self._buffer.view[_HEAD : _HEAD + length].tobytes()
            self._buffer.check_length(len(data))
            self._buffer.consume(stride, int(flag == _LAST))
            if flag == _LAST:
                return self._buffer.single_record(data, number, offset)
            flag, length = self._read_head(flag)
            if self._splits == "dmlc":
                data += MAGIC

    def _truncated(self, expected: str) -> DataError:
        buffer = self._buffer
        if buffer.number == 0 and not buffer.view[:4].tobytes().startswith(MAGIC[: len(buffer.view)]):
            return self._bad_head(buffer.view[:4].tobytes())
        return buffer.error(f"is truncated. Received: {len(buffer.view)} bytes. Expected: {expected}.")

    def _bad_head(self, head: bytes) -> DataError:
        if self._buffer.number:
            return self._buffer.error(
                f"has no RecordIO magic. Received: {head[:4].hex(' ')}. Expected: {MAGIC.hex(' ')}. The data is "
                "damaged; write it again."
            )
        self._buffer.refuse_gzip("RecordIO")
        return self._buffer.error(
            f"is not RecordIO. Received: {head[:4].hex(' ')}. Expected: {MAGIC.hex(' ')}. TFRecord, perhaps, or a "
            "channel without RecordWrapperType RecordIO?"
        )
