"""For a script of one's own: ready batches from a channel, in Pipe, File and FastFile mode alike.

    from train import pipe

    train = pipe.pictures("train", batch_size=128, shuffle=10_000)
    for epoch in range(10):
        for images, labels in train:  # a pass over the channel: in Pipe mode the next FIFO
            model.train_on_batch(images, labels)

`pictures` reads the records that `python -m dataset prepare` writes, or others with JPEG or PNG in `image`, at the
built-in job's speed. `examples` parses any tf.train.Example, `manifest` gives the lines of an augmented manifest,
`records` any TFRecord, RecordIO, text or raw records, whose meaning it leaves to the script. All wait for FIFOs with a
limit, check what they read, and raise DataError naming channel, FIFO, record and byte. Leaving the inner loop early
closes the FIFO.
"""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import tensorflow as tf

from train.errors import DataError, TrainingError
from train.input_pipeline import pipeline
from train.input_pipeline.augmented_manifest import tuples
from train.input_pipeline.image_decoder import grouped
from train.records import channels as fifo
from train.records.fixed_length import fixed
from train.records.recordio import Splits, recordio
from train.records.stream_buffer import Lot, Run
from train.records.text_lines import lines
from train.records.tfrecord import Crc, tfrecords_or_lots
from train.runtime import environment
from train.runtime.dataset_info import ImageDatasetInfo, read_dataset_info
from train.runtime.hyperparameters import Hyperparameters

__all__ = [
    "DataError", "ExampleBatches", "ManifestBatches", "PictureBatches", "RecordBatches", "TrainingError", "examples",
    "manifest", "pictures", "records",
]  # fmt: skip

Format = Literal["tfrecord", "recordio", "lines", "fixed"]
Framing = Callable[[fifo.Stream], Iterator[Run | Lot]]
Item = TypeVar("Item")
_DRAWS = 1024  # random numbers at a time: drawing does not depend on how the bytes happen to arrive


class PictureBatches:
    """Every iteration is the channel's next pass: batches of pictures (n, height, width, channels) uint8 and labels
    (n,) int64, as tensors; the last one may be smaller."""

    def __init__(
        self,
        source: fifo.Source,
        content: ImageDatasetInfo,
        batch_size: int,
        shuffle: int,
        seed: int,
        crc: Crc = "full",
    ) -> None:
        self._source, self._content, self._crc = source, content, crc
        self._batch_size, self._shuffle, self._seed = batch_size, shuffle, seed
        self.shape, self.classes = content.shape, content.classes
        self.epoch = 0  # passes begun; part of the shuffling's seed, so set it where a resumed job continues

    def __iter__(self) -> Iterator[pipeline.Batch]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        if self._shuffle:
            order = self._batch_size, self._shuffle, self._seed, epoch
            return iter(pipeline.for_training(self._source, self._content, *order, self._crc))
        return iter(pipeline.for_validation(self._source, self._content, self._batch_size, self._crc))


class RecordBatches:
    """Every iteration is the channel's next pass: batches (n,) of bytes objects, the last one may be smaller."""

    def __init__(self, source: fifo.Source, framing: Framing, batch_size: int, shuffle: int, seed: int) -> None:
        self._source, self._framing = source, framing
        self._batch_size, self._shuffle, self._seed = batch_size, shuffle, seed
        self.epoch = 0  # passes begun; part of the shuffling's seed, so set it where a resumed job continues

    def __iter__(self) -> Iterator[np.ndarray]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._pass(np.random.default_rng([self._seed, epoch]))

    def _pass(self, generator: np.random.Generator) -> Iterator[np.ndarray]:
        with closing(self._records()) as arriving:
            mixed = _shuffled(arriving, self._shuffle, generator) if self._shuffle else arriving
            yield from map(_array, grouped(mixed, self._batch_size))

    def _records(self) -> Iterator[bytes]:
        for found in pipeline.runs(self._source, self._framing):
            yield from found.contents()


class ExampleBatches:
    """Every iteration is the channel's next pass: batches as dictionaries of name → tensor, the last may be smaller."""

    def __init__(self, whole: RecordBatches, channel: str, features: Mapping[str, Any]) -> None:
        self._records, self._channel, self._features = whole, channel, dict(features)

    @property
    def epoch(self) -> int:
        """Passes begun; part of the shuffling's seed, so set it where a resumed job continues."""
        return self._records.epoch

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._records.epoch = value

    def __iter__(self) -> Iterator[dict[str, Any]]:
        seen = 0
        for batch in self._records:
            try:
                parsed = tf.io.parse_example(tf.constant(batch), self._features)
            except (tf.errors.InvalidArgumentError, UnicodeDecodeError) as error:
                first = str(getattr(error, "message", error)).splitlines()[0]
                raise DataError(
                    f"channel {self._channel}, examples {seen} to {seen + len(batch) - 1} of the pass: not as "
                    f"described: {first}"
                ) from None
            seen += len(batch)
            yield parsed


class ManifestBatches:
    """Every iteration is the channel's next pass: batches of lines, name of the attribute → (n,) bytes objects."""

    def __init__(self, source: fifo.Source, names: tuple[str, ...], batch_size: int, shuffle: int, seed: int) -> None:
        self._source, self._names = source, names
        self._batch_size, self._shuffle, self._seed = batch_size, shuffle, seed
        self.epoch = 0  # passes begun; part of the shuffling's seed, so set it where a resumed job continues

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._pass(np.random.default_rng([self._seed, epoch]))

    def _pass(self, generator: np.random.Generator) -> Iterator[dict[str, np.ndarray]]:
        runs = pipeline.runs(self._source, functools.partial(recordio, splits="dmlc"))
        with closing(runs):
            arriving = (line for line, _ in tuples(runs, self._names))
            mixed = _shuffled(arriving, self._shuffle, generator) if self._shuffle else arriving
            for batch in grouped(mixed, self._batch_size):
                columns = zip(*batch, strict=True)
                yield {name: _array(list(values)) for name, values in zip(self._names, columns, strict=True)}


def pictures(
    channel: str,
    batch_size: int = 128,
    *,
    shuffle: int = 0,
    seed: int = 0,
    shape: tuple[int, int, int] = (32, 32, 3),
    classes: Sequence[str] | None = None,
    crc: Crc = "full",
    timeout: float = 300.0,
    root: str | Path | None = None,
) -> PictureBatches:
    """Batches of pictures and labels from shards of tf.train.Example with `image` and `label`.

    Args:
        channel: its name in the job's InputDataConfig.
        batch_size: pictures a batch.
        shuffle: pictures held for shuffling; 0 keeps the order of the records.
        seed: of the shuffling; every pass has another order, the same in every run.
        shape: height, width, channels. A dataset channel (File mode, dataset.json) says better, and goes first.
        classes: names in label order, CIFAR-10's by default. The same holds.
        crc: which CRCs of the records are checked: "full" of lengths and data, "header" of lengths, "off" none.
        timeout: seconds to wait for a FIFO, or for its next byte.
        root: default SAGEMAKER_BASE_DIR, or else /opt/ml.

    Raises:
        TrainingError: no such channel, or an argument out of range. Iterating: DataError.
    """
    _in_range(batch_size=(batch_size, 1), shuffle=(shuffle, 0), seed=(seed, 0))
    here = _environment(root)
    known = {} if classes is None else {"classes": ",".join(classes)}
    content = read_dataset_info(here, Hyperparameters(image_shape=",".join(map(str, shape)), **known))
    return PictureBatches(fifo.source(here.channel(channel), timeout), content, batch_size, shuffle, seed, _known(crc))


def records(
    channel: str,
    batch_size: int = 128,
    *,
    format: Format = "tfrecord",  # noqa: A002 - what it is called everywhere
    record_bytes: int | None = None,
    splits: Splits | None = None,
    shuffle: int = 0,
    seed: int = 0,
    crc: Crc = "full",
    timeout: float = 300.0,
    root: str | Path | None = None,
) -> RecordBatches:
    """Batches of records as they are.

    Args:
        channel: its name in the job's InputDataConfig.
        batch_size: records a batch.
        format: tfrecord, recordio, lines (without their ends, \\n or \\r\\n) or fixed (raw, `record_bytes` each).
        record_bytes: with `fixed`, and only there.
        splits: how the writer split RecordIO records, if it did: dmlc drops the magic between parts, plain nothing.
        shuffle, seed, crc, timeout, root: as for `pictures`; `crc` matters for tfrecord alone.

    Raises:
        TrainingError: no such channel, or an argument out of range. Iterating: DataError.
    """
    _in_range(batch_size=(batch_size, 1), shuffle=(shuffle, 0), seed=(seed, 0))
    framing = _framing(format, record_bytes, splits, _known(crc))
    return RecordBatches(fifo.source(_environment(root).channel(channel), timeout), framing, batch_size, shuffle, seed)


def examples(
    channel: str,
    features: Mapping[str, Any],
    batch_size: int = 128,
    *,
    shuffle: int = 0,
    seed: int = 0,
    crc: Crc = "full",
    timeout: float = 300.0,
    root: str | Path | None = None,
) -> "ExampleBatches":
    """Batches of tf.train.Examples of any kind, parsed.

    Args:
        channel: its name in the job's InputDataConfig; its objects are TFRecord.
        features: name → FixedLenFeature, VarLenFeature, …, as tf.io.parse_example takes them.
        batch_size: examples a batch.
        shuffle, seed, crc, timeout, root: as for `pictures`.

    Raises:
        TrainingError: no such channel, or an argument out of range. Iterating: DataError, also for an example that is
        not as described.
    """
    whole = records(channel, batch_size, shuffle=shuffle, seed=seed, crc=crc, timeout=timeout, root=root)
    return ExampleBatches(whole, channel, features)


def manifest(
    channel: str,
    batch_size: int = 128,
    *,
    attributes: Sequence[str] | None = None,
    shuffle: int = 0,
    seed: int = 0,
    timeout: float = 300.0,
    root: str | Path | None = None,
) -> "ManifestBatches":
    """Batches of an augmented manifest's lines: name of the attribute → (n,) bytes objects.

    Args:
        channel: its name in the job's InputDataConfig.
        batch_size: lines a batch.
        attributes: their names, in the order of AttributeNames; by default those of the request.
        shuffle, seed, timeout, root: as for `pictures`; lines stay whole.

    Raises:
        TrainingError: no such channel, no attributes, or an argument out of range. Iterating: DataError.
    """
    _in_range(batch_size=(batch_size, 1), shuffle=(shuffle, 0), seed=(seed, 0))
    known = _environment(root).channel(channel)
    names = tuple(attributes or known.attributes)
    if not names:
        raise TrainingError(f"Channel {channel} has no AttributeNames. Expected: S3DataType AugmentedManifestFile.")
    return ManifestBatches(fifo.source(known, timeout), names, batch_size, shuffle, seed)


def _framing(format: str, record_bytes: int | None, splits: Splits | None, crc: Crc) -> Framing:  # noqa: A002
    if (format == "fixed") != (record_bytes is not None):
        raise TrainingError(f"record_bytes goes with format fixed. Received: {format}, {record_bytes}.")
    if splits not in (None, "dmlc", "plain"):
        raise TrainingError(f"splits is unknown. Received: {splits}. Expected: dmlc or plain.")
    if format == "fixed":
        _in_range(record_bytes=(record_bytes, 1))
        return functools.partial(fixed, size=record_bytes)
    framings = {
        "tfrecord": functools.partial(tfrecords_or_lots, crc=crc),
        "recordio": functools.partial(recordio, splits=splits),
        "lines": lines,
    }
    if format not in framings:
        raise TrainingError(f"format is unknown. Received: {format}. Expected: {', '.join(framings)} or fixed.")
    return framings[format]


def _known(crc: Crc) -> Crc:
    if crc not in get_args(Crc):
        raise TrainingError(f"crc is unknown. Received: {crc}. Expected: {', '.join(get_args(Crc))}.")
    return crc


def _environment(root: str | Path | None) -> environment.Environment:
    return environment.read(Path(root or os.environ.get("SAGEMAKER_BASE_DIR", environment.OPT_ML)))


def _in_range(**arguments: tuple[int, int]) -> None:
    for name, (value, least) in arguments.items():
        if value < least:
            raise TrainingError(f"{name} is too small. Received: {value}. Expected: at least {least}.")


def _shuffled(arriving: Iterator[Item], buffer: int, generator: np.random.Generator) -> Iterator[Item]:
    """The same records, each once: a pool of `buffer`; the next one takes the place of one drawn at random."""
    pool: list[Item] = []
    draws: list[int] = []
    for record in arriving:
        if len(pool) < buffer:
            pool.append(record)
            continue
        draws = draws or generator.integers(0, buffer, _DRAWS).tolist()
        place = draws.pop()
        yield pool[place]
        pool[place] = record
    for place in generator.permutation(len(pool)):
        yield pool[place]


def _array(batch: list[bytes]) -> np.ndarray:
    """(n,) object: NumPy's own type for bytes would drop zeros at their ends."""
    array = np.empty(len(batch), object)
    array[:] = batch
    return array
