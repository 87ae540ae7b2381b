"""Raw records of a fixed size: a stream of bytes → rows of that many."""

from collections.abc import Iterator
from contextlib import closing

from train.records.channels import Stream
from train.records.stream_buffer import Run, Window


def fixed(stream: Stream, size: int, refuse_gzip: bool = True) -> Iterator[Run]:
    """The records of `stream`, `size` bytes each.

    DataError, naming stream, record and byte, for a last one that is cut short, and for gzip: raw bytes that begin with
    1f 8b by chance can be read with `refuse_gzip` false. ValueError for a size below 1.
    """
    if size < 1:
        raise ValueError(f"The record size is wrong. Received: {size}. Expected: at least 1 byte.")
    with closing(Window(stream)) as window:
        yield from _fixed(window, size, refuse_gzip)


def _fixed(window: Window, size: int, refuse_gzip: bool) -> Iterator[Run]:
    window.bounded(size)
    window.fill(2)
    if refuse_gzip:
        window.refuse_gzip(f"records of {size} bytes")
    while window.fill(size):
        count = len(window.view) // size
        frames = window.view[: count * size].reshape(count, size)
        yield window.rows(frames, 0, size)
        window.drop(frames.size, count)
    if window.view.size:
        raise window.error(f"is truncated. Received: {len(window.view)} bytes. Expected: {size}.")
