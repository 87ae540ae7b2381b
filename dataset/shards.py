"""Examples → shards: who goes where, and writing one file."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset import tfrecord
from dataset.manifest import Shard

_BUFFER = 1 << 20  # bytes; one write a megabyte rather than one a picture

Indices = NDArray[np.int64]


def deal(labels: Indices, shards: int, seed: int | tuple[int, ...]) -> list[Indices]:
    """Deals examples like cards: indices into `labels` for each shard, shuffled by seed.

    Shards differ by at most one example in length and in every class, so that a host or a validation that reads some of
    them sees all classes in their proportions. A training shuffle buffer is smaller than the data set: it must not meet
    one class at a time.
    """
    random = np.random.default_rng(seed)
    classes = [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    deck = np.concatenate(classes) if classes else np.empty(0, np.int64)
    # a class is one stretch of the deck, and a stretch dealt round robin comes out even, wherever it starts
    return [random.permutation(deck[shard::shards]) for shard in range(shards)]


def write(path: Path, examples: Iterable[tuple[bytes, int]]) -> Shard:
    """Writes (picture, label) pairs to a new file and to disk; returns what dataset.json says of it."""
    digest, count, size = hashlib.sha256(), 0, 0
    with path.open("xb", buffering=_BUFFER) as file:
        for record in _records(examples):
            file.write(record)
            digest.update(record)
            count, size = count + 1, size + len(record)
        file.flush()
        os.fsync(file.fileno())
    return Shard(path.name, count, size, digest.hexdigest())


def _records(examples: Iterable[tuple[bytes, int]]) -> Iterator[bytes]:
    for image, label in examples:
        yield tfrecord.frame(tfrecord.example(image, label))
