import gzip
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.records import damaged, frame, masked
from tests.support.streams import ChunkedStream
from train.errors import DataError
from train.records import tfrecord as records


def read(data: bytes, sizes: list[int] | None = None, crc: records.Crc = "full") -> list[bytes]:
    return [bytes(row) for block in records.read_tfrecords(ChunkedStream(data, sizes), crc) for row in block.rows]


def test_tensorflow_reads_the_same_frames(tmp_path):
    import tensorflow as tf

    contents = [b"", b"x", bytes(range(256)) * 20, b"same", b"size"]
    (tmp_path / "shard").write_bytes(b"".join(map(frame, contents)))
    assert [record.numpy() for record in tf.data.TFRecordDataset(str(tmp_path / "shard"))] == contents
    assert read((tmp_path / "shard").read_bytes()) == contents


contents = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([b"a" * 100, b"b" * 100, b"c" * 3000])), max_size=60
)


@given(contents, st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_any_mixture_of_lengths_in_any_pieces_comes_out_as_it_went_in(contents, sizes):
    assert read(b"".join(map(frame, contents)), sizes) == contents


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 400_000), min_size=1, max_size=12), st.integers(1000, 300_000))
def test_records_around_and_over_the_block_size(lengths, size):
    contents = [bytes([index]) * (length * 5) for index, length in enumerate(lengths)]
    assert read(b"".join(map(frame, contents)), [size]) == contents


def test_places_are_those_of_the_records():
    data = b"".join(map(frame, [b"12345"] * 10 + [b"x"] + [b"1234567"] * 10))
    places = [
        block.location(row) for block in records.read_tfrecords(ChunkedStream(data)) for row in range(len(block.rows))
    ]
    offsets = [21 * number for number in range(11)] + [227 + 23 * number for number in range(10)]
    assert places == [
        f"channel train, FIFO train_0, record {number} at byte {offset}" for number, offset in enumerate(offsets)
    ]


def test_equal_lengths_come_as_one_matrix():
    data = b"".join(map(frame, [b"x" * 100] * 5000))
    runs = [block.rows.shape for block in records.read_tfrecords(ChunkedStream(data))]
    assert sum(rows for rows, _ in runs) == 5000
    assert len(runs) < 20


def test_a_stream_cut_anywhere_gives_whole_records_and_then_says_truncated():
    contents = [b"first", b"second", b"3", b"3", b"3"]
    data = b"".join(map(frame, contents))
    ends = {0, *np.cumsum([len(record) + 16 for record in contents]).tolist()}
    for cut in range(len(data)):
        got = []
        if cut in ends:
            assert read(data[:cut]) == contents[: sorted(ends).index(cut)]
            continue
        with pytest.raises(DataError) as failure:
            for block in records.read_tfrecords(ChunkedStream(data[:cut])):
                got += [bytes(row) for row in block.rows]
        assert got == contents[: len(got)]
        assert f"record {len(got)} at byte" in str(failure.value)
        assert "truncated" in str(failure.value) or "not TFRecord" in str(failure.value)


def test_a_truncated_record_says_how_much_is_missing():
    with pytest.raises(DataError) as failure:
        read(frame(b"whole") + frame(b"x" * 1000)[:500])
    assert str(failure.value) == (
        "channel train, FIFO train_0, record 1 at byte 21 is truncated. Received: 500 bytes. Expected: 1016 bytes."
    )


@given(contents.filter(bool), st.data())
def test_a_flipped_bit_anywhere_is_found_and_nothing_wrong_is_given(contents, data):
    whole = bytearray(b"".join(map(frame, contents)))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= 1 << data.draw(st.integers(0, 7))
    got = []
    with pytest.raises(DataError):
        for block in records.read_tfrecords(ChunkedStream(bytes(whole))):
            got += [bytes(row) for row in block.rows]
    assert got == contents[: len(got)]


def test_a_wrong_data_crc_names_record_and_byte():
    data = bytearray(b"".join(map(frame, [b"x" * 50] * 5)))
    data[3 * 66 + 20] ^= 1
    with pytest.raises(DataError, match=r"record 3 at byte 198: the data's CRC is wrong\. Received: [0-9a-f]{8}\."):
        read(bytes(data))
    assert len(read(bytes(data), crc="header")) == 5


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 4), st.lists(st.integers(1, 60), min_size=1, max_size=3))
def test_damaged_records_are_skipped_up_to_so_many_in_sequence(good, skip, sizes):
    longest = max((len(row) for row in "".join("x."[flag] for flag in good).split(".")), default=0)
    expected, got = [b"%03d" % number for number, flag in enumerate(good) if flag], []
    try:
        for block in records.read_tfrecords(ChunkedStream(damaged(*good), sizes), skip=skip):
            got += [bytes(row) for row in block.rows]
    except DataError as failure:
        assert longest > skip
        assert "the data's CRC is wrong" in str(failure)
        assert got == expected[: len(got)]
    else:
        assert longest <= skip
        assert got == expected


def test_a_skipped_record_is_warned_of_and_truncation_is_still_an_error(caplog):
    with pytest.raises(DataError, match="record 3 at byte 57 is truncated"):
        read_skipping(damaged(True, False, False) + frame(b"999")[:-1], 2)
    assert "record 2 at byte 38: the data's CRC is wrong." in caplog.text
    assert "Skipped, 2 of at most 2 in sequence." in caplog.text


def read_skipping(data: bytes, skip: int) -> list[bytes]:
    return [bytes(row) for block in records.read_tfrecords(ChunkedStream(data), skip=skip) for row in block.rows]


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_end_in_records_or_an_error(data):
    try:
        assert b"".join(map(frame, read(data))) == data
    except DataError as failure:
        assert "channel train, FIFO train_0, record" in str(failure)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(b"x" * 100), r"record 0 at byte 0 is gzip-compressed \(1f 8b\)"),
        (b"\x1f\x8b", "gzip-compressed"),
        (zlib.compress(b"x" * 100), r"record 0 at byte 0 is zlib-compressed \(78 9c\)\. Expected: plain TFRecord"),
        (zlib.compress(b"x", 9), r"zlib-compressed \(78 da\)"),
        (struct.pack("<II", 0xCED7230A, 8) + b"12345678", "is RecordIO. Expected: TFRecord"),
        (b"label,pixels\n1,2,3,4,5\n", r"is not TFRecord\. Received: 6c 61 62 65 .* \('label,pixels'\)\. Expected"),
        (b'{\n  "format": "tfrecord"}', r"Received: 7b 0a .* \('{\\n  \"format\"'\)\."),
        (
            b"\xff\xd8\xff\xe0 and so on",
            r"record 0 at byte 0 is a JPEG picture\. .*dataset prepare` makes shards of pic",
        ),
        (b"\x89PNG\r\n\x1a\n0000", "is a PNG picture"),
        (b"short", "is not TFRecord"),
        (frame(b"good") + b"label,pixels,more", r"record 1 at byte 20 has a wrong length CRC"),
    ],
)
def test_another_format_is_recognised(data, message):
    with pytest.raises(DataError, match=message):
        read(data)


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress])
def test_compression_is_recognised_without_crcs(compress):
    with pytest.raises(DataError, match=r"record 0 at byte 0 is (gzip|zlib)-compressed"):
        read(compress(frame(bytes(range(200)))), crc="off")


def test_an_absurd_length_asks_for_no_memory():
    length = struct.pack("<Q", 1 << 63)
    with pytest.raises(DataError, match="record 0 at byte 0 is 9223372036854775808 bytes long"):
        read(length + masked(length) + b"x" * 100)


def test_no_bytes_are_no_records():
    assert read(b"") == []
