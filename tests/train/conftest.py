"""Shards, FIFOs, jobs and a small disk for the tests of the training program."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.shards import examples, serialized, write_shard
from tests.support.small_disk import mount_small_disk
from tests.support.streams import Feeder
from tests.support.train_jobs import TrainJob


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


@pytest.fixture
def start() -> Iterator[Callable[..., TrainJob]]:
    """start(root, **environment) starts the training program on an /opt/ml tree; it is killed at the end."""
    jobs: list[TrainJob] = []

    def begin(root: Path, **environment: str) -> TrainJob:
        jobs.append(TrainJob(root, **environment))
        return jobs[-1]

    yield begin
    for job in jobs:
        job.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with 1 MB of room."""
    with mount_small_disk(tmp_path / "small-disk", "1m") as folder:
        yield folder
