"""Records as bytes, written as plainly as their formats' descriptions."""

import struct

import google_crc32c

MAGIC = 0xCED7230A
WORD = struct.pack("<I", MAGIC)


def masked(data: bytes) -> bytes:
    """The formula of TFRecord's specification, in plain integers."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def damaged(*good: bool) -> bytes:
    """A record for each flag; the false ones with a wrong data CRC. Their data is their number."""
    frames = [bytearray(frame(b"%03d" % number)) for number in range(len(good))]
    for whole, flag in zip(frames, good, strict=True):
        whole[-1] ^= not flag
    return b"".join(frames)


def part(data: bytes, flag: int = 0) -> bytes:
    return struct.pack("<II", MAGIC, flag << 29 | len(data)) + data + bytes(-len(data) % 4)


def flagged(parts: list[bytes]) -> bytes:
    if len(parts) == 1:
        return part(parts[0])
    flags = [1, *[2] * (len(parts) - 2), 3]
    return b"".join(map(part, parts, flags))


def dmlc(data: bytes) -> bytes:
    """As dmlc-core's RecordIOWriter: a part ends before each magic at a multiple of 4, which is left out."""
    parts, begin = [], 0
    for position in range(0, len(data) - len(data) % 4, 4):
        if data[position : position + 4] == WORD:
            parts.append(data[begin:position])
            begin = position + 4
    return flagged([*parts, data[begin:]])


def plain(data: bytes, most: int) -> bytes:
    return flagged([data[start : start + most] for start in range(0, len(data), most)] or [b""])
