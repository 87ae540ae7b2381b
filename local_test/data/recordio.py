"""RecordWrapperType RecordIO: each object becomes one record. Little endian: magic, length, data, zeros to four bytes.

A record is never split in parts. The format allows parts where the data holds the magic number, and readers differ in
what they then put between them; a whole one of the right length means the same to every reader.
"""

import struct
from collections.abc import Iterator

from local_test.errors import DataError

MAGIC = 0xCED7230A
_LIMIT = 1 << 29  # the upper three bits of the length say which part of a record this is; 0: all of it


def make_record(data: bytes, what: str = "a value") -> bytes:
    """One record. DataError if it is too large for one."""
    return b"".join(wrap_chunks(iter([data]), len(data), what))


def wrap_chunks(chunks: Iterator[bytes], size: int, what: str) -> Iterator[bytes]:
    """One record of `size` bytes as they stream. DataError, naming `what`, if there are more or fewer."""
    if size >= _LIMIT:
        raise DataError(f"{what} is too large for a RecordIO record. Received: {size} bytes. Limit: {_LIMIT - 1}")
    return _stream(chunks, size, what)


def _stream(chunks: Iterator[bytes], size: int, what: str) -> Iterator[bytes]:
    yield struct.pack("<II", MAGIC, size)
    count = 0
    for chunk in chunks:
        count += len(chunk)
        yield chunk
    if count != size:
        raise DataError(f"{what} changed since the job was created: {size} bytes then, {count} now")
    yield bytes(-size % 4)
