"""Records → shuffled batches. One path for Pipe, File and FastFile; NumPy on a thread, tensors at its end.

Not tf.data: measured on two cores, a pass over 50,000 pictures pays 0.15 s for building the dataset and 1 µs a picture
for handing it over, and Dataset.from_generator (TensorFlow 2.21, M_TRIM_THRESHOLD in generator_dataset_op.cc) has
malloc return memory to the kernel so eagerly that training takes twice the time, in page faults.
"""

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import tensorflow as tf

from train.errors import DataError
from train.example import ExampleDecoder
from train.fifo import Source, Stream
from train.pictures import Pictures
from train.records import Run, tfrecords

EXCHANGE = 1024  # pictures that leave the shuffle's pool together; others then take their places
_AHEAD = 4  # batches ready before the loop asks
_LOOK_SECONDS = 0.2  # a producer whose queue is full looks that often whether anyone still listens
_JOIN_SECONDS = 1.0
_ALIGNMENT = 64  # bytes: what TensorFlow's kernels expect of memory they did not allocate

Batch = tuple[tf.Tensor, tf.Tensor]  # pictures (n, height, width, channels) uint8, labels (n,) int64
Piece = tuple[np.ndarray, np.ndarray]  # pictures (n, bytes) uint8, labels (n,) int64


class Batches:
    """One pass over a channel, read ahead by a thread. Iterating raises what ended the pass early, as it is."""

    def __init__(self, pieces: Callable[[], Iterator[Piece]], pictures: Pictures) -> None:
        self._pieces, self._shape, self._skipped = pieces, pictures.shape, 0

    def skip(self, steps: int) -> "Batches":
        """The pass without its first `steps` batches, which are read all the same: a resumed epoch."""
        self._skipped += steps
        return self

    def __iter__(self) -> Iterator[Batch]:
        ready: queue.Queue[Batch | Exception | None] = queue.Queue(_AHEAD)
        abandoned = threading.Event()
        producer = threading.Thread(target=self._produce, args=(ready, abandoned), name="batches", daemon=True)
        producer.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            abandoned.set()
            producer.join(_JOIN_SECONDS)

    def _produce(self, ready: queue.Queue, abandoned: threading.Event) -> None:
        try:
            with closing(self._pieces()) as pieces:
                for images, labels in itertools.islice(pieces, self._skipped, None):
                    batch = _tensor(images.reshape(-1, *self._shape)), tf.constant(labels)
                    if not _put(ready, batch, abandoned):
                        return
            _put(ready, None, abandoned)
        except Exception as failure:  # whatever it is, the loop's thread is the one to meet it
            _put(ready, failure, abandoned)


def _put(ready: queue.Queue, item: Batch | Exception | None, abandoned: threading.Event) -> bool:
    """Whether the item was taken into the queue; False once nobody listens."""
    while not abandoned.is_set():
        try:
            ready.put(item, timeout=_LOOK_SECONDS)
        except queue.Full:
            continue
        return True
    return False


def _tensor(array: np.ndarray) -> tf.Tensor:
    """The array as a tensor; without a copy where its memory is aligned, so it must not be written to again."""
    if array.ctypes.data % _ALIGNMENT:
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def for_training(source: Source, pictures: Pictures, batch_size: int, buffer: int, seed: int, epoch: int) -> Batches:
    """Shuffled batches of the source's next pass; the last may be smaller.

    The order depends on `seed`, `epoch`, `buffer` and the order of the records alone, not on how they arrive.
    """

    def pieces() -> Iterator[Piece]:
        generator = np.random.default_rng([seed, epoch])
        return shuffled(_decoded(source, pictures), pictures.bytes, batch_size, buffer, generator)

    return Batches(pieces, pictures)


def for_validation(source: Source, pictures: Pictures, batch_size: int) -> Batches:
    """Batches of the source's next pass, in the order of the records."""
    return Batches(lambda: in_order(_decoded(source, pictures), pictures.bytes, batch_size), pictures)


def runs(source: Source, framing: Callable[[Stream], Iterator[Run]] = tfrecords) -> Iterator[Run]:
    """The records of the source's next pass; DataError if there is none."""
    records, names = 0, []
    with closing(source.streams()) as streams:
        for stream in streams:
            names.append(stream.name)
            for run in framing(stream):
                records += len(run.rows)
                yield run
    if not records:
        raise DataError(f"{names[0]} is empty: it ended without a record. Are there objects under the channel's S3Uri?")


def _decoded(source: Source, pictures: Pictures) -> Iterator[Piece]:
    """Pieces as the records arrive, of any size; arrays are valid until the next."""
    decoder = ExampleDecoder(pictures.bytes, len(pictures.classes))
    for run in runs(source):
        yield decoder.decode(run)


class _Filler:
    """Arrays of a fixed number of pictures, filled bit by bit, each handed out once it is full."""

    def __init__(self, size: int, width: int) -> None:
        self._size, self._width = size, width
        self._images, self._labels, self._filled = _empty(size, width), np.empty(size, np.int64), 0

    def copied(self, images: np.ndarray, labels: np.ndarray) -> Iterator[Piece]:
        """Take `images` and `labels`; what became full."""
        taken = 0
        while taken < len(labels):
            count = min(self._size - self._filled, len(labels) - taken)
            part, place = slice(taken, taken + count), slice(self._filled, self._filled + count)
            self._images[place], self._labels[place] = images[part], labels[part]
            taken += count
            yield from self._moved(count)

    def gathered(self, images: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Iterator[Piece]:
        """Take the given rows of `images` and `labels`; what became full."""
        taken = 0
        while taken < len(rows):
            count = min(self._size - self._filled, len(rows) - taken)
            part, place = rows[taken : taken + count], slice(self._filled, self._filled + count)
            np.take(images, part, axis=0, out=self._images[place], mode="clip")  # "raise" would buffer the output
            self._labels[place] = labels[part]
            taken += count
            yield from self._moved(count)

    def rest(self) -> Iterator[Piece]:
        """The last, partly filled one, if there is any."""
        if self._filled:
            yield self._images[: self._filled], self._labels[: self._filled]

    def _moved(self, count: int) -> Iterator[Piece]:
        self._filled += count
        if self._filled == self._size:
            yield self._images, self._labels
            self._images, self._labels, self._filled = (
                _empty(self._size, self._width),
                np.empty(self._size, np.int64),
                0,
            )


def in_order(pieces: Iterator[Piece], width: int, batch_size: int) -> Iterator[Piece]:
    """The same records in batches of `batch_size`, the last one smaller; arrays of their own."""
    filler = _Filler(batch_size, width)
    for images, labels in pieces:
        yield from filler.copied(images, labels)
    yield from filler.rest()


def shuffled(
    pieces: Iterator[Piece], width: int, batch_size: int, buffer: int, generator: np.random.Generator
) -> Iterator[Piece]:
    """The same records in another order, each once, in batches of `batch_size`; `width` is a picture's bytes.

    A pool of `buffer` records. When it is full, up to 1,024 drawn at random leave, and those that arrive next take
    their places. A record is copied twice: into the pool and into its batch. What is drawn never depends on the sizes
    of the pieces, so the order does not depend on how the bytes happened to arrive.
    """
    pool, pool_labels = np.empty((buffer, width), np.uint8), np.empty(buffer, np.int64)
    filler = _Filler(batch_size, width)
    free = np.arange(buffer)  # places without a record, in the order in which they are to be taken
    for images, labels in pieces:
        taken = 0
        while taken < len(labels):
            if not free.size:
                free = generator.choice(buffer, min(EXCHANGE, buffer), replace=False)
                yield from filler.gathered(pool, pool_labels, free)
            count = min(free.size, len(labels) - taken)
            pool[free[:count]] = images[taken : taken + count]
            pool_labels[free[:count]] = labels[taken : taken + count]
            free, taken = free[count:], taken + count
    left = np.setdiff1d(np.arange(buffer), free, assume_unique=True)
    yield from filler.gathered(pool, pool_labels, generator.permutation(left))
    yield from filler.rest()


def _empty(count: int, width: int) -> np.ndarray:
    """(count, width) uint8, aligned for TensorFlow."""
    memory = np.empty(count * width + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + count * width].reshape(count, width)
