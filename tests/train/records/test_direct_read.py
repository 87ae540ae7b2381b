"""Records that the kernel puts into batches are those of the general path: the same batches, the same errors."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.conftest import serialized
from tests.train.records.test_tfrecord import frame
from train.errors import DataError, NoRecordsError, StopRequested
from train.input_pipeline import pipeline
from train.records import direct_read as module
from train.records import native
from train.records.channels import FifoSource, FileSource
from train.runtime.dataset_info import Pictures
from train.runtime.environment import Channel

pytestmark = [
    pytest.mark.skipif(native.library is None, reason="no compiled helper: there was no compiler"),
    pytest.mark.timeout(120),
]
SHAPE = (20, 20, 3)
PICTURES = Pictures(SHAPE, tuple(str(number) for number in range(200)))


def picture(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, SHAPE).astype(np.uint8)


def usual(number: int) -> bytes:
    return frame(serialized(picture(number), number % 128))


def other(number: int, kind: str) -> bytes:
    """A record that is not laid out like the usual ones, or is wrong."""
    if kind == "two bytes of label":
        return frame(serialized(picture(number), 128 + number % 72))
    if kind == "another feature":
        return frame(serialized(picture(number), number % 128, name=b"x" * (number % 5)))
    whole = bytearray(usual(number))
    if kind == "label out of range":
        return frame(serialized(picture(number), 200 + number % 9))
    if kind == "negative label":
        return frame(serialized(picture(number), -1))
    place = {"damaged length": 3, "damaged length CRC": 9, "damaged name": 25, "damaged pixel": 600}[kind]
    whole[place] ^= 1
    return bytes(whole)


KINDS = (
    "two bytes of label", "another feature", "label out of range", "negative label", "damaged length",
    "damaged length CRC", "damaged name", "damaged pixel",
)  # fmt: skip


class Piped:
    """A channel in Pipe mode whose every FIFO holds `data`, written in pieces of the given sizes."""

    def __init__(self, folder: Path, data: bytes, sizes: list[int]) -> None:
        self._path, self._data, self._sizes = folder / "train_0", data, sizes
        self._path.unlink(missing_ok=True)
        os.mkfifo(self._path)
        self.source = FifoSource(Channel("train", "Pipe", folder), timeout=60)
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        place = turn = 0
        with self._path.open("wb", buffering=0) as fifo:
            while place < len(self._data):
                size = self._sizes[turn % len(self._sizes)]
                try:
                    place += fifo.write(self._data[place : place + size])
                except BrokenPipeError:
                    return
                turn += 1

    def __enter__(self) -> FifoSource:
        self._thread.start()
        return self.source

    def __exit__(self, *_: object) -> None:
        os.close(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK))  # if nobody has opened it, nobody will
        self._thread.join(60)
        assert not self._thread.is_alive()


Outcome = tuple[list[tuple[bytes, list[int]]], str | None]


def outcome(batches: Iterator) -> Outcome:
    """The batches, and the error that ends them."""
    got = []
    try:
        for images, labels in batches:
            got.append((images.numpy().tobytes(), labels.numpy().tolist()))
    except (DataError, NoRecordsError) as error:
        return got, str(error)
    return got, None


def read(folder: Path, data: bytes, sizes: list[int], crc: str, size: int, helper: bool) -> Outcome:
    with pytest.MonkeyPatch.context() as patch, Piped(folder, data, sizes) as source:
        if not helper:
            patch.setattr(native, "library", None)
        return outcome(pipeline.for_validation(source, PICTURES, size, crc))


records = st.lists(
    st.one_of(st.integers(1, 12), st.tuples(st.integers(0, 40), st.sampled_from(KINDS))), min_size=1, max_size=6
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("straight")


@given(
    records, st.lists(st.sampled_from([1, 40, 500, 1263, 5000, 1 << 20]), min_size=1, max_size=4),
    st.sampled_from(["header", "off"]), st.integers(1, 9), st.data(),
)  # fmt: skip
def test_whatever_comes_is_as_without_it(folder, records, sizes, crc, size, data):
    """Only how many sound batches come before an error may differ, never which, and which of several wrong records it
    names."""
    whole = b"".join(
        b"".join(usual(number) for number in range(record)) if isinstance(record, int) else other(*record)
        for record in records
    )
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole)))]
    if sum(sizes) < 100:  # a byte at a time is for short ones
        whole = whole[:4000]
    with_it = read(folder, whole, sizes, crc, size, helper=True)
    without = read(folder, whole, sizes, crc, size, helper=False)
    assert (with_it[1] is None) == (without[1] is None)
    shorter = min(len(with_it[0]), len(without[0]))
    assert with_it[0][:shorter] == without[0][:shorter]
    if with_it[1] is None:
        assert len(with_it[0]) == len(without[0])


def test_the_kernel_does_it_for_all_but_the_first_run_of_alike_records(tmp_path, monkeypatch):
    counts: list[int] = []
    pull = module.Straight.pull

    def counted(self, *places):
        counts.append(pull(self, *places))
        return counts[-1]

    monkeypatch.setattr(module.Straight, "pull", counted)
    data = b"".join(usual(number) for number in range(2000))
    ours = read(tmp_path, data, [1 << 20], "header", 32, helper=True)
    assert sum(len(labels) for _, labels in ours[0]) == 2000
    assert sum(counts) >= 2000 - (1 << 20) // len(usual(0)) - 1
    assert counts[-1] == 0
    counts.clear()
    read(tmp_path, data, [1 << 20], "full", 32, helper=True)
    assert counts == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [0, 1, 998, 1999])
def test_one_record_among_many_that_is_different(tmp_path, kind, place):
    parts = [usual(number) for number in range(2000)]
    parts[place] = other(place, kind)
    with_it = read(tmp_path, b"".join(parts), [1 << 20], "header", 64, helper=True)
    without = read(tmp_path, b"".join(parts), [1 << 20], "header", 64, helper=False)
    assert with_it[1] == without[1]
    assert (with_it[1] is None) == (kind in ("two bytes of label", "another feature", "damaged pixel"))
    if with_it[1] is None:
        assert with_it == without


def test_files_are_read_that_way_and_the_next_one_from_its_first_byte(tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    for shard in range(3):
        parts = b"".join(usual(number) for number in range(900 * shard, 900 * (shard + 1)))
        (folder / f"{shard}.tfrecord").write_bytes(parts)
    (folder / "1a.tfrecord").write_bytes(b"")
    (folder / "1b.tfrecord").write_bytes(other(7, "two bytes of label") + usual(8))
    source = FileSource(Channel("train", "File", tmp_path))
    got, error = outcome(pipeline.for_validation(source, PICTURES, 100, "header"))
    assert error is None
    numbers = [*range(1800), 7, 8, *range(1800, 2700)]
    labels = [number % 128 if place != 1800 else 128 + 7 for place, number in enumerate(numbers)]
    assert [label for _, part in got for label in part] == labels
    assert b"".join(images for images, _ in got) == b"".join(picture(number).tobytes() for number in numbers)
    (folder / "1b.tfrecord").write_bytes(usual(8) + usual(9)[:-1])
    _, error = outcome(pipeline.for_validation(source, PICTURES, 100, "header"))
    assert error is not None
    assert "file 1b.tfrecord, record 1 at byte 1254 is truncated" in error


def test_a_stop_while_it_waits(tmp_path):
    path, stop = tmp_path / "train_0", threading.Event()
    os.mkfifo(path)
    source = FifoSource(Channel("train", "Pipe", tmp_path), timeout=60, stop=stop)
    batches = iter(pipeline.for_validation(source, PICTURES, 4, "header"))
    writer: list[int] = []
    thread = threading.Thread(target=lambda: writer.append(os.open(path, os.O_WRONLY)))
    thread.start()
    try:
        first = threading.Thread(target=lambda: os.write(writer[0], b"".join(usual(number) for number in range(9))))
        reading = threading.Thread(target=lambda: [next(batches), first.join(), stop.set()])
        reading.start()
        thread.join(30)
        first.start()
        reading.join(30)
        with pytest.raises(StopRequested):
            for _ in batches:
                pass
    finally:
        os.close(writer[0])


def test_a_writer_that_stalls_is_named(tmp_path):
    path = tmp_path / "train_0"
    os.mkfifo(path)
    source = FifoSource(Channel("train", "Pipe", tmp_path), timeout=0.3)
    thread = threading.Thread(target=lambda: kept.append(os.open(path, os.O_WRONLY)))
    kept: list[int] = []
    thread.start()
    batches = iter(pipeline.for_validation(source, PICTURES, 4, "header"))
    reading: list[Outcome] = []
    reader = threading.Thread(target=lambda: reading.append(outcome(batches)))
    reader.start()
    thread.join(30)
    os.write(kept[0], b"".join(usual(number) for number in range(9))[:-5])
    reader.join(60)
    os.close(kept[0])
    ((got, error),) = reading
    assert "nothing more was written for 0.3 s" in str(error)
    assert [labels for _, labels in got] == [[0, 1, 2, 3], [4, 5, 6, 7]]
