"""Dealing is even in length and class, complete, and decided by the seed."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset import shards, tfrecord
from dataset.manifest import Shard

label_lists = st.lists(st.integers(0, 5), min_size=1, max_size=300).map(lambda x: np.array(x, np.int64))


@given(labels=label_lists, count=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_every_example_once_and_every_class_even(labels: np.ndarray, count: int, seed: int) -> None:
    orders = shards.deal(labels, count, seed)
    assert sorted(np.concatenate(orders)) == list(range(len(labels)))
    lengths = [len(order) for order in orders]
    assert max(lengths) - min(lengths) <= 1
    for label in set(labels.tolist()):
        counts = [int((labels[order] == label).sum()) for order in orders]
        assert max(counts) - min(counts) <= 1


@given(labels=label_lists, count=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_same_seed_same_deal(labels: np.ndarray, count: int, seed: int) -> None:
    for one, other in zip(shards.deal(labels, count, seed), shards.deal(labels, count, seed), strict=True):
        assert one.tolist() == other.tolist()


def test_another_seed_deals_otherwise() -> None:
    labels = np.arange(1000) % 10
    assert shards.deal(labels, 4, 0)[0].tolist() != shards.deal(labels, 4, 1)[0].tolist()


def test_classes_are_mixed_inside_a_shard() -> None:
    labels = np.repeat(np.arange(10), 100)  # sorted by class, as folders are
    first = labels[shards.deal(labels, 2, 0)[0]]
    assert len(set(first[:100].tolist())) == 10


def test_write_says_what_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "train-00000-of-00001.tfrecord"
    shard = shards.write(path, [(b"abc", 0), (b"def", 1)])
    content = tfrecord.frame(tfrecord.example(b"abc", 0)) + tfrecord.frame(tfrecord.example(b"def", 1))
    assert path.read_bytes() == content
    assert shard == Shard(path.name, 2, len(content), hashlib.sha256(content).hexdigest())


def test_write_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        shards.write(tmp_path / "file", [(b"abc", 0)])
    assert (tmp_path / "file").read_bytes() == b"old"
