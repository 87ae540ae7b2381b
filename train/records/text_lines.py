"""Text lines: a stream of bytes → the lines in it, without their ends."""

from collections.abc import Iterator
from contextlib import closing

import numpy as np

from train.records.channels import Stream
from train.records.stream_buffer import Run, Window

_NEWLINE, _RETURN = ord("\n"), ord("\r")


def lines(stream: Stream, strip_return: bool = True) -> Iterator[Run]:
    r"""The lines of `stream` in order, as bytes of any encoding in which \n is one byte.

    The last line may lack its end; an empty one after the last \n is none. A \r before \n belongs to the end, unless
    `strip_return` is false. DataError, naming stream, line and byte, for gzip and for a line over 1 GiB.
    """
    with closing(Window(stream)) as window:
        yield from _lines(window, strip_return)


def _lines(window: Window, strip_return: bool) -> Iterator[Run]:
    if window.fill(2) or window.view.size:
        window.refuse_gzip("text")
    searched = 0  # bytes of the window known to be without a newline
    while window.fill(searched + 1):
        ends = np.flatnonzero(window.view[searched:] == _NEWLINE) + searched
        if ends.size:
            yield from _ended(window, ends, strip_return)
        searched = len(window.view)
        window.bounded(searched)
    if searched:  # without its newline, a \r is the line's own, as for Python and TensorFlow
        yield window.record(window.view, window.number, window.offset)


def _ended(window: Window, ends: np.ndarray, strip_return: bool) -> Iterator[Run]:
    """The lines of the window that end at `ends`; those of equal length that follow each other as one run."""
    strides = np.diff(ends, prepend=-1)  # bytes of each line with its end
    kept = strides - 1
    if strip_return:
        kept = kept - ((kept > 0) & (window.view[ends - 1] == _RETURN))
    changes = (strides[1:] != strides[:-1]) | (kept[1:] != kept[:-1])
    first = 0
    for after in [*(np.flatnonzero(changes) + 1).tolist(), len(ends)]:
        count, stride = after - first, int(strides[first])
        frames = window.view[: count * stride].reshape(count, stride)
        yield window.rows(frames, 0, int(kept[first]))
        window.drop(frames.size, count)
        first = after
