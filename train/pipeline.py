"""Records → shuffled batches. One path for Pipe, File and FastFile; NumPy on a thread, tensors at its end.

Not tf.data: measured on two cores, a pass over 50,000 pictures pays 0.15 s for building the dataset and 1 µs a picture
for handing it over, and Dataset.from_generator (TensorFlow 2.21, M_TRIM_THRESHOLD in generator_dataset_op.cc) has
malloc return memory to the kernel so eagerly that training takes twice the time, in page faults.
"""

import functools
import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import numpy as np
import tensorflow as tf

from train import encoded
from train.errors import DataError
from train.example import ExampleDecoder
from train.fifo import Source, Stream
from train.memory import ALIGNMENT
from train.pictures import Pictures
from train.recordio import recordio
from train.records import Crc, tfrecords
from train.shuffle import Piece, in_order, shuffled
from train.tuples import pictures_of
from train.window import Run

_AHEAD = 4  # batches ready before the loop asks
_JOIN_SECONDS = 1.0

Batch = tuple[tf.Tensor, tf.Tensor]  # pictures (n, height, width, channels) uint8, labels (n,) int64


class Batches:
    """One pass over a channel, read ahead by a thread. Iterating raises what ended the pass early, as it is."""

    def __init__(self, pieces: Callable[[], Iterator[Piece]], pictures: Pictures) -> None:
        self._pieces, self._shape, self._skipped = pieces, pictures.shape, 0

    def skip(self, steps: int) -> "Batches":
        """The pass without its first `steps` batches, which are read all the same: a resumed epoch."""
        self._skipped += steps
        return self

    def __iter__(self) -> Iterator[Batch]:
        ready: queue.SimpleQueue[Batch | Exception | None] = queue.SimpleQueue()
        room: queue.SimpleQueue[bool] = queue.SimpleQueue()  # a True for each batch that may be made, False to end
        for _ in range(_AHEAD):
            room.put(True)
        producer = threading.Thread(target=self._produce, args=(ready, room), name="batches", daemon=True)
        producer.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                room.put(True)
                yield item
        finally:
            room.put(False)
            producer.join(_JOIN_SECONDS)

    def _produce(self, ready: queue.SimpleQueue, room: queue.SimpleQueue) -> None:
        try:
            with closing(self._pieces()) as pieces:
                for images, labels in itertools.islice(pieces, self._skipped, None):
                    batch = _tensor(images.reshape(-1, *self._shape)), _tensor(labels)
                    if not room.get():
                        return
                    ready.put(batch)
            ready.put(None)
        except Exception as failure:  # whatever it is, the loop's thread is the one to meet it
            ready.put(failure)


def _tensor(array: np.ndarray) -> tf.Tensor:
    """The array as a tensor; without a copy where its memory is aligned, so it must not be written to again."""
    if array.__array_interface__["data"][0] % ALIGNMENT:
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def for_training(
    source: Source, pictures: Pictures, batch_size: int, buffer: int, seed: int, epoch: int, crc: Crc = "full"
) -> Batches:
    """Shuffled batches of the source's next pass; the last may be smaller.

    The order depends on the numbers given and the order of the records alone, not on how they arrive.
    """

    def pieces() -> Iterator[Piece]:
        generator = np.random.default_rng([seed, epoch])
        return shuffled(_decoded(source, pictures, crc), pictures.bytes, batch_size, buffer, generator)

    return Batches(pieces, pictures)


def for_validation(source: Source, pictures: Pictures, batch_size: int, crc: Crc = "full") -> Batches:
    """Batches of the source's next pass, in the order of the records."""
    return Batches(lambda: in_order(_decoded(source, pictures, crc), pictures.bytes, batch_size), pictures)


def runs(source: Source, framing: Callable[[Stream], Iterator[Run]] = tfrecords) -> Iterator[Run]:
    """The records of the source's next pass; DataError if there is none."""
    records, names = 0, []
    with closing(source.streams()) as streams:
        for stream in streams:
            names.append(stream.name)
            with closing(framing(stream)) as arriving:  # before the stream is: its thread reads from it
                for run in arriving:
                    records += len(run.rows)
                    yield run
    if not records:
        raise DataError(f"{names[0]} is empty: it ended without a record. Are there objects under the channel's S3Uri?")


def _decoded(source: Source, pictures: Pictures, crc: Crc) -> Iterator[Piece]:
    """Pieces as the records arrive, of any size; arrays are valid until the next."""
    lines = source.channel.attributes
    framing = functools.partial(recordio, splits="dmlc") if lines else functools.partial(tfrecords, crc=crc)
    with closing(runs(source, framing)) as arriving:
        if lines:
            yield from encoded.decoded(pictures_of(arriving, source.channel, pictures), pictures)
        else:
            yield from _examples(arriving, pictures)


def _examples(arriving: Iterator[Run], pictures: Pictures) -> Iterator[Piece]:
    """Pixels, or where the first record has a JPEG or PNG file, such files."""
    decoder = ExampleDecoder(pictures.bytes, len(pictures.classes))
    first = next(arriving)
    arriving = itertools.chain([first], arriving)
    if decoder.holds_files(first):
        yield from encoded.decoded(itertools.chain.from_iterable(map(decoder.files, arriving)), pictures)
    else:
        yield from map(decoder.decode, arriving)
