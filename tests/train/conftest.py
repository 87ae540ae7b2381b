"""Shards, FIFOs and job folders for the tests of the training program."""

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.missing import missing

SIZE = 18  # pixels: the smallest picture that the tutorial model takes
SHAPE = (SIZE, SIZE, 3)
CLASSES = ("dark", "light", "striped")


def examples(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (count, *SHAPE) of three classes that a model can tell apart after a few steps, and their labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    images = generator.integers(0, 60, (count, *SHAPE))
    images += np.where(labels == 1, 180, 0)[:, None, None, None]
    images[labels == 2, ::2] += 150
    return images.astype(np.uint8), labels


def serialized(image: np.ndarray, label: int, **extra: bytes) -> bytes:
    """One tf.train.Example, serialised by TensorFlow's own protocol buffers."""
    import tensorflow as tf

    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
    }
    for name, value in extra.items():
        features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def write_shard(path: Path, records: Sequence[bytes]) -> Path:
    """A TFRecord file, written by TensorFlow."""
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


class Feeder:
    """Plays the platform: makes `<channel>_<n>` and writes to each FIFO what its turn gives."""

    def __init__(self, folder: Path, channel: str, turns: Callable[[int], bytes | None]) -> None:
        self._folder, self._channel, self._turns = folder, channel, turns
        self._closed = threading.Event()
        self._current: Path | None = None
        self.opened = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set() and (data := self._turns(self.opened)) is not None:
            path = self._current = self._folder / f"{self._channel}_{self.opened}"
            if not path.exists():
                os.mkfifo(path)
            # a reader that closes early breaks the pipe: not a failure, as on the service
            with contextlib.suppress(BrokenPipeError), path.open("wb", buffering=0) as fifo:
                self.opened += 1
                for start in range(0, len(data), 65536):
                    if fifo.write(data[start : start + 65536]) is None or self._closed.is_set():
                        break

    def close(self) -> None:
        self._closed.set()
        while self._thread.is_alive():  # a writer waiting in open() is woken by a reader
            if self._current is not None and self._current.exists():
                with contextlib.suppress(OSError):
                    os.close(os.open(self._current, os.O_RDONLY | os.O_NONBLOCK))
            self._thread.join(0.05)


@pytest.fixture
def feed() -> Iterator[Callable[..., Feeder]]:
    """feed(folder, channel, data) serves `data`, bytes or a function of the turn, on FIFOs 0, 1, …"""
    feeders: list[Feeder] = []

    def start(folder: Path, channel: str, data: bytes | Callable[[int], bytes | None]) -> Feeder:
        folder.mkdir(parents=True, exist_ok=True)
        turns = data if callable(data) else (lambda _turn: data)
        feeders.append(Feeder(folder, channel, turns))
        return feeders[-1]

    yield start
    for feeder in feeders:
        feeder.close()


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ (two shards, 300 pictures) and validation/ (one, 60 pictures)."""
    folder = tmp_path_factory.mktemp("shards")
    for name, count, seed, parts in (("train", 300, 1, 2), ("validation", 60, 2, 1)):
        images, labels = examples(count, seed)
        records = [serialized(image, label) for image, label in zip(images, labels, strict=True)]
        for part in range(parts):
            write_shard(folder / name / f"{name}-{part:05d}.tfrecord", records[part::parts])
    return folder


def channel_bytes(shards: Path, channel: str) -> bytes:
    """What a FIFO of the channel carries: its objects one after the other."""
    return b"".join(path.read_bytes() for path in sorted((shards / channel).iterdir()))


def job_folder(root: Path, mode: str, hyperparameters: dict[str, str], channels: Sequence[str] = ()) -> Path:
    """An /opt/ml tree as the platform lays it out, without data."""
    config = root / "input/config"
    config.mkdir(parents=True)
    (root / "input/data").mkdir()
    names = channels or ("train", "validation")
    inputs = {name: {"TrainingInputMode": mode, "RecordWrapperType": "None"} for name in names}
    known = {"classes": ",".join(CLASSES), "image-shape": ",".join(map(str, SHAPE)), "batch-size": "32"}
    known["model"] = "tutorial"  # learns from a few pictures
    (config / "inputdataconfig.json").write_text(json.dumps(inputs))
    (config / "hyperparameters.json").write_text(json.dumps(known | hyperparameters))
    (config / "resourceconfig.json").write_text('{"current_host":"algo-1","hosts":["algo-1"]}')
    return root


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with 1 MB of room."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        missing(f"a small tmpfs needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
