"""Raw records of a fixed size: a stream of bytes → rows of that many bytes."""

from collections.abc import Generator, Iterator
from contextlib import closing

from train.records.channels import Stream
from train.records.stream_buffer import RecordBlock, StreamBuffer

_DEFLATE = b"\x08"  # a gzip file's third byte: its method, of which there is one


def read_fixed_length(stream: Stream, size: int) -> Generator[RecordBlock]:
    """The records of `stream`, `size` bytes each.

    DataError, naming stream, record and byte, for a truncated last record, and for gzip. ValueError for a size below 1.
    """
    if size < 1:
        raise ValueError(f"The record size is wrong. Received: {size}. Expected: at least 1 byte.")
    with closing(StreamBuffer(stream)) as buffer:
        yield from _read(buffer, size)


def _read(buffer: StreamBuffer, size: int) -> Iterator[RecordBlock]:
    buffer.check_length(size)
    buffer.fill(3)
    if buffer.view[2:3].tobytes() == _DEFLATE:  # raw bytes may well begin with 1f 8b
        buffer.refuse_gzip(f"records of {size} bytes")
    while buffer.fill(size):
        count = len(buffer.view) // size
        frames = buffer.view[: count * size].reshape(count, size)
        yield buffer.block(frames, 0, size)
        buffer.consume(frames.size, count)
    if buffer.view.size:
        raise buffer.error(f"is truncated. Received: {len(buffer.view)} bytes. Expected: {size}.")
