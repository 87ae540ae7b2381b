import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.streams import ChunkedStream
from train.errors import DataError
from train.records.text_lines import read_lines


def read(data: bytes, sizes: list[int] | None = None, strip_return: bool = True) -> list[bytes]:
    return [bytes(row) for block in read_lines(ChunkedStream(data, sizes), strip_return) for row in block.rows]


def split(data: bytes) -> list[bytes]:
    """What the lines are, said in another way."""
    parts = data.split(b"\n")
    return [part.removesuffix(b"\r") for part in parts[:-1]] + [part for part in parts[-1:] if part]


texts = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"1,2", b"\xc3\xa9", b"x" * 3000])).map(b"".join)
sizes = st.lists(st.integers(1, 5000), min_size=1, max_size=5)


@given(texts, sizes)
def test_any_text_in_any_pieces_comes_out_as_its_lines(data, sizes):
    assert read(data, sizes) == split(data)
    assert read(data, sizes, strip_return=False) == [part for part in data.removesuffix(b"\n").split(b"\n") if data]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=8), st.integers(1000, 300_000))
def test_lines_around_and_over_the_block_size(lengths, size):
    contents = [bytes([97 + index]) * (length * 5) for index, length in enumerate(lengths)]
    assert read(b"\r\n".join(contents) + b"\r\n", [size]) == contents


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a\n\nb\n", [b"a", b"", b"b"]),
        (b"a\r\nb", [b"a", b"b"]),
        (b"\r\n\r\n", [b"", b""]),
        (b"a\r\r\n", [b"a\r"]),
        (b"last without end", [b"last without end"]),
    ],
)
def test_ends_of_lines(data, expected):
    assert read(data) == expected


def test_tensorflow_reads_the_same_lines(tmp_path):
    import tensorflow as tf

    data = b"a,b\r\n\nlonger line\r\nno end"
    (tmp_path / "text").write_bytes(data)
    assert read(data) == [line.numpy() for line in tf.data.TextLineDataset(str(tmp_path / "text"))]


@given(st.data())
def test_cut_anywhere_the_whole_lines_before_are_the_same(data):
    text = b"one\r\ntwo\n\nthree\r\n"
    cut = data.draw(st.integers(0, len(text)))
    assert read(text[:cut]) == split(text[:cut])


def test_places_are_those_of_the_lines():
    runs = list(read_lines(ChunkedStream(b"ab\ncd\nefg\r\nh")))
    places = [block.location(row) for block in runs for row in range(len(block.rows))]
    assert places == [f"channel train, FIFO train_0, record {n} at byte {at}" for n, at in enumerate([0, 3, 6, 11])]


def test_equal_lines_come_as_one_matrix():
    assert sum(1 for _ in read_lines(ChunkedStream(b"0.25,0.50\n" * 5000))) < 5


def test_gzip_is_recognised():
    with pytest.raises(DataError, match=r"record 0 at byte 0 is gzip-compressed \(1f 8b\)\. Expected: plain text"):
        read(gzip.compress(b"a\nb\n"), [1])


def test_a_line_without_end_is_bounded(monkeypatch):
    monkeypatch.setattr("train.records.stream_buffer.MAX_RECORD_BYTES", 1000)
    with pytest.raises(DataError, match=r"record 1 at byte 2 is 2000 bytes long\. Expected: at most 1000\."):
        read(b"a\n" + b"x" * 2000)
