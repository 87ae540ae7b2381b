"""What must hold for any bytes: the records of the reference, in order, and one DataError where it stops.

Each target takes the bytes and the sizes of the chunks in which they arrive. AssertionError, or any other exception
than DataError, is a finding.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from tests.fuzz import reference
from tests.support.streams import ChunkedStream
from train.errors import DataError
from train.input_pipeline.augmented_manifest import read_manifest_lines
from train.input_pipeline.example_decoder import ExampleDecoder
from train.records import native
from train.records.fixed_length import read_fixed_length
from train.records.recordio import read_recordio
from train.records.stream_buffer import RecordBlock, RecordList
from train.records.text_lines import read_lines
from train.records.tfrecord import read_tfrecord_lists, read_tfrecords

Chunks = list[int]
SIZE, CLASSES = 12, 3  # bytes of an example's picture


@contextlib.contextmanager
def _helper(used: bool) -> Iterator[None]:
    kept = native.library
    native.library = kept if used else None
    try:
        yield
    finally:
        native.library = kept


def _same(
    runs: Callable[[ChunkedStream], Iterator[RecordBlock | RecordList]],
    data: bytes,
    chunks: Chunks,
    expected: reference.Parsed,
) -> None:
    for used in (True, False):
        got: list[bytes] = []
        whole = True
        with _helper(used):
            try:
                for found in runs(ChunkedStream(data, chunks)):
                    got += found.contents()
            except DataError as error:
                whole = False
                assert "\n" not in str(error), error
        # before what is wrong, fewer may come than are sound, never others
        assert got == expected[0][: len(got)], (used, got, expected)
        assert whole == expected[1], (used, whole, expected)
        assert not whole or len(got) == len(expected[0]), (used, got, expected)


def tfrecord(data: bytes, chunks: Chunks) -> None:
    _same(lambda stream: read_tfrecords(stream), data, chunks, reference.tfrecord(data))
    _same(lambda stream: read_tfrecord_lists(stream), data, chunks, reference.tfrecord(data))
    _same(lambda stream: read_tfrecords(stream, "header"), data, chunks, reference.tfrecord(data, False))


def recordio_whole(data: bytes, chunks: Chunks) -> None:
    _same(lambda stream: read_recordio(stream), data, chunks, reference.recordio(data, None))


def recordio_dmlc(data: bytes, chunks: Chunks) -> None:
    _same(lambda stream: read_recordio(stream, "dmlc"), data, chunks, reference.recordio(data, "dmlc"))


def recordio_plain(data: bytes, chunks: Chunks) -> None:
    _same(lambda stream: read_recordio(stream, "plain"), data, chunks, reference.recordio(data, "plain"))


def text(data: bytes, chunks: Chunks) -> None:
    _same(lambda stream: read_lines(stream), data, chunks, reference.lines(data))


def raw(data: bytes, chunks: Chunks) -> None:
    for size in (1, 3, 16):
        _same(lambda stream, size=size: read_fixed_length(stream, size), data, chunks, reference.fixed(data, size))


def manifest(data: bytes, chunks: Chunks) -> None:
    """Lines of three attributes."""
    records, whole = reference.recordio(data, "dmlc")
    got: list[bytes] = []
    ended = True
    try:
        for line, _ in read_manifest_lines(read_recordio(ChunkedStream(data, chunks), "dmlc"), ("a-ref", "b", "c")):
            assert len(line) == 3
            got += line
    except DataError:
        ended = False
    assert got == records[: len(got)]
    assert ended == (whole and len(records) % 3 == 0)
    assert not whole or len(got) == len(records) // 3 * 3


def example(data: bytes, chunks: Chunks) -> None:
    """What is taken for a picture and its label is what TensorFlow finds there; three alike in a run."""
    rows = np.frombuffer(data * 3, np.uint8).reshape(3, len(data))
    for used in (True, False):
        decoder = ExampleDecoder(SIZE, CLASSES)
        try:
            with _helper(used):
                images, labels = decoder.decode(RecordBlock(rows, 0, 0, len(data) + 16, "stream"))
        except DataError:
            continue
        image, label = _found(data)
        assert [bytes(image) for image in images] == [image] * 3
        assert labels.tolist() == [label] * 3


def _found(data: bytes) -> tuple[bytes, int]:
    """By protocol buffers, or by TensorFlow's own parser, which looks at less and so refuses less."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        feature = tf.train.Example.FromString(data).features.feature
        return feature["image"].bytes_list.value[0], feature["label"].int64_list.value[0]
    except DecodeError:
        features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
        parsed = tf.io.parse_single_example(data, features)
        return parsed["image"].numpy(), int(parsed["label"])


TARGETS: dict[str, Callable[[bytes, Chunks], None]] = {
    "tfrecord": tfrecord,
    "recordio": recordio_whole,
    "recordio-dmlc": recordio_dmlc,
    "recordio-plain": recordio_plain,
    "lines": text,
    "fixed": raw,
    "manifest": manifest,
    "example": example,
}


def check(target: str, data: bytes) -> None:
    """One input: its first byte says how many of the next are sizes of chunks, in steps of 1, 7 or 4,096."""
    count = data[0] % 4 if data else 0
    chunks = [(size % 85 + 1) * (1, 7, 4096)[size // 86] for size in data[1 : 1 + count]]
    TARGETS[target](data[1 + count :], chunks)
