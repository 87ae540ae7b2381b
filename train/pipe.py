"""For your own script: ready batches from a channel, in Pipe, File and FastFile mode alike.

    from train import pipe

    train = pipe.pictures("train", batch_size=128, shuffle=10_000)
    for epoch in range(10):
        for images, labels in train:  # a pass over the channel: in Pipe mode the next FIFO
            model.train_on_batch(images, labels)

`pictures` reads the records that `python -m dataset prepare` writes, or others with JPEG or PNG in `image`, as fast as
the built-in job. `examples` parses any tf.train.Example, `manifest` reads the lines of an augmented manifest, `records`
reads any TFRecord, RecordIO, text or raw records and leaves their meaning to the script. All wait for a FIFO no longer
than `timeout`, check what they read, and raise DataError naming channel, FIFO, record and byte. Leaving the inner loop
early closes the FIFO.
"""

import functools
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np
import tensorflow as tf

from train.errors import DataError, TrainingError
from train.input_pipeline import pipeline
from train.input_pipeline.augmented_manifest import read_manifest_lines
from train.input_pipeline.image_decoder import split_into_groups
from train.records.channels import Source, Stream, open_channel
from train.records.fixed_length import read_fixed_length
from train.records.recordio import Splits, read_recordio
from train.records.stream_buffer import RecordBlock, RecordList
from train.records.text_lines import read_lines
from train.records.tfrecord import Crc, read_tfrecord_lists
from train.runtime import environment
from train.runtime.dataset_info import ImageDatasetInfo, read_dataset_info
from train.runtime.hyperparameters import Hyperparameters

__all__ = ["Batches", "DataError", "PictureBatches", "TrainingError", "examples", "manifest", "pictures", "records"]

Format = Literal["tfrecord", "recordio", "lines", "fixed"]
RecordReader = Callable[[Stream], Generator[RecordBlock | RecordList]]
Item = TypeVar("Item")
_DRAWS = 1024  # random numbers at a time, so that they don't depend on how the bytes happen to arrive


class Batches(Generic[Item]):
    """Every iteration is the channel's next pass: its batches, the last one may be smaller."""

    def __init__(self, make_pass: Callable[[int, int], Iterator[Item]], seed: int) -> None:
        self._make_pass, self._seed = make_pass, seed
        self.epoch = 0  # passes begun; part of the shuffle's seed, so set it in a resumed job

    def __iter__(self) -> Iterator[Item]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._make_pass(self._seed, epoch)


class PictureBatches(Batches[pipeline.TensorBatch]):
    """Batches of pictures (n, height, width, channels) uint8 and labels (n,) int64, as tensors."""

    def __init__(
        self, make_pass: Callable[[int, int], Iterator[pipeline.TensorBatch]], seed: int, content: ImageDatasetInfo
    ) -> None:
        super().__init__(make_pass, seed)
        self.shape, self.classes = content.shape, content.classes


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
    """Batches of pictures and their labels from shards of tf.train.Example with `image` and `label`.

    Args:
        channel: its name in the job's InputDataConfig.
        batch_size: pictures a batch.
        shuffle: pictures in the shuffle buffer; 0 keeps the order of the records.
        seed: of the shuffle; every pass has another order, the same in every run.
        shape: height, width, channels. A dataset channel (File mode, dataset.json) takes precedence.
        classes: names in label order, CIFAR-10's by default. A dataset channel takes precedence.
        crc: which CRCs are checked: "full" those of lengths and data, "header" those of lengths, "off" none.
        timeout: seconds to wait for a FIFO, or for its next byte.
        root: default SAGEMAKER_BASE_DIR, or else /opt/ml.

    Raises:
        TrainingError: no such channel, or an argument out of range. Iterating: DataError.
    """
    _check_minimum(batch_size=(batch_size, 1), shuffle=(shuffle, 0), seed=(seed, 0))
    _check_crc(crc)
    here = _environment(root)
    known: dict[str, Any] = {} if classes is None else {"classes": ",".join(classes)}
    content = read_dataset_info(here, Hyperparameters(image_shape=",".join(map(str, shape)), **known))
    source = open_channel(here.channel(channel), timeout)

    def make_pass(seed: int, epoch: int) -> Iterator[pipeline.TensorBatch]:
        if shuffle:
            return iter(pipeline.for_training(source, content, batch_size, shuffle, seed, epoch, crc))
        return iter(pipeline.for_validation(source, content, batch_size, crc))

    return PictureBatches(make_pass, seed, content)


def records(
    channel: str,
    batch_size: int = 128,
    *,
    format: Format = "tfrecord",  # noqa: A002 - its usual name
    record_bytes: int | None = None,
    splits: Splits | None = None,
    shuffle: int = 0,
    seed: int = 0,
    crc: Crc = "full",
    timeout: float = 300.0,
    root: str | Path | None = None,
) -> Batches[np.ndarray]:
    """Batches (n,) of records as they are, bytes objects.

    Args:
        channel: its name in the job's InputDataConfig.
        batch_size: records a batch.
        format: tfrecord, recordio, lines (without their ends, \\n or \\r\\n) or fixed (raw, `record_bytes` each).
        record_bytes: with `fixed`, and only there.
        splits: how the writer split RecordIO records, if it did: dmlc drops the magic between parts, plain doesn't.
        shuffle, seed, crc, timeout, root: as for `pictures`; `crc` matters for tfrecord alone.

    Raises:
        TrainingError: no such channel, or an argument out of range. Iterating: DataError.
    """
    _check_minimum(batch_size=(batch_size, 1), shuffle=(shuffle, 0), seed=(seed, 0))
    _check_crc(crc)
    read_stream = _record_reader(format, record_bytes, splits, crc)
    source = open_channel(_environment(root).channel(channel), timeout)

    def make_pass(seed: int, epoch: int) -> Iterator[np.ndarray]:
        with closing(_read_contents(source, read_stream)) as contents:
            yield from map(_to_array, _batch(contents, batch_size, shuffle, seed, epoch))

    return Batches(make_pass, seed)


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
) -> Batches[dict[str, Any]]:
    """Batches of tf.train.Examples of any kind, parsed: dictionaries of name → tensor.

    Args:
        channel: its name in the job's InputDataConfig; its objects are TFRecord.
        features: name → FixedLenFeature, VarLenFeature, …, as tf.io.parse_example takes them.
        batch_size: examples a batch.
        shuffle, seed, crc, timeout, root: as for `pictures`.

    Raises:
        TrainingError: no such channel, or an argument out of range. Iterating: DataError, also for an example that
        doesn't fit `features`.
    """
    serialized = records(channel, batch_size, shuffle=shuffle, seed=seed, crc=crc, timeout=timeout, root=root)

    def make_pass(_seed: int, epoch: int) -> Iterator[dict[str, Any]]:
        serialized.epoch = epoch
        return _parse_examples(iter(serialized), channel, dict(features))

    return Batches(make_pass, seed)


def manifest(
    channel: str,
    batch_size: int = 128,
    *,
    attributes: Sequence[str] | None = None,
    shuffle: int = 0,
    seed: int = 0,
    timeout: float = 300.0,
    root: str | Path | None = None,
) -> Batches[dict[str, np.ndarray]]:
    """Batches of an augmented manifest's lines: name of the attribute → (n,) bytes objects.

    Args:
        channel: its name in the job's InputDataConfig.
        batch_size: lines a batch.
        attributes: their names, in the order of AttributeNames; by default those of the request.
        shuffle, seed, timeout, root: as for `pictures`; the records of a line stay together.

    Raises:
        TrainingError: no such channel, no attributes, or an argument out of range. Iterating: DataError.
    """
    _check_minimum(batch_size=(batch_size, 1), shuffle=(shuffle, 0), seed=(seed, 0))
    known = _environment(root).channel(channel)
    names = tuple(attributes or known.attributes)
    if not names:
        raise TrainingError(f"Channel {channel} has no AttributeNames. Expected: S3DataType AugmentedManifestFile.")
    source = open_channel(known, timeout)

    def make_pass(seed: int, epoch: int) -> Iterator[dict[str, np.ndarray]]:
        with closing(pipeline.read_records(source, functools.partial(read_recordio, splits="dmlc"))) as blocks:
            lines = (line for line, _ in read_manifest_lines(blocks, names))
            for batch in _batch(lines, batch_size, shuffle, seed, epoch):
                columns = zip(*batch, strict=True)
                yield {name: _to_array(list(values)) for name, values in zip(names, columns, strict=True)}

    return Batches(make_pass, seed)


def _record_reader(format: str, record_bytes: int | None, splits: Splits | None, crc: Crc) -> RecordReader:  # noqa: A002
    if (format == "fixed") != (record_bytes is not None):
        raise TrainingError(f"record_bytes goes with format fixed. Received: {format}, {record_bytes}.")
    if splits not in (None, "dmlc", "plain"):
        raise TrainingError(f"splits is unknown. Received: {splits}. Expected: dmlc or plain.")
    if record_bytes is not None:
        _check_minimum(record_bytes=(record_bytes, 1))
        return functools.partial(read_fixed_length, size=record_bytes)
    readers: dict[str, RecordReader] = {
        "tfrecord": functools.partial(read_tfrecord_lists, crc=crc),
        "recordio": functools.partial(read_recordio, splits=splits),
        "lines": read_lines,
    }
    if format not in readers:
        raise TrainingError(f"format is unknown. Received: {format}. Expected: {', '.join(readers)} or fixed.")
    return readers[format]


def _check_crc(crc: Crc) -> None:
    if crc not in get_args(Crc):
        raise TrainingError(f"crc is unknown. Received: {crc}. Expected: {', '.join(get_args(Crc))}.")


def _environment(root: str | Path | None) -> environment.Environment:
    return environment.read(Path(root or os.environ.get("SAGEMAKER_BASE_DIR", str(environment.OPT_ML))))


def _check_minimum(**arguments: tuple[int, int]) -> None:
    for name, (value, minimum) in arguments.items():
        if value < minimum:
            raise TrainingError(f"{name} is too small. Received: {value}. Expected: at least {minimum}.")


def _read_contents(source: Source, read_stream: RecordReader) -> Generator[bytes]:
    for found in pipeline.read_records(source, read_stream):
        yield from found.contents()


def _parse_examples(
    batches: Iterator[np.ndarray], channel: str, features: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    first = 0
    for batch in batches:
        try:
            parsed = tf.io.parse_example(tf.constant(batch), features)
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError) as error:
            reason = str(getattr(error, "message", error)).splitlines()[0]
            place = f"channel {channel}, examples {first} to {first + len(batch) - 1} of the pass"
            raise DataError(f"{place}: not as described: {reason}") from None
        first += len(batch)
        yield parsed


def _batch(items: Iterator[Item], batch_size: int, shuffle: int, seed: int, epoch: int) -> Iterator[list[Item]]:
    """The items, shuffled if `shuffle` is not 0, in batches."""
    if shuffle:
        items = _shuffle(items, shuffle, np.random.default_rng([seed, epoch]))
    return split_into_groups(items, batch_size)


def _shuffle(items: Iterator[Item], buffer: int, generator: np.random.Generator) -> Iterator[Item]:
    """The same items, each once: a pool of `buffer` items; the next one replaces one drawn at random."""
    pool: list[Item] = []
    draws: list[int] = []
    for item in items:
        if len(pool) < buffer:
            pool.append(item)
            continue
        draws = draws or generator.integers(0, buffer, _DRAWS).tolist()
        place = draws.pop()
        yield pool[place]
        pool[place] = item
    for place in generator.permutation(len(pool)):
        yield pool[place]


def _to_array(batch: list[bytes]) -> np.ndarray:
    """(n,) object: NumPy's own type for bytes would drop zeros at their ends."""
    array = np.empty(len(batch), object)
    array[:] = batch
    return array
