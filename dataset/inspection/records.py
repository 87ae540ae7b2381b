"""A shard's bytes → its records: pictures and labels, or what is wrong with them."""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from dataset.tfrecord import masked_crc

MOST = 256 << 20  # bytes a record; a length above it is damage or a mistake
_HEAD = struct.Struct("<Q4s")
_COPY = 1 << 20


@dataclass(frozen=True)
class Record:
    """image and label, or the problem that there is instead. `number` counts from 0."""

    number: int
    image: bytes = b""
    label: int = 0
    problem: str = ""


class Shard:
    """Iterating gives the records; after a problem of the framing there are no more. Then size and sha256 are known."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._layouts: dict[int, _Layout] = {}
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Record]:
        number = 0
        while head := self._read(_HEAD.size):
            length, crc = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, b"")
            if len(head) < _HEAD.size:
                yield Record(number, problem=f"the file ends inside the record's head, at byte {self.size:,}")
            elif masked_crc(head[:8]) != crc:
                yield Record(number, problem=f"its length is damaged (CRC) at byte {self.size - 12:,}: no more is read")
            elif length > MOST:
                yield Record(number, problem=f"it has {length:,} bytes: no more is read")
            else:
                data, crc = self._read(length), self._read(4)
                if len(data) + len(crc) == length + 4:
                    yield (
                        self._parse(number, data)
                        if masked_crc(data) == crc
                        else Record(number, problem="its data is damaged (CRC)")
                    )
                    number += 1
                    continue
                yield Record(number, problem=f"the file ends inside the record, at byte {self.size:,}")
            break
        while self._read(_COPY):
            pass

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        self.size += len(data)
        return data

    def _parse(self, number: int, data: bytes) -> Record:
        known = self._layouts.get(len(data))
        if known and known.fits(data):
            return Record(number, data[known.start : known.end], data[known.label])
        try:
            (start, end), (label_start, label_end) = find_image_and_label(data)
            label, _ = _varint(data, label_start, label_end)
        except ValueError as error:
            return Record(number, problem=f"no tf.train.Example as expected: {error}")
        if label_end - label_start == 1 and end <= label_start:
            self._layouts[len(data)] = _Layout(data, start, end, label_start)
        return Record(number, data[start:end], label - (1 << 64) if label >= 1 << 63 else label)


class _Layout:
    """Records of one program and one length differ in picture and label alone: those need no parsing."""

    def __init__(self, data: bytes, start: int, end: int, label: int) -> None:
        self.start, self.end, self.label = start, end, label
        self._before, self._between, self._after = data[:start], data[end:label], data[label + 1 :]

    def fits(self, data: bytes) -> bool:
        return (
            data.startswith(self._before)
            and data[self.end : self.label] == self._between
            and data[self.label + 1 :] == self._after
            and data[self.label] < 0x80
        )


Span = tuple[int, int]


def find_image_and_label(data: bytes) -> tuple[Span, Span]:
    """Where an Example has the value of `image`, one bytes string, and of `label`, one varint. ValueError, in words."""
    found: dict[str, Span] = {}
    kinds = {"image": 1, "label": 3}  # bytes_list, int64_list of a Feature
    for features in _messages(data, (0, len(data)), 1):
        for entry in _messages(data, features, 1):
            name = b"".join(data[start:end] for start, end in _messages(data, entry, 1)).decode("utf-8", "replace")
            if name in kinds:
                values = [
                    value
                    for feature in _messages(data, entry, 2)
                    for listed in _messages(data, feature, kinds[name])
                    for value in (_varints(data, listed) if name == "label" else _messages(data, listed, 1))
                ]
                if len(values) != 1:
                    kind = "int64" if name == "label" else "bytes string"
                    raise ValueError(f"{name} has {len(values)} values. Expected: one {kind}")
                found[name] = values[0]
    for name in kinds:
        if name not in found:
            raise ValueError(f"no feature {name}")
    return found["image"], found["label"]


def _messages(data: bytes, span: Span, number: int) -> Iterator[Span]:
    """The length-delimited fields of that number."""
    for found, wire, start, end in _fields(data, span):
        if (found, wire) == (number, 2):
            yield start, end


def _varints(data: bytes, span: Span) -> Iterator[Span]:
    """An Int64List's values, packed or one by one."""
    for number, wire, start, end in _fields(data, span):
        if (number, wire) == (1, 0):
            yield start, end
        elif (number, wire) == (1, 2):
            while start < end:
                _, after = _varint(data, start, end)
                yield start, after
                start = after


def _fields(data: bytes, span: Span) -> Iterator[tuple[int, int, int, int]]:
    """(number, wire type, start, end) of each field of a protocol buffer message."""
    position, limit = span
    while position < limit:
        key, start = _varint(data, position, limit)
        wire = key & 7
        if wire == 0:
            _, end = _varint(data, start, limit)
        elif wire == 2:
            length, start = _varint(data, start, limit)
            end = start + length
        elif wire in (1, 5):
            end = start + (8 if wire == 1 else 4)
        else:
            raise ValueError(f"wire type {wire} at byte {position}")
        if end > limit:
            raise ValueError(f"a field at byte {position} runs over its end")
        yield key >> 3, wire, start, end
        position = end


def _varint(data: bytes, start: int, limit: int) -> tuple[int, int]:
    value = 0
    for shift, position in enumerate(range(start, min(limit, start + 10))):
        value |= (data[position] & 0x7F) << 7 * shift
        if data[position] < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position + 1
    raise ValueError(f"a number without an end at byte {start}")
