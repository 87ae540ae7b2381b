"""Records read as TensorFlow reads them, whatever wrote them; damage ends in a problem, never in an exception."""

import io

import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from dataset import tfrecord
from dataset.inspection.records import Record, Shard, find_image_and_label

EXAMPLES = st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 2**63 - 1)), max_size=8)


def read(content: bytes) -> list[Record]:
    return list(Shard(io.BytesIO(content)))


@given(EXAMPLES)
def test_what_prepare_writes(examples: list[tuple[bytes, int]]) -> None:
    content = b"".join(tfrecord.frame(tfrecord.example(*one)) for one in examples)
    assert [(one.number, one.image, one.label, one.problem) for one in read(content)] == [
        (number, image, label, "") for number, (image, label) in enumerate(examples)
    ]


@given(
    st.lists(
        st.tuples(st.binary(max_size=9), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=9), st.booleans()),
        max_size=6,
    )
)
def test_what_tensorflow_writes(examples: list[tuple[bytes, int, bytes, bool]]) -> None:
    """With other features, in any order: a layout is learnt from one record and must not be taken for another's."""
    frames = []
    for image, label, other, odd in examples:
        features = {
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            ("a" if odd else "z"): tf.train.Feature(bytes_list=tf.train.BytesList(value=[other])),
        }
        frames.append(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    found = read(b"".join(map(tfrecord.frame, frames)))
    assert [(one.image, one.label, one.problem) for one in found] == [(one[0], one[1], "") for one in examples]


@given(EXAMPLES, st.data())
def test_any_damage_ends_in_a_problem(examples: list[tuple[bytes, int]], data: st.DataObject) -> None:
    content = bytearray(b"".join(tfrecord.frame(tfrecord.example(*one)) for one in examples))
    if content:
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] ^= data.draw(st.integers(1, 255))
        found = read(bytes(content))
        assert any(one.problem for one in found)
        whole = [(one.image, one.label) for one in found if not one.problem]
        assert all(one in examples for one in whole)


@given(st.binary(max_size=60))
def test_any_bytes_are_records_or_problems(content: bytes) -> None:
    for one in (*read(content), *read(tfrecord.frame(content))):
        assert one.problem or find_image_and_label(tfrecord.example(one.image, max(0, one.label)))
