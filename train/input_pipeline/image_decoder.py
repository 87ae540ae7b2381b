"""JPEG and PNG pictures in records → pixels, decoded on all cores, in the order of the records."""

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
from train.input_pipeline.batch_ring import Batch
from train.records.stream_buffer import RecordList, format_location
from train.runtime.dataset_info import ImageDatasetInfo

CONVERT = "`python -m dataset prepare` converts pictures"
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_FORMATS: dict[bytes, tuple[str, bytes, Callable[..., tf.Tensor]]] = {
    _JPEG: ("JPEG", b"\xff\xd9", tf.raw_ops.DecodeJpeg),
    _PNG: ("PNG", b"IEND\xaeB`\x82", tf.raw_ops.DecodePng),
}
_OTHERS = {
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
}
_PNG_SIZE = slice(16, 24)  # width and height, big endian: the header's first chunk is always IHDR
_GROUP = 64  # pictures that are decoded together at most


@dataclass(frozen=True)
class EncodedImage:
    """A picture's file, its label, and the location of its record, for messages."""

    data: bytes
    label: int
    location: str


class SerializedExample(NamedTuple):
    """A tf.train.Example, and where it is."""

    record: bytes
    stream: str
    number: int
    offset: int


Item = TypeVar("Item")
SlowParser = Callable[[bytes, str], EncodedImage]  # (serialised example, its location); DataError if it is wrong
Shuffle = Callable[[Iterator[Batch], int], Iterator[Batch]]  # (batches, bytes of a picture) → batches of them, shuffled


def image_format(data: bytes) -> str | None:
    """JPEG or PNG if the bytes begin like such a file, else None."""
    return next((name for magic, (name, _, _) in _FORMATS.items() if data.startswith(magic)), None)


def is_complete(data: bytes) -> bool:
    """Whether the bytes begin and end like such a file: raw pixels may begin like one by chance."""
    return any(data.startswith(magic) and end in data[-16:] for magic, (_, end, _) in _FORMATS.items())


def name_format(data: bytes) -> str | None:
    """The format of a picture's file by its first bytes, also one that is not decoded here."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith(b"BM") and int.from_bytes(data[2:6], "little") == len(data):
        return "BMP"
    if data[4:8] == b"ftyp":
        return {b"avif": "AVIF", b"heic": "HEIC"}.get(data[8:12], "HEIF")
    return image_format(data) or next((name for magic, name in _OTHERS.items() if data.startswith(magic)), None)


class ImageFileGroup:
    """A group of pictures, decoded one after the other."""

    def __init__(self, items: Sequence[EncodedImage]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def decode(self, pictures: ImageDatasetInfo, images: np.ndarray) -> Batch:
        """Pictures (n, bytes) uint8, perhaps in the memory of `images`, and labels (n,) int64. Errors: `decode`'s."""
        with tf.device("CPU:0"):
            for item, image in zip(self.items, images, strict=True):
                image[:] = _decode_image(item, pictures)
        return images, np.array([item.label for item in self.items], np.int64)


class ExampleGroup:
    """A group of serialised tf.train.Examples, parsed and decoded in one call of `graph`.

    If the graph fails, `slow_parser` parses the examples one by one, to name the wrong one or to decode them all the
    same.
    """

    def __init__(self, items: Sequence[SerializedExample], graph: Callable[..., Any], slow_parser: SlowParser) -> None:
        self._items, self._graph, self._slow_parser = items, graph, slow_parser

    def __len__(self) -> int:
        return len(self._items)

    def decode(self, pictures: ImageDatasetInfo, images: np.ndarray) -> Batch:
        """As ImageFileGroup's."""
        try:
            pixels, labels = self._graph(tf.constant([item.record for item in self._items]))
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError):  # the latter while TensorFlow words the former
            items = [
                self._slow_parser(item.record, format_location(item.stream, item.number, item.offset))
                for item in self._items
            ]
            return ImageFileGroup(items).decode(pictures, images)
        return np.frombuffer(memoryview(pixels), np.uint8).reshape(images.shape), labels.numpy()


@functools.cache  # building it takes as long as decoding a thousand pictures
def build_graph(pictures: ImageDatasetInfo) -> Callable[..., Any]:
    """(n,) serialised examples → pictures (n, height, width, channels) uint8 and labels (n,) int64, on all cores.

    InvalidArgumentError unless each is an Example with one JPEG or PNG of that size and one label in range. The size is
    read from the files' headers first: what is decoded fits into memory.
    """
    height, width, channels = pictures.shape
    png_size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    tiny = tf.io.encode_jpeg(tf.zeros((1, 1, 3), tf.uint8)).numpy()
    features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}

    def decode_one(data: tf.Tensor) -> tf.Tensor:
        image = tf.raw_ops.DecodeImage(contents=data, channels=channels, expand_animations=False)
        return tf.ensure_shape(image, pictures.shape)

    def have_size(files: tf.Tensor, jpeg: tf.Tensor) -> tf.Tensor:
        jpegs = tf.where(jpeg, files, tiny)
        if files.shape[0]:
            shapes = tf.stack([tf.image.extract_jpeg_shape(data) for data in tf.unstack(jpegs)])
        else:
            shapes = tf.map_fn(tf.image.extract_jpeg_shape, jpegs, fn_output_signature=tf.TensorSpec(3, tf.int32))
        fit = tf.reduce_all(shapes[:, :2] == (height, width), axis=1)
        return tf.where(jpeg, fit, tf.strings.substr(files, _PNG_SIZE.start, len(png_size)) == png_size)

    def decode_all(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.device("CPU:0"):
            parsed = tf.io.parse_example(records, features)
            files, labels = parsed["image"], parsed["label"]
            jpeg = tf.strings.substr(files, 0, len(_JPEG)) == _JPEG
            png = tf.strings.substr(files, 0, len(_PNG)) == _PNG
            fit = (labels >= 0) & (labels < len(pictures.classes)) & (jpeg | png) & have_size(files, jpeg)
            with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(fit), ["a label or a file"])]):
                files = tf.identity(files)
            if records.shape[0]:  # unrolled: a step of a loop costs a twentieth of a picture
                return tf.stack([decode_one(data) for data in tf.unstack(files)]), labels
            return tf.map_fn(decode_one, files, fn_output_signature=tf.TensorSpec(pictures.shape, tf.uint8)), labels

    full_group, any_group = (
        tf.function(decode_all, input_signature=[tf.TensorSpec((size,), tf.string)], autograph=False)
        for size in (_GROUP, None)
    )
    return lambda records: full_group(records) if records.shape[0] == _GROUP else any_group(records)


def decode(groups: Iterator[ImageFileGroup | ExampleGroup], pictures: ImageDatasetInfo) -> Iterator[Batch]:
    """Pictures (n, bytes) uint8, valid until the next batch, and labels (n,) int64. Converts the number of colours.

    DataError, naming the record, for a picture that can't be decoded or has another size than `pictures` says.
    """
    cores = len(os.sched_getaffinity(0))
    memory = itertools.cycle([np.empty((_GROUP, pictures.bytes), np.uint8) for _ in range(cores + 2)])
    with ThreadPoolExecutor(cores, thread_name_prefix="decode") as pool:
        under_way: deque[Future[Batch]] = deque()
        for group in groups:
            under_way.append(pool.submit(group.decode, pictures, next(memory)[: len(group)]))
            if len(under_way) > cores:
                yield under_way.popleft().result()
        for decoded in under_way:
            yield decoded.result()


def split_lists(lists: Iterator[RecordList]) -> Iterator[SerializedExample]:
    """The lists' records one by one."""
    for records in lists:
        for row, record in enumerate(records.records):
            yield SerializedExample(record, records.stream, records.first + row, records.offsets[row])


def group_examples(
    items: Iterator[SerializedExample], pictures: ImageDatasetInfo, slow_parser: SlowParser
) -> Iterator[ExampleGroup]:
    """Groups of examples, to be decoded together."""
    graph = build_graph(pictures)
    for group in split_into_groups(items):
        yield ExampleGroup(group, graph, slow_parser)


def group_images(items: Iterator[EncodedImage]) -> Iterator[ImageFileGroup]:
    """Groups of pictures, to be decoded together."""
    return map(ImageFileGroup, split_into_groups(items))


def split_into_groups(items: Iterator[Item], size: int = _GROUP) -> Iterator[list[Item]]:
    """Groups of `size` items; the last one may be smaller."""
    while group := list(itertools.islice(items, size)):
        yield group


def shuffle_before_decode(items: Iterator[Item], shuffle: Shuffle) -> Iterator[Item]:
    """The items in the order in which `shuffle` would return pictures: files take less memory than pixels.

    `shuffle` gets the items' numbers in place of pictures.
    """
    waiting: dict[int, Item] = {}

    def number_items() -> Iterator[Batch]:
        count = 0
        for group in split_into_groups(items):
            numbers = np.arange(count, count + len(group))
            waiting.update(zip(numbers.tolist(), group, strict=True))
            count += len(group)
            yield numbers.view(np.uint8).reshape(-1, numbers.itemsize), numbers

    for _, order in shuffle(number_items(), np.dtype(np.int64).itemsize):
        yield from [waiting.pop(number) for number in order.tolist()]


def _decode_image(item: EncodedImage, pictures: ImageDatasetInfo) -> np.ndarray:
    known = next((known for magic, known in _FORMATS.items() if item.data.startswith(magic)), None)
    if known is None:
        received = name_format(item.data) or item.data[:8].hex(" ") or "nothing"
        raise DataError(
            f"{item.location}: image is neither JPEG nor PNG. Received: {received}. "
            f"Expected: what the channel's first record is. {CONVERT}."
        )
    name, _, decode_file = known
    height, width, channels = pictures.shape
    try:
        size = _read_size(item.data)
        if size == (height, width):
            image = decode_file(contents=item.data, channels=channels)
            return np.frombuffer(memoryview(image), np.uint8)  # numpy() would copy
    except tf.errors.InvalidArgumentError as error:
        reason = str(error.message).splitlines()[0]
        raise DataError(f"{item.location}: the {name} can't be decoded: {reason}.") from None
    raise DataError(
        f"{item.location}: the {name} has another size. Received: {size[0]}×{size[1]}. Expected: "
        f"{height}×{width} pixels. Does image-shape fit the data? `python -m dataset prepare` makes pictures equal."
    )


def _read_size(data: bytes) -> tuple[int, int]:
    """Height and width by the file's header: what does not fit is refused before memory is taken for it."""
    if data.startswith(_PNG):
        if len(data) < _PNG_SIZE.stop:
            raise tf.errors.InvalidArgumentError(None, None, "its header is cut off")
        width, height = (int.from_bytes(data[_PNG_SIZE][part], "big") for part in (slice(4), slice(4, 8)))
        return height, width
    height, width, _ = tf.image.extract_jpeg_shape(data).numpy().tolist()
    return height, width
