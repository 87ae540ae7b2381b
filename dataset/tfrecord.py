"""Records as TensorFlow reads them: tf.train.Example in TFRecord framing, without TensorFlow.

An Example maps two names: `image` to one byte string (height × width × channel, uint8) and `label` to one int64.
Its protobuf encoding is short enough to be written by hand; everything but the picture is the same for all pictures of
a class and a size.
"""

import struct
from functools import cache

import google_crc32c

_BYTES = 2  # protobuf wire type: length, then that many bytes
_CRC_MASK = 0xA282EAD8  # of TensorFlow's masked crc32c: a CRC stored inside data must not be its own CRC's input


def example(image: bytes, label: int) -> bytes:
    """tf.train.Example{image: bytes_list of one, label: int64_list of one}, serialized. 0 ≤ label < 2⁶³."""
    before, after = _around(len(image), label)
    return b"".join((before, image, after))


def frame(data: bytes) -> bytes:
    """u64 length | u32 masked crc32c(length) | data | u32 masked crc32c(data), little endian."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, masked_crc(length), data, masked_crc(data)))


def masked_crc(data: bytes) -> bytes:
    """As it stands in a file: 4 bytes, little endian."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _CRC_MASK) & 0xFFFFFFFF)


@cache
def _around(size: int, label: int) -> tuple[bytes, bytes]:
    """What stands before and after a picture of `size` bytes: Example.features.feature{key, value.bytes_list.value}."""
    value = _head(1, size)  # BytesList.value
    bytes_list = _head(1, len(value) + size) + value  # Feature.bytes_list
    entry = _field(1, b"image") + _head(2, len(bytes_list) + size) + bytes_list
    image = _head(1, len(entry) + size) + entry  # Features.feature
    int64_list = _field(3, _field(1, _varint(label)))  # Feature.int64_list, its values packed
    after = _field(1, _field(1, b"label") + _field(2, int64_list))
    return _head(1, len(image) + size + len(after)) + image, after


def _field(number: int, data: bytes) -> bytes:
    return _head(number, len(data)) + data


def _head(number: int, size: int) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(size)


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the eighth says that more follow."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
