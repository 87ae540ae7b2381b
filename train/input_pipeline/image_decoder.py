"""JPEG and PNG pictures in records → pixels, decoded on every core, in the order of the records."""

import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from train.errors import DataError
from train.records.stream_buffer import Lot, place
from train.runtime.dataset_info import ImageDatasetInfo

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_KINDS: dict[bytes, tuple[str, bytes, Callable[..., tf.Tensor]]] = {
    _JPEG: ("JPEG", b"\xff\xd9", tf.raw_ops.DecodeJpeg),
    _PNG: ("PNG", b"IEND\xaeB`\x82", tf.raw_ops.DecodePng),
}
_TOGETHER = 64  # pictures that are decoded, and leave, together at most


Decoded = tuple[np.ndarray, np.ndarray]  # pictures (n, bytes) uint8, labels (n,) int64


@dataclass(frozen=True)
class Encoded:
    """A picture as its record holds it, and where the record is, for messages."""

    data: bytes
    label: int
    where: str


class Serialized(NamedTuple):
    """A tf.train.Example, and where it is."""

    record: bytes
    stream: str
    number: int
    offset: int


Item = TypeVar("Item")
Mix = Callable[[Iterator[Decoded], int], Iterator[Decoded]]  # (pictures of so many bytes) → batches of them, shuffled


def kind(data: bytes) -> str | None:
    """JPEG or PNG if the bytes begin as such a file does, else None."""
    return next((found[0] for magic, found in _KINDS.items() if data.startswith(magic)), None)


def is_whole(data: bytes) -> bool:
    """Whether the bytes begin and end as such a file does: raw pixels of the right number might begin so by chance."""
    return any(data.startswith(magic) and found[1] in data[-16:] for magic, found in _KINDS.items())


class Files:
    """A group of pictures, decoded one after the other."""

    def __init__(self, items: Sequence[Encoded]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def decode(self, pictures: ImageDatasetInfo, images: np.ndarray) -> Decoded:
        """Pictures (n, bytes) uint8, in the memory of `images` if need be, and labels (n,) int64. DataError as
        `decoded` says."""
        with tf.device("CPU:0"):
            for item, image in zip(self.items, images, strict=True):
                image[:] = _pixels(item, pictures)
        return images, np.array([item.label for item in self.items], np.int64)


class Examples:
    """A group of serialised tf.train.Examples, parsed and decoded in one call of `graph`.

    What it can't take, `careful` looks at again, record by record, to say what is wrong or do without it.
    """

    def __init__(
        self, items: Sequence[Serialized], graph: Callable[..., Any], careful: Callable[[bytes, str], Encoded]
    ) -> None:
        self._items, self._graph, self._careful = items, graph, careful

    def __len__(self) -> int:
        return len(self._items)

    def decode(self, pictures: ImageDatasetInfo, images: np.ndarray) -> Decoded:
        """As Files'."""
        try:
            found, labels = self._graph(tf.constant([item.record for item in self._items]))
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):  # the latter in making its text
            items = [self._careful(item.record, place(item.stream, item.number, item.offset)) for item in self._items]
            return Files(items).decode(pictures, images)
        return np.frombuffer(memoryview(found), np.uint8).reshape(images.shape), labels.numpy()


@functools.cache  # making it takes as long as a thousand pictures
def graph(pictures: ImageDatasetInfo) -> Callable[..., Any]:
    """(n,) serialised examples → pictures (n, height, width, channels) uint8 and labels (n,) int64, on every core.

    InvalidArgumentError for whatever is not an Example with one JPEG or PNG of that size and one label in range.
    """
    features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}

    def decode(data: tf.Tensor) -> tf.Tensor:
        image = tf.raw_ops.DecodeImage(contents=data, channels=pictures.shape[2], expand_animations=False)
        return tf.ensure_shape(image, pictures.shape)

    def whole(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.device("CPU:0"):
            parsed = tf.io.parse_example(records, features)
            files, labels = parsed["image"], parsed["label"]
            jpeg = tf.strings.substr(files, 0, len(_JPEG)) == _JPEG
            png = tf.strings.substr(files, 0, len(_PNG)) == _PNG
            fit = (labels >= 0) & (labels < len(pictures.classes)) & (jpeg | png)
            with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(fit), ["a label or a file"])]):
                files = tf.identity(files)
            if records.shape[0]:  # side by side: a loop's steps cost a twentieth of a picture each
                return tf.stack([decode(data) for data in tf.unstack(files)]), labels
            return tf.map_fn(decode, files, fn_output_signature=tf.TensorSpec(pictures.shape, tf.uint8)), labels

    full, some = (
        tf.function(whole, input_signature=[tf.TensorSpec((size,), tf.string)], autograph=False)
        for size in (_TOGETHER, None)
    )
    return lambda records: full(records) if records.shape[0] == _TOGETHER else some(records)


def decoded(groups: Iterator[Files | Examples], pictures: ImageDatasetInfo) -> Iterator[Decoded]:
    """Pictures (n, bytes) uint8, valid until the next, and labels (n,) int64. DataError, naming the record, for a
    picture that can't be decoded, or has another size than `pictures` says; its colours are converted.
    """
    cores = len(os.sched_getaffinity(0))
    memory = itertools.cycle([np.empty((_TOGETHER, pictures.bytes), np.uint8) for _ in range(cores + 2)])
    with ThreadPoolExecutor(cores, thread_name_prefix="decode") as pool:
        under_way: deque[Future[Decoded]] = deque()
        for group in groups:
            under_way.append(pool.submit(group.decode, pictures, next(memory)[: len(group)]))
            if len(under_way) > cores:
                yield under_way.popleft().result()
        for group in under_way:
            yield group.result()


def serialized(lots: Iterator[Lot]) -> Iterator[Serialized]:
    """The records one by one."""
    for lot in lots:
        for row, record in enumerate(lot.records):
            yield Serialized(record, lot.stream, lot.first + row, lot.offsets[row])


def examples(
    items: Iterator[Serialized], pictures: ImageDatasetInfo, careful: Callable[[bytes, str], Encoded]
) -> Iterator[Examples]:
    """Groups of examples; `careful` makes a picture of one, or raises DataError."""
    whole = graph(pictures)
    for group in grouped(items):
        yield Examples(group, whole, careful)


def files(items: Iterator[Encoded]) -> Iterator[Files]:
    """Groups of pictures."""
    return map(Files, grouped(items))


def grouped(items: Iterator[Item], size: int = _TOGETHER) -> Iterator[list[Item]]:
    """In groups of `size`, by default of as many as are decoded together; the last one may be smaller."""
    while group := list(itertools.islice(items, size)):
        yield group


def mixed(items: Iterator[Item], mix: Mix) -> Iterator[Item]:
    """The items in the order in which `mix` would bring pictures: shuffled before they are decoded, they take the
    memory of files rather than pixels. `mix` gets their numbers for pictures.
    """
    held: dict[int, Item] = {}

    def numbers() -> Iterator[Decoded]:
        count = 0
        for group in grouped(items):
            some = np.arange(count, count + len(group))
            held.update(zip(some.tolist(), group, strict=True))
            count += len(group)
            yield some.view(np.uint8).reshape(-1, some.itemsize), some

    for _, order in mix(numbers(), np.dtype(np.int64).itemsize):
        yield from [held.pop(number) for number in order.tolist()]


def _pixels(item: Encoded, pictures: ImageDatasetInfo) -> np.ndarray:
    found = next((found for magic, found in _KINDS.items() if item.data.startswith(magic)), None)
    if found is None:
        raise DataError(
            f"{item.where}: image is neither JPEG nor PNG. Received: {item.data[:8].hex(' ') or 'nothing'}. Expected: "
            "what the channel's first record is."
        )
    name, _, decode = found
    height, width, channels = pictures.shape
    try:
        image = decode(contents=item.data, channels=channels)
    except tf.errors.InvalidArgumentError as error:
        raise DataError(f"{item.where}: the {name} can't be decoded: {str(error.message).splitlines()[0]}.") from None
    if image.shape != pictures.shape:
        raise DataError(
            f"{item.where}: the {name} has another size. Received: {image.shape[0]}×{image.shape[1]}. Expected: "
            f"{height}×{width} pixels. Does image-shape fit the data? `python -m dataset prepare` makes pictures equal."
        )
    return np.frombuffer(memoryview(image), np.uint8)  # numpy() would copy
