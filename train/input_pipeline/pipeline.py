"""Records → shuffled batches. One path for Pipe, File and FastFile; NumPy on a thread, tensors at its end.

Not tf.data: measured on two cores, a pass over 50,000 pictures pays 0.15 s for building the dataset and 1 µs a picture
for handing it over, and Dataset.from_generator (TensorFlow 2.21, M_TRIM_THRESHOLD in generator_dataset_op.cc) has
malloc return memory to the kernel so eagerly that training takes twice the time, in page faults.
"""

import contextlib
import functools
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

import numpy as np
import tensorflow as tf

from train.errors import NoRecordsError
from train.input_pipeline import image_decoder as encoded
from train.input_pipeline.augmented_manifest import pictures_of
from train.input_pipeline.batch_ring import ALIGNMENT
from train.input_pipeline.example_decoder import ExampleDecoder
from train.input_pipeline.host_sharding import WHOLE, Share
from train.input_pipeline.shuffle import Piece, in_order, shuffled
from train.records.channels import Source, Stream
from train.records.recordio import recordio
from train.records.stream_buffer import Lot, Run
from train.records.tfrecord import Crc, tfrecords, tfrecords_or_lots
from train.runtime.dataset_info import ImageDatasetInfo

_TOGETHER = 1024  # pictures: a sleeping loop is woken for so many at once, since waking it costs as much as 50
_AHEAD, _AHEAD_BYTES = 2 * _TOGETHER, 8 << 20  # pictures ready before the loop asks; or four batches if that is more
_WAKE_SECONDS = 0.002  # a loop that waits takes what is there at least that often
_IN_USE = 4  # batches that the loop may hold without their being copied
_JOIN_SECONDS = 1.0

Found = TypeVar("Found", bound=Run | Lot)
Batch = tuple[tf.Tensor, tf.Tensor]  # pictures (n, height, width, channels) uint8, labels (n,) int64


class Batches:
    """One pass over a channel, read ahead by a thread. Iterating raises what ended the pass early, as it is."""

    def __init__(self, pieces: Callable[[], Iterator[Piece]], pictures: ImageDatasetInfo, batch_size: int) -> None:
        self._pieces, self._shape, self._skipped = pieces, pictures.shape, 0
        self._ahead = ahead(batch_size, pictures.bytes)
        self._together = min(max(1, _TOGETHER // batch_size), self._ahead // 2)

    def skip(self, steps: int) -> "Batches":
        """The pass without its first `steps` batches, which are read all the same: a resumed epoch."""
        self._skipped += steps
        return self

    def __iter__(self) -> Iterator[Batch]:
        ready: deque[Batch | Exception | None] = deque()
        room: queue.SimpleQueue[bool] = queue.SimpleQueue()  # a True for each batch that may be made, False to end
        wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self._ahead):
            room.put(True)
        producer = threading.Thread(target=self._produce, args=(ready, room, wake), name="batches", daemon=True)
        producer.start()
        try:
            while (item := _next(ready, wake)) is not None:
                if isinstance(item, Exception):
                    raise item
                room.put(True)
                yield item
        finally:
            room.put(False)
            producer.join(_JOIN_SECONDS)

    def _produce(self, ready: deque, room: queue.SimpleQueue, wake: queue.SimpleQueue) -> None:
        last = None
        try:
            with closing(self._pieces()) as pieces:
                for number, (images, labels) in enumerate(itertools.islice(pieces, self._skipped, None), start=1):
                    batch = _tensor(images.reshape(-1, *self._shape)), _tensor(labels)
                    if not room.get():
                        return
                    ready.append(batch)
                    if number % self._together == 0:
                        wake.put(None)
        except Exception as failure:  # whatever it is, the loop's thread is the one to meet it
            last = failure
        ready.append(last)
        wake.put(None)


def ahead(batch_size: int, width: int) -> int:
    """Batches of pictures of `width` bytes that may be ready before they are asked for."""
    return max(4, min(_AHEAD // batch_size, _AHEAD_BYTES // (batch_size * width)))


def _next(ready: deque, wake: queue.SimpleQueue) -> Batch | Exception | None:
    """What comes next; waits for it."""
    while not ready:
        with contextlib.suppress(queue.Empty):
            wake.get(timeout=_WAKE_SECONDS)
    return ready.popleft()


def _tensor(array: np.ndarray) -> tf.Tensor:
    """The array as a tensor; without a copy where its memory is aligned, so it must not be written to again."""
    if array.__array_interface__["data"][0] % ALIGNMENT:
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def for_training(
    source: Source,
    pictures: ImageDatasetInfo,
    batch_size: int,
    buffer: int,
    seed: int,
    epoch: int,
    crc: Crc = "full",
    share: Share = WHOLE,
) -> Batches:
    """Shuffled batches of the source's next pass; the last may be smaller.

    The order depends on the numbers given and the order of the records alone, not on how they arrive. `share` is this
    host's part of them.
    """

    def pieces() -> Iterator[Piece]:
        size, lent = batch_size * share.parts, ahead(batch_size, pictures.bytes) + _IN_USE
        generator = np.random.default_rng([seed, epoch, *share.seed])

        def mix(arriving: Iterator[Piece], width: int) -> Iterator[Piece]:
            return shuffled(arriving, width, size, buffer, generator, lent)

        return share.of(_batches(source, pictures, crc, size, lent, mix))

    return Batches(pieces, pictures, batch_size)


def for_validation(
    source: Source, pictures: ImageDatasetInfo, batch_size: int, crc: Crc = "full", share: Share = WHOLE
) -> Batches:
    """Batches of the source's next pass, in the order of the records; this host's `share` of each."""

    def pieces() -> Iterator[Piece]:
        size, lent = batch_size * share.parts, ahead(batch_size, pictures.bytes) + _IN_USE
        return share.of(_batches(source, pictures, crc, size, lent, None))

    return Batches(pieces, pictures, batch_size)


def runs(source: Source, framing: Callable[[Stream], Iterator[Found]] = tfrecords) -> Iterator[Found]:
    """The records of the source's next pass; NoRecordsError if there is none."""
    some, names = False, []
    with closing(source.streams()) as streams:
        for stream in streams:
            names.append(stream.name)
            with closing(framing(stream)) as arriving:  # before the stream is: its thread reads from it
                for found in arriving:
                    some = True
                    yield found
    if not some:
        raise NoRecordsError(
            f"{names[0]} is empty: it ended without a record. Are there objects under the channel's S3Uri?"
        )


def _batches(
    source: Source, pictures: ImageDatasetInfo, crc: Crc, size: int, lent: int, mix: encoded.Mix | None
) -> Iterator[Piece]:
    """Batches of `size`, shuffled by `mix` if it is given; the first record decides how pictures are stored."""

    def in_batches(arriving: Iterator[Piece]) -> Iterator[Piece]:
        return in_order(arriving, pictures.bytes, size, lent)

    if source.channel.attributes:
        with closing(runs(source, functools.partial(recordio, splits="dmlc"))) as arriving:
            lines = pictures_of(arriving, source.channel, pictures)
            files = encoded.files(encoded.mixed(lines, mix) if mix else lines)
            yield from in_batches(encoded.decoded(files, pictures))
        return
    decoder = ExampleDecoder(pictures.bytes, len(pictures.classes))
    framing = functools.partial(tfrecords_or_lots, crc=crc, in_lots=decoder.holds_files)
    with closing(runs(source, framing)) as arriving:
        first = next(arriving)
        together = itertools.chain([first], arriving)
        if isinstance(first, Run):
            pieces = (decoder.decode(found) for found in together)
            yield from mix(pieces, pictures.bytes) if mix else in_batches(pieces)
        else:
            items = encoded.serialized(together)
            examples = encoded.examples(encoded.mixed(items, mix) if mix else items, pictures, decoder.file)
            yield from in_batches(encoded.decoded(examples, pictures))
