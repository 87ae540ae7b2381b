"""`pipe.examples`: any feature description, as TensorFlow parses it."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.opt_ml import job_folder
from tests.support.shards import channel_bytes, write_shard
from train import pipe
from train.errors import DataError

FEATURES = {
    "name": tf.io.FixedLenFeature([], tf.string),
    "numbers": tf.io.FixedLenFeature([2], tf.int64),
    "weight": tf.io.FixedLenFeature([], tf.float32, default_value=0.5),
    "words": tf.io.VarLenFeature(tf.string),
    "ragged": tf.io.RaggedFeature(tf.float32),
}


def example(name: bytes, numbers: list[int], words: list[bytes], floats: list[float], weight: float | None) -> bytes:
    feature = {
        "name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name])),
        "numbers": tf.train.Feature(int64_list=tf.train.Int64List(value=numbers)),
        "words": tf.train.Feature(bytes_list=tf.train.BytesList(value=words)),
        "ragged": tf.train.Feature(float_list=tf.train.FloatList(value=floats)),
    }
    if weight is not None:
        feature["weight"] = tf.train.Feature(float_list=tf.train.FloatList(value=[weight]))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


records = st.builds(
    example,
    st.binary(max_size=20),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2),
    st.lists(st.binary(max_size=5), max_size=3),
    st.lists(st.floats(width=32, allow_nan=False), max_size=3),
    st.none() | st.floats(width=32, allow_nan=False),
)


def dense(value):
    return tf.sparse.to_dense(value) if isinstance(value, tf.SparseTensor) else value


@settings(max_examples=20)
@given(st.lists(records, min_size=1, max_size=12), st.integers(1, 5))
def test_batches_are_what_tensorflow_parses(tmp_path_factory, contents, size):
    root = job_folder(tmp_path_factory.mktemp("ml"), "File", {})
    write_shard(root / "input/data/train/a.tfrecord", contents)
    got = list(pipe.examples("train", FEATURES, size, root=root))
    assert len(got) == -(-len(contents) // size)
    for start, batch in enumerate(got):
        expected = tf.io.parse_example(contents[start * size : (start + 1) * size], FEATURES)
        assert batch.keys() == expected.keys()
        for name, value in expected.items():
            ours, theirs = dense(batch[name]), dense(value)
            if isinstance(theirs, tf.RaggedTensor):
                assert ours.to_list() == theirs.to_list()
            else:
                np.testing.assert_array_equal(ours, theirs)


def test_over_fifos_a_pass_each_iteration(tmp_path, shards, feed):
    root = job_folder(tmp_path, "Pipe", {})
    feeder = feed(root / "input/data", "validation", channel_bytes(shards, "validation"))
    batches = pipe.examples("validation", {"label": tf.io.FixedLenFeature([], tf.int64)}, 25, shuffle=30, root=root)
    passes = [[batch["label"].numpy().tolist() for batch in batches] for _ in range(2)]
    assert [len(batch) for batch in passes[0]] == [25, 25, 10]
    assert passes[0] != passes[1]
    assert sorted(itertools.chain(*passes[0])) == sorted(itertools.chain(*passes[1]))
    assert (batches.epoch, feeder.opened >= 2) == (2, True)
    batches.epoch = 0
    assert [batch["label"].numpy().tolist() for batch in batches] == passes[0]


@pytest.mark.parametrize(
    "bad", [b"no example at all", example(b"", [1], [], [], None), example(b"", [1, 2, 3], [], [], None)]
)
def test_an_example_that_is_not_as_described_is_said(tmp_path, bad):
    root = job_folder(tmp_path, "File", {})
    good = example(b"x", [1, 2], [], [], None)
    write_shard(root / "input/data/train/a.tfrecord", [good, good, good, bad])
    with pytest.raises(DataError, match="channel train, examples 2 to 3 of the pass: not as described: "):
        list(pipe.examples("train", FEATURES, 2, root=root))
