"""TFRecord: a stream of bytes → checked records, many at a time.

Consecutive records of equal length (all of them, for raw pictures) are read as one matrix, a view of the read buffer; a
single record is a matrix of one row. So there is one path, whatever the lengths are.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Literal

import google_crc32c
import numpy as np

from train.errors import DataError
from train.records import native
from train.records.channels import Stream
from train.records.stream_buffer import GZIP_MAGIC, MAX_RECORD_BYTES, RecordBlock, RecordList, StreamBuffer
from train.records.tfrecord_format import HEAD, TAIL, mask_crc, mask_crcs

_RECORDIO_MAGIC = b"\x0a\x23\xd7\xce"
_PICTURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG"}
_ZLIB = 0x78  # RFC 1950: deflate with a window of 32 KB; the first two bytes are a multiple of 31
Crc = Literal["full", "header", "off"]
MAX_LIST = 64  # records
_SHORT_BLOCK = 8  # records: a list of fewer is faster than a block
_log = logging.getLogger(__name__)


def read_tfrecords(stream: Stream, crc: Crc = "full", skip: int = 0) -> Generator[RecordBlock]:
    """The records of `stream` in order. `crc`: "full" checks the CRCs of lengths and data, "header" only of lengths.

    Skips up to `skip` records in sequence whose data's CRC is wrong, with a warning each.
    DataError, naming stream, record and byte, for anything else that is not whole TFRecord.
    """
    with closing(StreamBuffer(stream)) as buffer:
        reader = _TFRecordReader(buffer, crc, skip)
        while (block := reader.next_block()) is not None:
            if len(block.rows):
                yield block


def is_short(block: RecordBlock) -> bool:
    """Whether a list of the block's records is faster than the block."""
    return len(block.rows) < _SHORT_BLOCK


def read_tfrecord_lists(
    stream: Stream, crc: Crc = "full", as_lists: Callable[[RecordBlock], bool] = is_short
) -> Generator[RecordBlock | RecordList]:
    """The same records; from the first block on for which `as_lists` is true, as lists: faster if lengths differ."""
    with closing(StreamBuffer(stream)) as buffer:
        reader, lists = _TFRecordReader(buffer, crc, 0), False
        while (records := (reader.next_list() if lists else None) or reader.next_block()) is not None:
            lists = lists or (isinstance(records, RecordBlock) and as_lists(records))
            yield records.to_list() if lists and isinstance(records, RecordBlock) else records


class _TFRecordReader:
    """Blocks are views of the buffer."""

    def __init__(self, buffer: StreamBuffer, crc: Crc, skip: int) -> None:
        self._buffer, self._crc, self._skip = buffer, crc, skip
        self._skipped = 0  # in sequence, just before the record at the buffer's start

    def next_block(self) -> RecordBlock | None:
        """The next records, None at the stream's end; an empty block where a record is skipped."""
        buffer = self._buffer
        if not buffer.fill(HEAD):
            self._check_end()
            return None
        stride = self._read_length() + HEAD + TAIL
        if not buffer.fill(stride):
            raise self._truncated(f"{stride} bytes")
        frames = self._valid_frames(stride)
        block = buffer.block(frames, HEAD, stride - TAIL)
        records = max(len(frames), 1)
        buffer.consume(records * stride, records)
        return block

    def next_list(self) -> RecordList | None:
        """The whole records in the buffer; None if more bytes are needed or the next record is wrong."""
        buffer, check = self._buffer, ("off", "header", "full").index(self._crc)
        starts, lengths = native.find_frames(buffer.view, check, MAX_RECORD_BYTES, MAX_LIST)
        if not starts:
            return None
        view = buffer.view.data
        records = [bytes(view[start : start + length]) for start, length in zip(starts, lengths, strict=True)]
        offsets = [buffer.offset + start - HEAD for start in starts]
        found = RecordList(records, buffer.number, offsets, buffer.name)
        buffer.consume(starts[-1] + lengths[-1] + TAIL, len(starts))
        return found

    def _check_end(self) -> None:
        """DataError if the stream ended within a record."""
        left = self._buffer.view
        if left.size:
            if self._buffer.number == 0:
                raise self._bad_head(left[:2].tobytes())
            raise self._truncated(f"a record's head of {HEAD} bytes")

    def _truncated(self, expected: str) -> DataError:
        return self._buffer.error(f"is truncated. Received: {self._buffer.view.size} bytes. Expected: {expected}.")

    def _read_length(self) -> int:
        head = self._buffer.view[:HEAD].tobytes()
        length = int.from_bytes(head[:8], "little")
        if self._crc == "off":
            wrong = self._buffer.number == 0 and length > MAX_RECORD_BYTES
        else:
            wrong = mask_crc(google_crc32c.value(head[:8])) != int.from_bytes(head[8:], "little")
        if wrong:
            raise self._bad_head(head)
        self._buffer.check_length(length)
        return length

    def _valid_frames(self, stride: int) -> np.ndarray:
        """The valid frames (n, stride) at the buffer's start with equal heads; none where the first may be skipped."""
        most = self._buffer.view.size // stride
        frames = self._buffer.view[: most * stride].reshape(most, stride)
        count = native.count_valid_frames(frames, self._crc == "full")
        if count:
            self._skipped = 0
            return frames[:count]
        frames = frames[:1] if count == 0 else self._buffer.matching_frames(stride, HEAD)
        return self._check_data(frames) if self._crc == "full" else frames

    def _check_data(self, frames: np.ndarray) -> np.ndarray:
        """The frames before the first one whose data is damaged; none if that is the first and may be skipped."""
        if len(frames) == 1 and _has_valid_data(frames[0]):
            self._skipped = 0
            return frames
        data = frames[:, HEAD:-TAIL]
        computed = mask_crcs(np.fromiter(map(google_crc32c.value, data), np.uint32, len(data)))
        stored = np.ascontiguousarray(frames[:, -TAIL:]).view("<u4").ravel()
        wrong = np.flatnonzero(computed != stored)
        if not wrong.size or (wrong[0] and self._skip):
            self._skipped = 0
            return frames[: wrong[0]] if wrong.size else frames
        row = int(wrong[0])
        what = (
            f"{self._buffer.block(frames, 0, 0).location(row)}: the data's CRC is "
            f"wrong. Received: {computed[row]:08x}. Expected: {stored[row]:08x}."
        )
        if self._skipped == self._skip:
            raise DataError(f"{what} The record is damaged; write the shard again.")
        self._skipped += 1
        _log.warning("%s Skipped, %d of at most %d in sequence.", what, self._skipped, self._skip)
        return frames[:0]

    def _bad_head(self, head: bytes) -> DataError:
        if head.startswith(GZIP_MAGIC):
            return self._buffer.error(
                "is gzip-compressed (1f 8b). Expected: plain TFRecord. Set CompressionType Gzip on the channel in Pipe "
                "mode, or store the shards uncompressed."
            )
        if self._buffer.number == 0 and head[0] == _ZLIB and int.from_bytes(head[:2], "big") % 31 == 0:
            return self._buffer.error(
                f"is zlib-compressed ({head[:2].hex(' ')}). Expected: plain TFRecord. Write the shards without "
                "TFRecordOptions('ZLIB'), or with GZIP and CompressionType Gzip on the channel in Pipe mode."
            )
        if head.startswith(_RECORDIO_MAGIC):
            return self._buffer.error("is RecordIO. Expected: TFRecord. Set RecordWrapperType None on the channel.")
        if kind := next((kind for magic, kind in _PICTURES.items() if head.startswith(magic)), None):
            return self._buffer.error(
                f"is a {kind} picture. Expected: TFRecord. `python -m dataset prepare` makes shards of pictures."
            )
        text = head.decode("latin-1")
        is_text = head.isascii() and text.replace("\n", "").isprintable()
        received = head.hex(" ") + (f" ({text!r})" if is_text else "")
        if self._buffer.number == 0:
            return self._buffer.error(f"is not TFRecord. Received: {received}. Expected: a length and its CRC.")
        return self._buffer.error(
            f"has a wrong length CRC. Received: {received}. The shard is damaged; write it again."
        )


def _has_valid_data(frame: np.ndarray) -> bool:
    return mask_crc(google_crc32c.value(frame[HEAD:-TAIL])) == int.from_bytes(frame[-TAIL:].tobytes(), "little")
