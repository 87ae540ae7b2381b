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
from train.fifo import Source
from train.pictures import Pictures
from train.records import tfrecords

PIECE = 1024  # pictures that change places at once in the shuffle
_AHEAD = 4  # batches ready before the loop asks
_LOOK_SECONDS = 0.2  # a producer whose queue is full looks that often whether anyone still listens
_JOIN_SECONDS = 1.0

Batch = tuple[tf.Tensor, tf.Tensor]  # pictures (n, height, width, channels) uint8, labels (n,) int64
Piece = tuple[np.ndarray, np.ndarray]  # pictures (n, bytes) uint8, labels (n,) int64


class Batches:
    """One pass over a channel, read ahead by a thread. Iterating raises what ended the pass early, as it is."""

    def __init__(self, pieces: Callable[[], Iterator[Piece]], pictures: Pictures, batch_size: int) -> None:
        self._pieces, self._shape, self._batch_size, self._skipped = pieces, pictures.shape, batch_size, 0

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
                for images, labels in itertools.islice(regular(pieces, self._batch_size), self._skipped, None):
                    batch = tf.constant(images.reshape(-1, *self._shape)), tf.constant(labels)
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


def for_training(source: Source, pictures: Pictures, batch_size: int, buffer: int, seed: int, epoch: int) -> Batches:
    """Shuffled batches of the source's next pass; the last may be smaller.

    The order depends on `seed`, `epoch`, `buffer` and the order of the records alone, not on how they arrive.
    """

    def pieces() -> Iterator[Piece]:
        generator = np.random.default_rng([seed, epoch])
        return shuffled(regular(_decoded(source, pictures), min(PIECE, buffer)), buffer, generator)

    return Batches(pieces, pictures, batch_size)


def for_validation(source: Source, pictures: Pictures, batch_size: int) -> Batches:
    """Batches of the source's next pass, in the order of the records."""
    return Batches(lambda: regular(_decoded(source, pictures), PIECE), pictures, batch_size)


def _decoded(source: Source, pictures: Pictures) -> Iterator[Piece]:
    """Pieces as the records arrive, of any size; arrays are valid until the next."""
    decoder = ExampleDecoder(pictures.bytes, len(pictures.classes))
    records, names = 0, []
    for stream in source.streams():
        names.append(stream.name)
        for run in tfrecords(stream):
            records += len(run.rows)
            yield decoder.decode(run)
    if not records:
        raise DataError(f"{names[0]} is empty: it ended without a record. Are there objects under the channel's S3Uri?")


def regular(pieces: Iterator[Piece], size: int) -> Iterator[Piece]:
    """The same records in pieces of exactly `size`, the last one smaller; arrays of their own."""
    images = labels = None
    filled = 0
    for more_images, more_labels in pieces:
        taken = 0
        while taken < len(more_labels):
            if images is None:
                images = np.empty((size, more_images.shape[1]), np.uint8)
                labels = np.empty(size, np.int64)
            count = min(size - filled, len(more_labels) - taken)
            images[filled : filled + count] = more_images[taken : taken + count]
            labels[filled : filled + count] = more_labels[taken : taken + count]
            filled, taken = filled + count, taken + count
            if filled == size:
                yield images, labels
                images, filled = None, 0
    if filled:
        yield images[:filled], labels[:filled]


def shuffled(pieces: Iterator[Piece], buffer: int, generator: np.random.Generator) -> Iterator[Piece]:
    """The same records in another order, each once.

    A pool of about `buffer` records; each arriving piece takes the places of as many drawn from it at random, which
    leave. Pieces must be regular: the order would otherwise depend on how the bytes happened to arrive.
    """
    pool: Piece | None = None
    filled = 0
    for images, labels in pieces:
        if pool is None:
            room = max(1, buffer // len(labels)) * len(labels)
            pool = np.empty((room, images.shape[1]), np.uint8), np.empty(room, np.int64)
        if filled < len(pool[1]):
            kept = slice(filled, filled + len(labels))
            pool[0][kept], pool[1][kept] = images, labels
            filled += len(labels)
        else:
            drawn = generator.choice(filled, len(labels), replace=False)
            yield pool[0][drawn], pool[1][drawn]
            pool[0][drawn], pool[1][drawn] = images, labels
    if pool is not None:
        order = generator.permutation(filled)
        for start in range(0, filled, PIECE):
            drawn = order[start : start + PIECE]
            yield pool[0][drawn], pool[1][drawn]
