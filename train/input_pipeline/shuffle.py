"""Records → shuffled batches, each record copied once: from the read buffer to its place in a batch.

As many batches are open at a time as `buffer` records fill. When a group of `batch_size` records has arrived, each open
batch has got an equal share of it, the oldest is complete, and a new one is opened. So a batch has records from all
over the last `buffer` ones; a record leaves up to `buffer` records later than it came, and all delays are equally
likely. The places of records are drawn beforehand and don't depend on how the bytes happen to arrive.
"""

from collections.abc import Iterator

import numpy as np

from train.input_pipeline.batch_ring import Batch, BatchRing

MAX_IN_USE = 8  # batches
_RECORDS_PER_DRAW = 8192  # records whose places are drawn at once


def batch_in_order(
    records: Iterator[Batch], width: int, batch_size: int, max_in_use: int = MAX_IN_USE
) -> Iterator[Batch]:
    """The same records in batches of `batch_size`, the last one smaller. `max_in_use`: as for `shuffle_records`."""
    yield from _fill(_OrderedBatches(batch_size, width, max_in_use), records)


def shuffle_records(
    records: Iterator[Batch],
    width: int,
    batch_size: int,
    buffer: int,
    generator: np.random.Generator,
    max_in_use: int = MAX_IN_USE,
) -> Iterator[Batch]:
    """The same records in another order, each once, in batches of `batch_size`, the last one smaller.

    `records` come in batches of any size; `width` is a picture's bytes. The caller may hold `max_in_use` batches;
    beyond, it gets copies. Memory: `buffer` pictures, or a batch if that is more, and the batches in use.
    """
    count = max(1, buffer // batch_size)
    yield from _fill(_OpenBatches(count, batch_size, width, generator, max_in_use), records)


def _fill(batches: "_OrderedBatches | _OpenBatches", records: Iterator[Batch]) -> Iterator[Batch]:
    """Put all records into the batches; yield those that are complete, then what remains."""
    for images, labels in records:
        count = 0
        while count < len(labels):
            count += batches.put(images[count:], labels[count:])
            if batches.complete:
                yield batches.advance()
    yield from batches.remaining()


class _OrderedBatches:
    """One open batch at a time."""

    def __init__(self, size: int, width: int, max_in_use: int) -> None:
        self._size, self._ring = size, BatchRing(max_in_use + 1, size, width)
        self._row, self._count = self._ring.take(), 0

    def put(self, images: np.ndarray, labels: np.ndarray) -> int:
        """Copy as many records as the batch has room for; their number."""
        count = min(self._size - self._count, len(labels))
        place = slice(self._count, self._count + count)
        self._ring.images[self._row, place], self._ring.labels[self._row, place] = images[:count], labels[:count]
        self._count += count
        return count

    @property
    def complete(self) -> bool:
        return self._count == self._size

    def advance(self) -> Batch:
        """The batch; opens a new one."""
        batch = self._ring.lend(self._row)
        self._row, self._count = self._ring.take(), 0
        return batch

    def remaining(self) -> Iterator[Batch]:
        """The open batch, if it has records."""
        if self._count:
            place = self._row, slice(self._count)
            yield self._ring.images[place].copy(), self._ring.labels[place].copy()


class ShufflePlan:
    """Places for one group of records after the other: the age of the open batch, and the slot in it.

    `count` batches are open; ages go from 0, just opened, to count - 1, complete with this group.
    """

    def __init__(self, count: int, size: int, generator: np.random.Generator) -> None:
        self._count, self._size, self._generator = count, size, generator
        self._due = np.arange(size) * count // size  # the age at which a batch's j-th slot, in its own order, is filled
        self._groups_per_draw = max(1, _RECORDS_PER_DRAW // size)
        self._orders = self._permute(count - 1)  # of the open batches' slots, the oldest batch first
        self._ages = self._slots = np.empty((0, size), np.int64)
        self._next = 0

    def first_group(self) -> tuple[np.ndarray, np.ndarray]:
        """Ages and slots for the first records: what the open batches would have got by now, had they been opened in
        time. (n,) int64 each, n about half of count × size.
        """
        ages = np.arange(self._count - 1, 0, -1)[:, None]  # as _orders; the batch of age 0 has nothing yet
        is_due = self._due[None] < ages
        order = self._generator.permutation(int(is_due.sum()))
        return np.broadcast_to(ages, is_due.shape)[is_due][order], self._orders[is_due][order]

    def next_group(self) -> tuple[np.ndarray, np.ndarray]:
        """Ages and slots for the next group, (size,) int64 each."""
        if self._next == len(self._ages):
            self._draw()
        self._next += 1
        return self._ages[self._next - 1], self._slots[self._next - 1]

    def full_slots(self, age: int) -> np.ndarray:
        """The slots of the batch of that age that were filled before the present group."""
        behind = self._next - 1 + self._count - 1 - age
        return self._orders[behind][self._due < age]

    def _draw(self) -> None:
        open_orders = self._orders[len(self._orders) - (self._count - 1) :]
        self._orders = np.concatenate([open_orders, self._permute(self._groups_per_draw)])
        groups = np.arange(self._groups_per_draw)[:, None]
        slots = self._orders[groups + self._count - 1 - self._due, np.arange(self._size)]
        order = self._permute(self._groups_per_draw)
        self._ages, self._slots, self._next = self._due[order], np.take_along_axis(slots, order, axis=1), 0

    def _permute(self, rows: int) -> np.ndarray:
        return self._generator.permuted(np.tile(np.arange(self._size), (rows, 1)), axis=1)


class _OpenBatches:
    """The open batches, filled as planned."""

    def __init__(self, count: int, size: int, width: int, generator: np.random.Generator, max_in_use: int) -> None:
        self._size = size
        self._ring = BatchRing(count + max_in_use, size, width)
        self._rows = np.array([self._ring.take() for _ in range(count)])  # of the ring, by age
        self._plan = ShufflePlan(count, size, generator)
        self._generator = generator
        self._ages, self._slots = self._plan.first_group()
        self._count, self._in_first = 0, True  # records of the present group; whether that is the first
        self._end_first_group()

    def put(self, images: np.ndarray, labels: np.ndarray) -> int:
        """Copy as many records as the present group has places for; their number."""
        count = min(len(labels), self._ages.size - self._count)
        part = slice(self._count, self._count + count)
        self._ring.put(self._rows[self._ages[part]], self._slots[part], images[:count], labels[:count])
        self._count += count
        self._end_first_group()
        return count

    def _end_first_group(self) -> None:
        """Begin the next group if the present one is the first and complete."""
        if self._in_first and self._count == self._ages.size:
            self._in_first, self._count = False, 0
            self._ages, self._slots = self._plan.next_group()

    @property
    def complete(self) -> bool:
        """Whether the oldest batch is complete."""
        return not self._in_first and self._count == self._ages.size

    def advance(self) -> Batch:
        """The oldest batch; opens a new one."""
        batch = self._ring.lend(int(self._rows[-1]))
        self._rows[1:] = self._rows[:-1]
        self._rows[0] = self._ring.take()
        self._ages, self._slots = self._plan.next_group()
        self._count = 0
        return batch

    def remaining(self) -> Iterator[Batch]:
        """The records in the batches that won't be complete, shuffled."""
        open_rows, open_slots = [self._rows[self._ages[: self._count]]], [self._slots[: self._count]]
        if not self._in_first:
            for age in range(1, self._rows.size):
                open_slots.append(self._plan.full_slots(age))
                open_rows.append(np.full(open_slots[-1].size, self._rows[age]))
        rows, slots = np.concatenate(open_rows), np.concatenate(open_slots)
        order = self._generator.permutation(slots.size)
        for start in range(0, slots.size, self._size):
            part = order[start : start + self._size]
            yield self._ring.images[rows[part], slots[part]], self._ring.labels[rows[part], slots[part]]
