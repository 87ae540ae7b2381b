"""What is written by hand is what TensorFlow reads and writes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset import tfrecord

images = st.binary(max_size=40_000)
labels = st.integers(0, 2**63 - 1)


@pytest.fixture(scope="module")
def tf():
    import tensorflow

    return tensorflow


@settings(deadline=None, max_examples=100)
@given(image=images, label=labels)
def test_example_is_read_by_tensorflow(tf, image: bytes, label: int) -> None:
    data = tfrecord.example(image, label)
    features = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
    parsed = tf.io.parse_example([data], features)
    assert parsed["image"].numpy()[0] == image
    assert parsed["label"].numpy()[0] == label


@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 3072, 16_383, 16_384, 150_528])
@pytest.mark.parametrize("label", [0, 9, 127, 128, 2**40])
def test_example_is_byte_for_byte_the_one_of_tensorflow(tf, size: int, label: int) -> None:
    image = bytes(range(256)) * (size // 256) + bytes(size % 256)
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    theirs = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)
    assert tfrecord.example(image, label) == theirs


def test_frames_are_read_by_tensorflow(tf, tmp_path) -> None:
    records = [b"", b"a", bytes(3072), b"\xff" * 100_000]
    (tmp_path / "file").write_bytes(b"".join(map(tfrecord.frame, records)))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(tmp_path / "file"))] == records


def test_frames_are_byte_for_byte_those_of_tensorflow(tf, tmp_path) -> None:
    records = [b"", b"a", bytes(range(256)) * 12]
    with tf.io.TFRecordWriter(str(tmp_path / "file")) as writer:
        for record in records:
            writer.write(record)
    assert b"".join(map(tfrecord.frame, records)) == (tmp_path / "file").read_bytes()
