"""Memory for batches, used again once nobody holds the batch: fresh memory costs a page fault every 4 KB."""

import sys

import numpy as np

from train.records import native

ALIGNMENT = 64  # bytes: what TensorFlow's kernels expect of memory they did not allocate


class Ring:
    """`rows` batches of `size` pictures and labels: `images` (rows, size, width) uint8, `labels` (rows, size) int64.

    For one thread; who holds a batch may be any.
    """

    def __init__(self, rows: int, size: int, width: int) -> None:
        self._size, self._width = size, width
        self._labels_at = _aligned(size * width)
        self._length = self._labels_at + _aligned(8 * size)
        memory = np.empty(rows * self._length + ALIGNMENT, np.uint8)
        start = -memory.__array_interface__["data"][0] % ALIGNMENT
        self._memory = memory[start : start + rows * self._length]
        table = self._memory.reshape(rows, self._length)
        self.images = table[:, : size * width].reshape(rows, size, width)
        self.labels = table[:, self._labels_at : self._labels_at + 8 * size].view(np.int64)
        # Whoever holds a batch, or a view or tensor of it, holds a reference to its owner: NumPy looks for the owner of
        # a view's memory no further than an array over a buffer that is not an array.
        view = memoryview(self._memory)
        self._owners = [
            np.frombuffer(view[row * self._length : (row + 1) * self._length], np.uint8) for row in range(rows)
        ]
        self._free, self._lent = list(range(rows)), []
        self._unheld = self._references(0)

    def take(self) -> int:
        """A row that nobody holds. IndexError if there is none."""
        if not self._free:
            self._sweep()
        return self._free.pop()

    def put(self, rows: np.ndarray, slots: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
        """Copy `images` (n, width) uint8 and `labels` (n,) int64, each to its row and slot, (n,) int64."""
        places = (self._length, self._labels_at, self._width)
        if not native.scatter(images, labels, rows, slots, self._memory, places):
            self.images[rows, slots], self.labels[rows, slots] = images, labels

    def lend(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch in `row`, which comes back by itself once nobody holds it. A copy if no other could be taken."""
        if not self._free:
            self._sweep()
        owner = self._owners[row]
        images = owner[: self._size * self._width].reshape(self._size, self._width)
        labels = owner[self._labels_at : self._labels_at + 8 * self._size].view(np.int64)
        if self._free:
            self._lent.append(row)
            return images, labels
        self._free.append(row)
        return images.copy(), labels.copy()

    def _sweep(self) -> None:
        held = [row for row in self._lent if self._references(row) > self._unheld]
        self._free += [row for row in self._lent if row not in held]
        self._lent = held

    def _references(self, row: int) -> int:
        return sys.getrefcount(self._owners[row])


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
