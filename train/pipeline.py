"""Records → shuffled batches. One path for Pipe, File and FastFile: NumPy up to the batch, then tf.data."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from train.errors import DataError, StopRequested, TrainingError
from train.example import ExampleDecoder
from train.fifo import Source
from train.pictures import Pictures
from train.records import tfrecords

PIECE = 1024  # pictures handed over at once: a Python call a piece, not a batch
_AHEAD = 4  # batches ready before the loop asks

Piece = tuple[np.ndarray, np.ndarray]  # pictures (n, bytes) uint8, labels (n,) int64


class Batches:
    """One pass over a channel: pictures (n, height, width, channels) uint8 and labels (n,) int64.

    Iterating raises what ended the pass early — DataError, StopRequested — as itself, not wrapped by TensorFlow.
    """

    def __init__(self, pieces: Callable[[], Iterator[Piece]], pictures: Pictures, batch_size: int) -> None:
        self._make, self._shape = pieces, pictures.shape
        self._pieces: Iterator[Piece] = iter(())
        self._failure: Exception | None = None
        # Not Dataset.from_generator: TensorFlow 2.21 then has malloc return every 128 KB to the kernel at once
        # (generator_dataset_op.cc, M_TRIM_THRESHOLD), and training pays twice the time in page faults.
        pulled = tf.data.Dataset.counter().map(lambda _: self._pulled())
        self._dataset = pulled.take_while(lambda _, labels: tf.size(labels) > 0).rebatch(batch_size).prefetch(_AHEAD)

    def skip(self, steps: int) -> "Batches":
        """The pass without its first `steps` batches, which are read all the same: a resumed epoch."""
        if steps:
            self._dataset = self._dataset.skip(steps)
        return self

    def __iter__(self) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        self._pieces, self._failure = self._make(), None
        yield from self._dataset
        if self._failure is not None:
            raise self._failure

    def _pulled(self) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = tf.numpy_function(self._pull, [], (tf.uint8, tf.int64))
        return tf.ensure_shape(images, (None, *self._shape)), tf.ensure_shape(labels, (None,))

    def _pull(self) -> Piece:
        """The next piece; one without pictures at the end, also at a failure, which TensorFlow would wrap in text."""
        try:
            images, labels = next(self._pieces, (np.empty((0, *self._shape), np.uint8), np.empty(0, np.int64)))
        except (TrainingError, StopRequested, OSError) as failure:
            self._failure = failure
            images, labels = np.empty((0, *self._shape), np.uint8), np.empty(0, np.int64)
        return images.reshape(-1, *self._shape), labels


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
