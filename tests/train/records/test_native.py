"""The compiled helper gives what NumPy gives, and its absence is no failure."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.missing import missing
from tests.train.records.test_tfrecord import Trickle, damaged, frame
from train.errors import DataError
from train.records import native
from train.records import tfrecord as records


@pytest.fixture(autouse=True, scope="module")
def helper() -> None:
    if native.library is None:
        missing("no compiled helper: there was no compiler")


def outcome(data: bytes, crc: records.Crc, skip: int) -> tuple[list[bytes], str | None]:
    """Records as they come, and the error that ends them."""
    got: list[bytes] = []
    try:
        for block in records.read_tfrecords(Trickle(data), crc, skip):
            got += block.contents()
    except DataError as error:
        return got, str(error)
    return got, None


def both(data: bytes, crc: records.Crc, skip: int) -> list[tuple[list[bytes], str | None]]:
    """With the helper and without."""
    with pytest.MonkeyPatch.context() as patch:
        ours = outcome(data, crc, skip)
        patch.setattr(native, "library", None)
        return [ours, outcome(data, crc, skip)]


contents = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([b"a" * 100, b"b" * 100, b"c" * 3001, b"d" * 3001])), max_size=60
)


@given(contents, st.sampled_from(["full", "header", "off"]), st.integers(0, 3), st.data())
def test_any_bytes_come_out_as_without_it(contents, crc, skip, data):
    """Damage of any kind included; only how many sound records come before the error may differ, never which."""
    whole = bytearray(b"".join(map(frame, contents)))
    for _ in range(data.draw(st.integers(0, 3))) if whole else ():
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (ours, our_end), (theirs, their_end) = both(bytes(whole[: data.draw(st.integers(0, len(whole)))]), crc, skip)
    assert our_end == their_end
    shorter = min(len(ours), len(theirs))
    assert ours[:shorter] == theirs[:shorter]
    if our_end is None:
        assert len(ours) == len(theirs)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 63, 64, 3072, 100_001])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_every_length_and_count_has_its_crc_checked(length, count):
    generator = np.random.default_rng(length)
    frames = [bytearray(frame(generator.bytes(length))) for _ in range(count)]
    stride = length + 16
    whole = np.frombuffer(b"".join(frames), np.uint8).reshape(count, stride).copy()
    assert native.count_valid_frames(whole, True) == native.count_valid_frames(whole, False) == count
    for row in range(count):
        whole[row, -1] ^= 4
        assert native.count_valid_frames(whole, True) == row
        assert native.count_valid_frames(whole, False) == count
        whole[row, -1] ^= 4
        whole[row, 0] ^= 1
        assert native.count_valid_frames(whole, False) == (row or min(1, count))
        whole[row, 0] ^= 1


def test_skipping_is_the_same():
    assert (
        both(damaged(True, False, False, True), "full", 2)[0] == both(damaged(True, False, False, True), "full", 2)[1]
    )


@given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 9), st.integers(1, 64), st.data())
def test_scattered_records_lie_where_numpy_puts_them(count, batches, size, width, data):
    from train.input_pipeline.batch_ring import BatchRing

    count = min(count, batches * size)
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    places = generator.permutation(batches * size)[:count]
    images = generator.integers(0, 256, (count, width + 5)).astype(np.uint8)[:, 3 : 3 + width]
    labels = generator.integers(0, 1 << 40, count)
    ring = BatchRing(batches, size, width)
    ring.put(places // size, places % size, images, labels)
    np.testing.assert_array_equal(ring.images[places // size, places % size], images)
    np.testing.assert_array_equal(ring.labels[places // size, places % size], labels)


@pytest.mark.parametrize("setting", [{"CV_KERAS_NATIVE": "0"}, {}])
def test_it_can_be_turned_off(setting):
    code = "from train.records import native; print(native.library is None)"
    asked = subprocess.run([sys.executable, "-c", code], env=setting, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == str(bool(setting))


def test_a_file_that_is_no_library_is_as_good_as_none(tmp_path):
    (tmp_path / "x.so").write_bytes(b"not one")
    assert native._load(tmp_path / "x.so") is None
    assert native._load(tmp_path / "nothing.so") is None


@given(contents, st.sampled_from(["full", "header", "off"]), st.lists(st.integers(1, 4000), min_size=1, max_size=4))
def test_lots_are_the_same_records_at_the_same_places(contents, crc, sizes):
    data = b"".join(map(frame, contents))
    for used in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not used:
                patch.setattr(native, "library", None)
            found = list(records.read_tfrecord_lists(Trickle(data, sizes), crc, lambda _: True))
            whole = list(records.read_tfrecords(Trickle(data, sizes), crc))
        assert [record for lot in found for record in lot.contents()] == contents
        places = [lot.location(index) for lot in found for index in range(len(lot.records))]
        assert places == [block.location(row) for block in whole for row in range(len(block.rows))]
