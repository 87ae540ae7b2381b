import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from train.errors import DataError
from train.input_pipeline.example_decoder import ExampleDecoder, parse
from train.records.stream_buffer import RecordBlock


def example(**features: object) -> bytes:
    return tf.train.Example(
        features=tf.train.Features(feature={name: feature(value) for name, value in features.items()})
    ).SerializeToString()


def feature(value: object) -> tf.train.Feature:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def run_of(*serialized: bytes) -> RecordBlock:
    rows = np.array([np.frombuffer(record, np.uint8) for record in serialized])
    return RecordBlock(rows, 10, 1000, rows.shape[1] + 16, "channel train, FIFO train_0")


def decode(*serialized: bytes, size: int = 6, classes: int = 1000) -> tuple[list[bytes], list[int]]:
    images, labels = ExampleDecoder(size, classes).decode(run_of(*serialized))
    return [bytes(image) for image in images], labels.tolist()


values = st.one_of(
    st.lists(st.binary(max_size=20), min_size=1, max_size=3),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3),
)


@given(st.dictionaries(st.text(max_size=8), values, max_size=5))
def test_fields_are_where_tensorflow_puts_them(features):
    serialized = example(**features)
    found = parse(serialized)
    assert found.keys() == features.keys()
    for name, value in features.items():
        places = [serialized[start:end] for start, end in found[name].values]
        if isinstance(value[0], bytes):
            assert (found[name].kind, places) == ("bytes_list", value)
        elif isinstance(value[0], int):
            assert (found[name].kind, len(places)) == ("int64_list", len(value))


@settings(max_examples=50)
@given(st.lists(st.tuples(st.binary(min_size=6, max_size=6), st.integers(0, 999)), min_size=1, max_size=30))
def test_every_picture_keeps_its_label(pairs):
    """Labels below 128 and above take one byte and two: runs of each, as framing hands them out."""
    decoder = ExampleDecoder(6, 1000)
    for small in (True, False):
        group = [(image, label) for image, label in pairs if (label < 128) == small]
        if group:
            images, labels = decoder.decode(run_of(*[example(image=image, label=label) for image, label in group]))
            assert [(bytes(image), label) for image, label in zip(images, labels.tolist(), strict=True)] == group


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.binary(min_size=6, max_size=6), st.integers(0, 9)), min_size=1))
def test_records_of_other_layouts_but_one_length_are_not_mixed_up(items):
    """An extra feature with changing bytes makes each record a layout of its own."""
    serialized = [example(image=image, label=label, extra=name.encode()) for name, image, label in items]
    assert decode(*serialized) == ([item[1] for item in items], [item[2] for item in items])


def test_the_order_of_features_does_not_matter():
    def entry(name: bytes, value: bytes) -> bytes:
        body = b"\x0a" + bytes([len(name)]) + name + b"\x12" + bytes([len(value)]) + value
        return b"\x0a" + bytes([len(body)]) + body

    def whole(*entries: bytes) -> bytes:
        features = b"".join(entries)
        return b"\x0a" + bytes([len(features)]) + features

    image = entry(b"image", b"\x0a\x08\x0a\x06PIXELS")
    packed, unpacked = entry(b"label", b"\x1a\x03\x0a\x01\x07"), entry(b"label", b"\x1a\x02\x08\x07")
    assert tf.train.Example.FromString(whole(packed, image)).features.feature["label"].int64_list.value == [7]
    assert decode(whole(image, packed), whole(packed, image)) == ([b"PIXELS"] * 2, [7, 7])
    assert decode(whole(unpacked, image)) == ([b"PIXELS"], [7])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"label": 1}, "feature image is missing. Received: label."),
        ({"image": b"PIXELS"}, "feature label is missing. Received: image."),
        ({}, "feature image is missing. Received: no feature."),
        ({"image": 1, "label": 1}, "feature image is a int64_list of 1. Expected: bytes_list of 1."),
        ({"image": [b"PIX", b"ELS"], "label": 1}, "feature image is a bytes_list of 2."),
        ({"image": b"PIXELS", "label": 1.0}, "feature label is a float_list of 1. Expected: int64_list of 1."),
        ({"image": b"PIXELS", "label": [1, 2]}, "feature label is a int64_list of 2."),
        ({"image": b"PIXEL", "label": 1}, "image has the wrong size. Received: 5 bytes. Expected: 6"),
        ({"image": b"PIXELS", "label": 10}, "label out of range. Received: 10. Expected: 0 to 9."),
        ({"image": b"PIXELS", "label": 300}, "label out of range. Received: 300."),
        ({"image": b"PIXELS", "label": -1}, "label out of range. Received: -1."),
    ],
)
def test_a_wrong_record_is_named(features, message):
    with pytest.raises(DataError) as failure:
        decode(example(**features), classes=10)
    assert str(failure.value).startswith("channel train, FIFO train_0, record 10 at byte 1000: ")
    assert message in str(failure.value)


def test_the_wrong_one_among_right_ones_is_named():
    records = [example(image=b"PIXELS", label=label) for label in (1, 2, 99, 3)]
    with pytest.raises(DataError, match="record 12 at byte 11"):
        decode(*records, classes=10)


@given(st.binary(min_size=1, max_size=60))
def test_any_bytes_are_an_example_or_a_named_failure(data):
    with pytest.raises(DataError, match=r"record 10 at byte 1000"):
        decode(data)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_record_never_gives_what_tensorflow_does_not(data):
    """One byte changed behind the CRC's back: refused, or the same picture and label that TensorFlow parses."""
    serialized = bytearray(example(image=b"PIXELS", label=5))
    position = data.draw(st.integers(0, len(serialized) - 1))
    serialized[position] = data.draw(st.integers(0, 255))
    good = example(image=b"PICTUR", label=3)
    try:
        images, labels = decode(good, bytes(serialized))
    except DataError:
        return
    features = tf.train.Example.FromString(bytes(serialized)).features.feature
    assert images[1] == features["image"].bytes_list.value[0]
    assert labels[1] == features["label"].int64_list.value[0]
