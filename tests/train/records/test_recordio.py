import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.records import WORD, dmlc, frame, part, plain
from tests.support.streams import ChunkedStream
from train.errors import DataError
from train.records.recordio import read_recordio


def read(data: bytes, sizes: list[int] | None = None, splits: str | None = None) -> list[bytes]:
    return [bytes(row) for block in read_recordio(ChunkedStream(data, sizes), splits) for row in block.rows]


with_magic = st.lists(st.one_of(st.just(WORD), st.binary(max_size=9))).map(b"".join)
contents = st.lists(st.one_of(with_magic, st.sampled_from([b"a" * 100, b"b" * 100, b"c" * 3001])), max_size=40)
sizes = st.lists(st.integers(1, 5000), min_size=1, max_size=5)


@given(contents, sizes)
def test_whole_records_come_out_as_they_went_in(contents, sizes):
    for splits in (None, "dmlc", "plain"):
        assert read(b"".join(map(part, contents)), sizes, splits) == contents


@given(contents, sizes)
def test_the_original_format_puts_the_magic_back(contents, sizes):
    assert read(b"".join(map(dmlc, contents)), sizes, "dmlc") == contents


@given(contents, sizes, st.integers(1, 50))
def test_plain_parts_are_joined_as_they_are(contents, sizes, most):
    assert read(b"".join(plain(content, most) for content in contents), sizes, "plain") == contents


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=8), st.integers(1000, 300_000))
def test_records_around_and_over_the_block_size(lengths, size):
    contents = [bytes([index]) * (length * 5) for index, length in enumerate(lengths)]
    assert read(b"".join(map(part, contents)), [size]) == contents
    assert read(b"".join(plain(content, 700_001) for content in contents), [size], "plain") == contents


def test_a_split_record_needs_to_be_told_how():
    with pytest.raises(DataError, match=r"record 1 at byte 12 is split into parts\. Expected: .*dmlc .* or plain"):
        read(part(b"one") + dmlc(b"1234" + WORD))


def test_places_are_those_of_the_records():
    data = b"".join(map(part, [b"12345"] * 5 + [b""])) + dmlc(WORD * 2) + part(b"x")
    places = [
        block.location(row) for block in read_recordio(ChunkedStream(data), "dmlc") for row in range(len(block.rows))
    ]
    offsets = [0, 16, 32, 48, 64, 80, 88, 112]
    assert places == [f"channel train, FIFO train_0, record {n} at byte {at}" for n, at in enumerate(offsets)]


def test_equal_lengths_come_as_one_matrix():
    runs = [block.rows.shape for block in read_recordio(ChunkedStream(part(b"x" * 100) * 5000))]
    assert sum(rows for rows, _ in runs) == 5000
    assert len(runs) < 20


def test_a_stream_cut_anywhere_gives_whole_records_and_then_says_truncated():
    encoded = [part(b"first"), dmlc(b"seco" + WORD + b"nd"), part(b"3"), part(b"3"), part(b"")]
    contents = [b"first", b"seco" + WORD + b"nd", b"3", b"3", b""]
    data = b"".join(encoded)
    ends = [0, *np.cumsum([len(record) for record in encoded]).tolist()]
    for cut in range(len(data) + 1):
        got = []
        if cut in ends:
            assert read(data[:cut], splits="dmlc") == contents[: ends.index(cut)]
            continue
        with pytest.raises(DataError, match="is truncated") as failure:
            for block in read_recordio(ChunkedStream(data[:cut]), "dmlc"):
                got += [bytes(row) for row in block.rows]
        assert got == contents[: len(got)]
        assert f"channel train, FIFO train_0, record {len(got)} at byte" in str(failure.value)


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_end_in_records_or_an_error(data):
    try:
        read(data, splits="plain")
    except DataError as failure:
        assert "channel train, FIFO train_0, record" in str(failure)
    else:
        assert data.startswith(WORD)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"x" * 100), r"record 0 at byte 0 is gzip-compressed \(1f 8b\)\. Expected: plain RecordIO"),
        (b"\x1f\x8b", "gzip-compressed"),
        (frame(b"good"), r"record 0 at byte 0 is not RecordIO\. Received: 04 00 00 00"),
        (b"abc", "is not RecordIO"),
        (part(b"good") + b"noise and more", r"record 1 at byte 12 has no RecordIO magic\. Received: 6e 6f 69 73"),
        (part(b"a", 2), r"record 0 at byte 0 has a part out of order\. Received: flag 2\. Expected: 0 or 1"),
        (part(b"a", 5), "Received: flag 5"),
        (part(b"abcd", 1) + part(b"b"), r"at byte 12 has a part out of order\. Received: flag 0\. Expected: 2 or 3"),
        (part(b"abcd", 1), "record 0 at byte 12 is truncated. Received: 0 bytes. Expected: a head of 8 bytes"),
        (WORD + b"\xff\xff\xff\x1f" + b"x" * 50, "is truncated. Received: 58 bytes. Expected: 536870920 bytes"),
    ],
)  # fmt: skip
def test_damage_and_other_formats_are_named(data, message):
    with pytest.raises(DataError, match=message):
        read(data, splits="dmlc")


def test_no_bytes_are_no_records():
    assert read(b"") == []
