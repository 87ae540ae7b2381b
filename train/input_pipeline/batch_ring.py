"""A ring of memory for batches, reused once nobody holds a batch: fresh memory costs a page fault every 4 KB."""

import sys

import numpy as np

from train.records import native

ALIGNMENT = 64  # bytes: what TensorFlow's kernels expect of memory they did not allocate
Batch = tuple[np.ndarray, np.ndarray]  # pictures (n, bytes) uint8, labels (n,) int64


class BatchRing:
    """`rows` batches of `size` pictures and labels: `images` (rows, size, width) uint8, `labels` (rows, size) int64.

    For one thread; any thread may hold a batch.
    """

    def __init__(self, rows: int, size: int, width: int) -> None:
        labels_at = _align(size * width)
        length = labels_at + _align(8 * size)
        self._layout = native.BatchLayout(width, size, labels_at, length)
        memory = np.empty(rows * length + ALIGNMENT, np.uint8)
        start = -memory.__array_interface__["data"][0] % ALIGNMENT
        self._memory = memory[start : start + rows * length]
        table = self._memory.reshape(rows, length)
        self.images = table[:, : size * width].reshape(rows, size, width)
        self.labels = table[:, labels_at : labels_at + 8 * size].view(np.int64)
        # A batch, and each view or tensor of it, holds a reference to its owner: NumPy looks for the owner of a view's
        # memory no further than an array over a buffer that is not an array.
        view = self._memory.data
        self._owners = [np.frombuffer(view[row * length : (row + 1) * length], np.uint8) for row in range(rows)]
        self._free = list(range(rows))
        self._in_use: list[int] = []
        self._own_references = self._count_references(0)

    def take(self) -> int:
        """A row that nobody holds. IndexError if each is held."""
        if not self._free:
            self._reclaim()
        return self._free.pop()

    def put(self, rows: np.ndarray, slots: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
        """Copy `images` (n, width) uint8 and `labels` (n,) int64 to their rows and slots, (n,) int64 each."""
        if not native.scatter(images, labels, rows, slots, self._memory, self._layout):
            self.images[rows, slots], self.labels[rows, slots] = images, labels

    def lend(self, row: int) -> Batch:
        """The batch in `row`; the row is free again once nobody holds the batch. A copy if no other row is free."""
        if not self._free:
            self._reclaim()
        owner, (width, size, labels_at, _) = self._owners[row], self._layout
        images = owner[: size * width].reshape(size, width)
        labels = owner[labels_at : labels_at + 8 * size].view(np.int64)
        if self._free:
            self._in_use.append(row)
            return images, labels
        self._free.append(row)
        return images.copy(), labels.copy()

    def _reclaim(self) -> None:
        held = [row for row in self._in_use if self._count_references(row) > self._own_references]
        self._free += [row for row in self._in_use if row not in held]
        self._in_use = held

    def _count_references(self, row: int) -> int:
        return sys.getrefcount(self._owners[row])


def _align(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
