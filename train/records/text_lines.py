"""Text lines: a stream of bytes → its lines, without their line ends."""

from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np

from train.records.channels import Stream
from train.records.stream_buffer import RecordBlock, StreamBuffer

_NEWLINE, _RETURN = ord("\n"), ord("\r")


def read_lines(stream: Stream, strip_return: bool = True) -> Generator[RecordBlock]:
    r"""The lines of `stream` in order, as bytes of any encoding in which \n is one byte.

    The last line may lack its end; what follows a last \n is no line if it is empty. A \r before \n belongs to the
    line's end, unless `strip_return` is false. DataError, naming stream, line and byte, for gzip and for a line over
    1 GiB.
    """
    with closing(StreamBuffer(stream)) as buffer:
        yield from _read(buffer, strip_return)


def _read(buffer: StreamBuffer, strip_return: bool) -> Iterator[RecordBlock]:
    if buffer.fill(2) or buffer.view.size:
        buffer.refuse_gzip("text")
    searched = 0  # bytes of the buffer known to have no newline
    while buffer.fill(searched + 1):
        ends = np.flatnonzero(buffer.view[searched:] == _NEWLINE) + searched
        if ends.size:
            yield from _split(buffer, ends, strip_return)
        searched = len(buffer.view)
        buffer.check_length(searched)
    if searched:  # without its newline, a \r is part of the line, as in Python and TensorFlow
        yield buffer.single_record(buffer.view.tobytes(), buffer.number, buffer.offset)


def _split(buffer: StreamBuffer, ends: np.ndarray, strip_return: bool) -> Iterator[RecordBlock]:
    """The buffer's lines that end at `ends`; consecutive ones of equal length as one block."""
    strides = np.diff(ends, prepend=-1)  # bytes of each line with its end
    lengths = strides - 1
    if strip_return:
        lengths = lengths - ((lengths > 0) & (buffer.view[ends - 1] == _RETURN))
    changes = (strides[1:] != strides[:-1]) | (lengths[1:] != lengths[:-1])
    first = 0
    for after in [*(np.flatnonzero(changes) + 1).tolist(), len(ends)]:
        count, stride = after - first, int(strides[first])
        frames = buffer.view[: count * stride].reshape(count, stride)
        yield buffer.block(frames, 0, int(lengths[first]))
        buffer.consume(frames.size, count)
        first = after
