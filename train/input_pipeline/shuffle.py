"""Records → shuffled batches, each record copied once: from the read buffer to its place in a batch.

As many batches are open at a time as `buffer` records fill. When a group of `batch_size` records has arrived, each
open batch has got an equal share of it, the oldest is complete, and a new one is opened. So a batch has records from
all over the last `buffer` ones; a record leaves up to `buffer` records later than it came, and all delays are equally
likely. Where a record goes is drawn beforehand and never depends on how the bytes happen to arrive.
"""

from collections.abc import Iterator

import numpy as np

from train.input_pipeline.batch_ring import Ring

Piece = tuple[np.ndarray, np.ndarray]  # pictures (n, bytes) uint8, labels (n,) int64
LENT = 8
_DRAWN = 8192  # records whose places are drawn at once


def in_order(arriving: Iterator[Piece], width: int, batch_size: int, lent: int = LENT) -> Iterator[Piece]:
    """The same records in batches of `batch_size`, the last one smaller. `lent`: as for `shuffled`."""
    batches = _InOrder(batch_size, width, lent)
    for piece in arriving:
        yield from _put(piece, batches)
    yield from batches.rest()


def _put(piece: Piece, batches: "_InOrder | _Open") -> Iterator[Piece]:
    """The batches that are complete with a piece."""
    images, labels = piece
    taken = 0
    while taken < len(labels):
        taken += batches.put(images[taken:], labels[taken:])
        if batches.complete:
            yield batches.advance()


class _InOrder:
    """One batch after the other."""

    def __init__(self, size: int, width: int, lent: int) -> None:
        self._size, self._ring = size, Ring(lent + 1, size, width)
        self._row, self._filled = self._ring.take(), 0

    def put(self, images: np.ndarray, labels: np.ndarray) -> int:
        """Copy as many as the batch has room for; how many that were."""
        count = min(self._size - self._filled, len(labels))
        place = slice(self._filled, self._filled + count)
        self._ring.images[self._row, place], self._ring.labels[self._row, place] = images[:count], labels[:count]
        self._filled += count
        return count

    @property
    def complete(self) -> bool:
        return self._filled == self._size

    def advance(self) -> Piece:
        """The batch; a new one is begun."""
        batch = self._ring.lend(self._row)
        self._row, self._filled = self._ring.take(), 0
        return batch

    def rest(self) -> Iterator[Piece]:
        """What has been begun."""
        if self._filled:
            place = self._row, slice(self._filled)
            yield self._ring.images[place].copy(), self._ring.labels[place].copy()


def shuffled(
    arriving: Iterator[Piece],
    width: int,
    batch_size: int,
    buffer: int,
    generator: np.random.Generator,
    lent: int = LENT,
) -> Iterator[Piece]:
    """The same records in another order, each once, in batches of `batch_size`, the last one smaller.

    `width` is a picture's bytes. `lent` batches may be in use elsewhere; beyond, copies are handed out. Memory:
    `buffer` pictures, or a batch if that is more, and what is lent.
    """
    batches = _Open(max(1, buffer // batch_size), batch_size, width, generator, lent)
    for piece in arriving:
        yield from _put(piece, batches)
    yield from batches.rest()


class Plan:
    """Places for one group of records after the other: the age of the open batch, and the slot in it.

    `count` batches are open; ages go from 0, just opened, to count - 1, complete with this group.
    """

    def __init__(self, count: int, size: int, generator: np.random.Generator) -> None:
        self._count, self._size, self._generator = count, size, generator
        self._due = np.arange(size) * count // size  # the age at which a batch's j-th slot, in its own order, is filled
        self._drawn = max(1, _DRAWN // size)
        self._orders = self._permutations(count - 1)  # of the open batches' slots, the oldest batch first
        self._ages = self._slots = np.empty((0, size), np.int64)
        self._next = 0

    def first(self) -> tuple[np.ndarray, np.ndarray]:
        """Ages and slots for the first records: what the open batches would have got by now, had they been opened in
        time. (n,) int64 each, n about half of count × size.
        """
        ages = np.arange(self._count - 1, 0, -1)[:, None]  # as _orders; the batch of age 0 has nothing yet
        got = self._due[None] < ages
        mixed = self._generator.permutation(int(got.sum()))
        return np.broadcast_to(ages, got.shape)[got][mixed], self._orders[got][mixed]

    def group(self) -> tuple[np.ndarray, np.ndarray]:
        """Ages and slots for the next group, (size,) int64 each."""
        if self._next == len(self._ages):
            self._draw()
        self._next += 1
        return self._ages[self._next - 1], self._slots[self._next - 1]

    def filled(self, age: int) -> np.ndarray:
        """The slots that a batch of that age had got before the present group."""
        behind = self._next - 1 + self._count - 1 - age
        return self._orders[behind][self._due < age]

    def _draw(self) -> None:
        kept = self._orders[len(self._orders) - (self._count - 1) :]
        self._orders = np.concatenate([kept, self._permutations(self._drawn)])
        groups = np.arange(self._drawn)[:, None]
        slots = self._orders[groups + self._count - 1 - self._due, np.arange(self._size)]
        mixed = self._permutations(self._drawn)
        self._ages, self._slots, self._next = self._due[mixed], np.take_along_axis(slots, mixed, axis=1), 0

    def _permutations(self, rows: int) -> np.ndarray:
        return self._generator.permuted(np.tile(np.arange(self._size), (rows, 1)), axis=1)


class _Open:
    """The open batches, filled as planned."""

    def __init__(self, count: int, size: int, width: int, generator: np.random.Generator, lent: int) -> None:
        self._size = size
        self._ring = Ring(count + lent, size, width)
        self._rows = np.array([self._ring.take() for _ in range(count)])  # of the ring, by age
        self._plan = Plan(count, size, generator)
        self._generator = generator
        self._ages, self._slots = self._plan.first()
        self._taken, self._first = 0, True
        self._go_on()

    def put(self, images: np.ndarray, labels: np.ndarray) -> int:
        """Copy as many as the present group has places for; how many that were."""
        count = min(len(labels), self._ages.size - self._taken)
        part = slice(self._taken, self._taken + count)
        self._ring.put(self._rows[self._ages[part]], self._slots[part], images[:count], labels[:count])
        self._taken += count
        self._go_on()
        return count

    def _go_on(self) -> None:
        """From the first records to the first group."""
        if self._first and self._taken == self._ages.size:
            self._first, self._taken = False, 0
            self._ages, self._slots = self._plan.group()

    @property
    def complete(self) -> bool:
        """Whether the oldest batch is."""
        return not self._first and self._taken == self._ages.size

    def advance(self) -> Piece:
        """The oldest batch; a new one is opened."""
        batch = self._ring.lend(int(self._rows[-1]))
        self._rows[1:] = self._rows[:-1]
        self._rows[0] = self._ring.take()
        self._ages, self._slots = self._plan.group()
        self._taken = 0
        return batch

    def rest(self) -> Iterator[Piece]:
        """What is in the batches that will not be complete any more, mixed."""
        rows, slots = [self._rows[self._ages[: self._taken]]], [self._slots[: self._taken]]
        if not self._first:
            for age in range(1, self._rows.size):
                slots.append(self._plan.filled(age))
                rows.append(np.full(slots[-1].size, self._rows[age]))
        rows, slots = np.concatenate(rows), np.concatenate(slots)
        mixed = self._generator.permutation(slots.size)
        for start in range(0, slots.size, self._size):
            part = mixed[start : start + self._size]
            yield self._ring.images[rows[part], slots[part]], self._ring.labels[rows[part], slots[part]]
