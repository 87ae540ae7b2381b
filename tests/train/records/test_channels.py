import os
import threading
import time
from pathlib import Path

import pytest

from tests.support.streams import Feeder
from train.errors import DataError, StopRequested
from train.records.channels import FifoSource, FileSource, open_channel
from train.runtime.environment import Channel


def read_all(stream) -> bytes:
    parts, buffer = [], bytearray(100_000)
    while count := stream.readinto(memoryview(buffer)):
        parts.append(bytes(buffer[:count]))
    return b"".join(parts)


def one_pass(fifos: FifoSource) -> bytes:
    return b"".join(read_all(stream) for stream in fifos.streams())


def pipe(folder: Path, timeout: float = 100.0, stop: threading.Event | None = None) -> FifoSource:
    return FifoSource(Channel("train", "Pipe", folder), timeout, stop or threading.Event())


def test_each_pass_takes_the_next_fifo(tmp_path, feed):
    feed(tmp_path, "train", lambda turn: f"turn {turn} ".encode() * 50_000)
    fifos = pipe(tmp_path)
    for turn in range(3):
        assert one_pass(fifos) == f"turn {turn} ".encode() * 50_000


def test_a_closed_early_fifo_counts_and_the_next_is_whole(tmp_path, feed):
    data = os.urandom(1_000_000)
    feeder = feed(tmp_path, "train", data)
    fifos = pipe(tmp_path)
    streams = fifos.streams()
    assert next(streams).readinto(memoryview(bytearray(10))) == 10
    streams.close()
    assert one_pass(fifos) == data
    assert feeder.opened >= 2


def test_a_fifo_that_comes_late_is_waited_for(tmp_path, feed):
    fifos = pipe(tmp_path)
    timer = threading.Timer(0.3, lambda: feed(tmp_path, "train", b"late"))
    timer.start()
    assert one_pass(fifos) == b"late"
    timer.join()


def test_a_fifo_that_never_comes_is_named_with_the_time_waited(tmp_path):
    with pytest.raises(DataError, match=r"channel train, FIFO train_0 did not appear within 0\.2 s \(index 0\)"):
        one_pass(pipe(tmp_path, timeout=0.2))


def test_a_writer_that_never_comes(tmp_path):
    os.mkfifo(tmp_path / "train_0")
    with pytest.raises(DataError, match=r"FIFO train_0: no writer opened it for 0\.2 s"):
        one_pass(pipe(tmp_path, timeout=0.2))


def test_a_writer_that_stalls(tmp_path):
    os.mkfifo(tmp_path / "train_0")
    with_reader = os.open(tmp_path / "train_0", os.O_RDWR)  # keeps the FIFO open for writing
    os.write(with_reader, b"some")
    try:
        with pytest.raises(DataError, match=r"FIFO train_0: nothing more was written for 0\.2 s"):
            one_pass(pipe(tmp_path, timeout=0.2))
    finally:
        os.close(with_reader)


def test_a_writer_without_data_is_an_empty_pass(tmp_path, feed):
    feed(tmp_path, "train", b"")
    assert one_pass(pipe(tmp_path)) == b""


def test_a_trickling_writer_is_not_a_stalled_one(tmp_path):
    os.mkfifo(tmp_path / "train_0")

    def trickle() -> None:
        with (tmp_path / "train_0").open("wb", buffering=0) as fifo:
            for byte in b"one by one":
                fifo.write(bytes([byte]))
                time.sleep(0.25)

    writer = threading.Thread(target=trickle)
    writer.start()
    assert one_pass(pipe(tmp_path, timeout=2)) == b"one by one"  # which takes longer in all
    writer.join()


@pytest.mark.parametrize("there", [False, True])
def test_a_waiting_reader_can_be_stopped(tmp_path, there):
    if there:
        os.mkfifo(tmp_path / "train_0")
    stop = threading.Event()
    timer = threading.Timer(0.1, stop.set)
    timer.start()
    began = time.monotonic()
    with pytest.raises(StopRequested):
        one_pass(pipe(tmp_path, stop=stop))
    assert time.monotonic() - began < 60
    timer.join()


def test_an_ordinary_file_is_not_taken_for_a_fifo(tmp_path):
    (tmp_path / "train_0").write_bytes(b"data")
    with pytest.raises(DataError, match="train_0 is not a FIFO"):
        one_pass(pipe(tmp_path))


def test_an_index_moves_only_when_reading_starts(tmp_path, feed):
    fifos = pipe(tmp_path, timeout=0.1)
    with pytest.raises(DataError, match="index 0"):
        one_pass(fifos)
    feed(tmp_path, "train", b"zero")
    assert one_pass(pipe(tmp_path)) == b"zero"


def test_descriptors_are_closed(tmp_path, feed):
    feed(tmp_path, "train", b"x" * 10)
    before = len(list(Path("/proc/self/fd").iterdir()))
    fifos = pipe(tmp_path)
    for _ in range(5):
        one_pass(fifos)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1  # the feeder's own


def test_files_are_read_in_order_of_their_names(tmp_path):
    folder = tmp_path / "train"
    for name in ("sub", ".ipynb_checkpoints", "sub/.git/objects"):
        (folder / name).mkdir(parents=True)
    for name in ("b", "a", "sub/c", ".hidden", ".ipynb_checkpoints/a", "sub/.git/objects/x"):
        (folder / name).write_bytes(name.encode())
    streams = open_channel(Channel("train", "File", tmp_path)).streams()
    assert [(stream.name, read_all(stream)) for stream in streams] == [
        ("channel train, file a", b"a"),
        ("channel train, file b", b"b"),
        ("channel train, file sub/c", b"sub/c"),
    ]


def test_a_channel_without_files_is_empty(tmp_path):
    with pytest.raises(DataError, match="Channel train is empty"):
        list(FileSource(Channel("train", "File", tmp_path)).streams())


def test_the_test_feeder_ends_with_its_reader_gone(tmp_path):
    feeder = Feeder(tmp_path, "train", lambda _turn: b"x" * 10_000_000)
    feeder.close()
    assert not feeder._thread.is_alive()
