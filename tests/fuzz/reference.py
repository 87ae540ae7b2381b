"""Each framing once more, as plainly as its description: one record after the other, no blocks, no views.

A function returns the records up to the first thing that is wrong, and whether there was none.
"""

import struct

import google_crc32c

LIMIT = 1 << 30  # longer ones are refused
MAGIC = struct.pack("<I", 0xCED7230A)

Parsed = tuple[list[bytes], bool]


def masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def tfrecord(data: bytes, check_data: bool = True) -> Parsed:
    records, place = [], 0
    while place < len(data):
        head = data[place : place + 12]
        if len(head) < 12 or struct.unpack("<I", head[8:])[0] != masked(head[:8]):
            return records, False
        length = struct.unpack("<Q", head[:8])[0]
        record, tail = data[place + 12 : place + 12 + length], data[place + 12 + length : place + 16 + length]
        if length > LIMIT or len(tail) < 4:
            return records, False
        if check_data and struct.unpack("<I", tail)[0] != masked(record):
            return records, False
        records.append(record)
        place += 16 + length
    return records, True


def recordio(data: bytes, splits: str | None) -> Parsed:
    records: list[bytes] = []
    parts: list[bytes] = []
    place = 0
    while place < len(data):
        head = data[place : place + 8]
        if len(head) < 8 or head[:4] != MAGIC:
            return records, False
        word = struct.unpack("<I", head[4:])[0]
        flag, length = word >> 29, word & ((1 << 29) - 1)
        whole = 8 + length + -length % 4
        if place + whole > len(data) or flag not in ((2, 3) if parts else (0, 1)) or (flag and splits is None):
            return records, False
        part = data[place + 8 : place + 8 + length]
        place += whole
        if flag == 0:
            records.append(part)
            continue
        parts.append(part)
        if sum(map(len, parts)) > LIMIT:
            return records, False
        if flag == 3:
            records.append((MAGIC if splits == "dmlc" else b"").join(parts))
            parts = []
    return records, not parts


def lines(data: bytes) -> Parsed:
    if data[:2] == b"\x1f\x8b":
        return [], False
    *whole, last = data.split(b"\n")
    return [line.removesuffix(b"\r") for line in whole] + ([last] if last else []), True


def fixed(data: bytes, size: int) -> Parsed:
    if data[:3] == b"\x1f\x8b\x08":
        return [], False
    count = len(data) // size
    return [data[n * size : (n + 1) * size] for n in range(count)], len(data) == count * size
