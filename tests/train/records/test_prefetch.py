"""Reading on a thread of its own, over real FIFOs; and the window over its blocks."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.streams import ChunkedStream
from train.errors import DataError, StopRequested
from train.records.channels import FifoStream, FileStream
from train.records.prefetch import BLOCK_BYTES, HEADROOM, PrefetchedBlocks, UnbufferedBlocks, read_blocks
from train.records.stream_buffer import StreamBuffer


def opened(path: Path, timeout: float = 100.0, stop: threading.Event | None = None) -> FifoStream:
    os.mkfifo(path)
    return FifoStream(path, "channel c, FIFO c_0", timeout, stop or threading.Event())


def everything(reader: PrefetchedBlocks | UnbufferedBlocks) -> bytes:
    parts = []
    while (block := reader.next())[1]:
        parts.append(block[0][HEADROOM : HEADROOM + block[1]].tobytes())
    return b"".join(parts)


def writing(path: Path, data: bytes, pieces: int = 1) -> threading.Thread:
    def write() -> None:
        with path.open("wb", buffering=0) as fifo:
            size = max(1, -(-len(data) // pieces))
            for start in range(0, len(data), size):
                fifo.write(data[start : start + size])

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 7])
def test_a_fifo_comes_out_as_it_was_written(tmp_path, size):
    data = os.urandom(size)
    stream = opened(tmp_path / "c_0")
    writer = writing(tmp_path / "c_0", data, 5)
    reader = read_blocks(stream)
    assert isinstance(reader, PrefetchedBlocks)
    assert everything(reader) == data
    assert reader.next()[1] == 0  # the end stays the end
    reader.close()
    stream.close()
    writer.join(100)


def test_what_is_there_is_handed_over_although_more_will_come(tmp_path):
    stream = opened(tmp_path / "c_0")
    with (tmp_path / "c_0").open("wb", buffering=0) as fifo:
        fifo.write(b"first")
        reader = PrefetchedBlocks(stream)
        assert reader.next()[1] == 5  # the writer waits for us
        fifo.write(b"second")
        assert reader.next()[1] == 6
        reader.close()
        stream.close()


def test_closing_ends_a_wait_at_once(tmp_path):
    """Long before the stream's own limit of five minutes, and nobody is left behind."""
    stream = opened(tmp_path / "c_0", timeout=300)
    before = threading.active_count()
    reader = PrefetchedBlocks(stream)
    reader.close()
    stream.close()
    assert threading.active_count() <= before


def test_closing_ends_a_reader_that_has_no_room_left(tmp_path):
    stream = opened(tmp_path / "c_0")
    writer = writing(tmp_path / "c_0", bytes(20 * BLOCK_BYTES))
    reader = PrefetchedBlocks(stream)
    reader.next()
    reader.close()
    stream.close()
    writer.join(100)  # its pipe is broken
    assert not writer.is_alive()


def test_a_failure_comes_after_the_bytes_before_it_and_stays(tmp_path):
    stream = opened(tmp_path / "c_0", timeout=0.3)
    with (tmp_path / "c_0").open("wb", buffering=0) as fifo:
        fifo.write(b"x")
        reader = PrefetchedBlocks(stream)
        assert reader.next()[1] == 1
        for _ in range(2):
            with pytest.raises(DataError, match=r"nothing more was written for 0\.3 s"):
                reader.next()
    reader.close()
    stream.close()


def test_a_stop_comes_through(tmp_path):
    stop = threading.Event()
    stream = opened(tmp_path / "c_0", stop=stop)
    reader = PrefetchedBlocks(stream)
    stop.set()
    with pytest.raises(StopRequested):
        reader.next()
    reader.close()
    stream.close()


def test_a_file_is_read_ahead_too(tmp_path):
    (tmp_path / "f").write_bytes(data := os.urandom(2 * BLOCK_BYTES + 3))
    stream = FileStream(tmp_path / "f", "file f")
    reader = read_blocks(stream)
    assert isinstance(reader, PrefetchedBlocks)
    assert everything(reader) == data
    reader.close()
    stream.close()


@given(
    st.lists(st.tuples(st.integers(1, 3000), st.integers(0, 3000)), max_size=30),
    st.lists(st.integers(1, 999), min_size=1),
)
def test_a_window_shows_what_was_asked_for_wherever_blocks_end(steps, sizes):
    data = bytes(number * 7 % 251 for number in range(20_000))
    buffer, place = StreamBuffer(ChunkedStream(data, sizes)), 0
    for wanted, dropped in steps:
        there = buffer.fill(wanted)
        assert there == (place + wanted <= len(data))
        shown = buffer.view.tobytes()
        assert shown == data[place : place + len(shown)]
        assert len(shown) >= min(wanted, len(data) - place)
        count = min(dropped, len(shown))
        buffer.consume(count, 1)
        place += count
    assert buffer.offset == place


@pytest.mark.parametrize("wanted", [HEADROOM - 1, HEADROOM, HEADROOM + 1, 5 * BLOCK_BYTES])
def test_a_record_longer_than_a_block_and_those_after_it(wanted):
    data = os.urandom(wanted + 3 * HEADROOM)
    buffer = StreamBuffer(ChunkedStream(data, [70_001]))
    assert buffer.fill(10)
    buffer.consume(3, 1)
    assert buffer.fill(wanted)
    assert buffer.view[:wanted].tobytes() == data[3 : 3 + wanted]
    buffer.consume(wanted, 1)
    assert buffer.fill(HEADROOM)
    assert buffer.view[:HEADROOM].tobytes() == data[3 + wanted : 3 + wanted + HEADROOM]


def test_memory_grows_with_the_record_not_with_its_square():
    """A line of 64 MB that is looked for a block at a time is copied a few times, not once a block."""
    buffer, memories = StreamBuffer(ChunkedStream(bytes(64 << 20))), set()
    while buffer.fill(buffer.view.size + 1):
        memories.add(buffer._buffer.size)
    assert buffer.view.size == 64 << 20
    assert len(memories) < 10
