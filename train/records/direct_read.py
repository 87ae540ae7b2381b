"""Records of a known layout, read by the kernel straight to their places in batches: no buffer, no copy, no thread.

In order, it is known where each record goes before it comes, and so are its length and the place of its pixels. So one
readv names the place of every picture, and memory of its own for the few bytes around it, which are compared
afterwards. With the first record that is not as expected the rest is put together again as it came, for the general
parser to judge.

Only with the compiled helper, and where the data's CRCs are not asked for: these are computed faster over a block that
the cache still holds, beside a thread that reads the next one.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from train.records import native
from train.records.channels import Stream
from train.records.native import Frame
from train.records.stream_buffer import Window

SMALLEST = 1024  # bytes of a picture: below, naming places costs more than copying to them


@runtime_checkable
class Readable(Stream, Protocol):
    """A stream that has a descriptor."""

    def fileno(self) -> int: ...

    def wait(self) -> None:
        """Until there is something to be read."""
        ...


class Straight:
    """The records that come next in a window with less than a record left in it."""

    def __init__(self, window: Window, frame: Frame, classes: int) -> None:
        assert isinstance(window.stream, Readable)
        self._window, self._stream, self._frame = window, window.stream, frame
        self._classes = classes
        self._rest = np.empty((0, frame.before + frame.after), np.uint8)
        self._offset = 0  # bytes of the next record that are in its place
        self._records = 0
        self._over = False
        self._left: np.ndarray | None = window.take()

    def pull(self, pictures: np.ndarray, labels: np.ndarray) -> int:
        """How many records are at the start of `pictures` (n, width) uint8 and `labels` (n,) int64, at least one; 0 if
        the general parser is to go on.

        Until all places were used, those that are asked for next are to be the ones behind.
        """
        self._make_room(len(labels))
        while not self._over:
            whole = self._bring(pictures)
            good = native.settle(self._frame, self._rest, self._classes, labels[:whole])
            self._records += good
            if good < whole:
                self._end(pictures, good, whole)
            elif whole and self._offset:  # the next record has begun
                self._rest[0] = self._rest[whole]
            if good:
                return good
        return 0

    def _bring(self, pictures: np.ndarray) -> int:
        """How many whole records there are now."""
        try:
            got = native.bring(self._source(), self._frame, pictures, self._rest, self._offset)
        except BlockingIOError:
            self._stream.wait()
            return 0
        if not got and self._left is None:
            self._end(pictures, 0, 0)
        self._left = None
        whole, self._offset = divmod(self._offset + got, self._frame.stride)
        return whole

    def _source(self) -> int | np.ndarray:
        return self._stream.fileno() if self._left is None else self._left

    def _make_room(self, count: int) -> None:
        if len(self._rest) < count:
            rest = np.empty((count, self._rest.shape[1]), np.uint8)
            rest[: len(self._rest)] = self._rest
            self._rest = rest

    def _end(self, pictures: np.ndarray, good: int, whole: int) -> None:
        """What came after the good records, as it came, back to the window."""
        self._over = True
        before, begun = self._frame.before, self._offset > 0
        left = (whole - good) * self._frame.stride + self._offset
        again = slice(good, whole + begun)
        frames = [self._rest[again, :before], pictures[again], self._rest[again, before:]]
        self._offset = 0
        count = self._records * self._frame.stride
        self._window.give(np.concatenate(frames, axis=1).ravel()[:left], count, self._records)


def straight(window: Window, frame: Frame | None, classes: int) -> Straight | None:
    """The records that come next, if they can be read that way."""
    fits = frame is not None and frame.width >= SMALLEST and window.view.size < frame.stride
    if not fits or native.library is None or not isinstance(window.stream, Readable):
        return None
    return Straight(window, frame, classes)
