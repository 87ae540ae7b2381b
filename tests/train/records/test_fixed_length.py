import gzip

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.streams import ChunkedStream
from train.errors import DataError
from train.records.fixed_length import read_fixed_length


def read(data: bytes, size: int, sizes: list[int] | None = None) -> list[bytes]:
    return [bytes(row) for block in read_fixed_length(ChunkedStream(data, sizes), size) for row in block.rows]


@given(st.lists(st.integers(0, 255), max_size=50), st.integers(1, 4000), st.lists(st.integers(1, 5000), min_size=1))
def test_records_come_out_as_they_went_in(values, size, sizes):
    contents = [bytes([value]) * size for value in values]
    assume(not b"".join(contents).startswith(b"\x1f\x8b\x08"))
    assert read(b"".join(contents), size, sizes) == contents


def test_a_record_over_the_block_size():
    contents = [b"a" * 3_000_000, b"b" * 3_000_000]
    assert read(b"".join(contents), 3_000_000, [70_001]) == contents


@pytest.mark.parametrize("cut", range(1, 21))
def test_cut_anywhere_between_records_it_says_truncated(cut):
    data = bytes(range(20))
    if cut % 5 == 0:
        assert b"".join(read(data[:cut], 5)) == data[:cut]
        return
    whole = cut // 5
    message = (
        rf"FIFO train_0, record {whole} at byte {whole * 5} is truncated\. Received: {cut % 5} bytes\. Expected: 5\."
    )
    with pytest.raises(DataError, match=message):
        read(data[:cut], 5, [3])


def test_gzip_is_recognised_and_raw_bytes_that_begin_alike_are_not():
    data = gzip.compress(b"x" * 100)
    with pytest.raises(
        DataError, match=r"record 0 at byte 0 is gzip-compressed \(1f 8b\)\. Expected: plain records of 7"
    ):
        read(data, 7)
    for raw in (b"\x1f\x8b", b"\x1f\x8b\x09" + data):
        assert b"".join(read(raw, 1)) == raw


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match=r"Received: 0\. Expected: at least 1 byte"):
        read(b"x", 0)


def test_places_are_those_of_the_records():
    places = [
        block.location(row)
        for block in read_fixed_length(ChunkedStream(bytes(12)), 4)
        for row in range(len(block.rows))
    ]
    assert places == [f"channel train, FIFO train_0, record {n} at byte {4 * n}" for n in range(3)]
