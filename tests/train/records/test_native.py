"""The compiled library returns what NumPy returns; without one, or with another version, NumPy is used."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.missing import missing
from tests.support.records import damaged, frame
from tests.support.streams import ChunkedStream
from train.errors import DataError
from train.input_pipeline.batch_ring import BatchRing
from train.records import native
from train.records import tfrecord as records

SOURCE = Path(native.__file__).with_name("native.c")


@pytest.fixture(autouse=True, scope="module")
def helper() -> None:
    if native.library is None:
        missing("no compiled helper: there was no compiler")


def outcome(data: bytes, crc: records.Crc, skip: int) -> tuple[list[bytes], str | None]:
    """Records as they come, and the error that ends them."""
    got: list[bytes] = []
    try:
        for block in records.read_tfrecords(ChunkedStream(data), crc, skip):
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


def test_a_file_that_is_no_library_is_not_used(tmp_path):
    (tmp_path / "x.so").write_bytes(b"not one")
    assert native._load(tmp_path / "x.so") is None
    assert native._load(tmp_path / "nothing.so") is None


BEFORE_VERSIONS = """
#include <stdint.h>
int usable(void) { return 1; }
int64_t sound(const uint8_t *frames, int64_t stride, int64_t count, int check) { return count; }
"""
OF_VERSION = '#define ABI_VERSION {}\n#include "{}"\n'


@pytest.mark.parametrize(
    ("source", "used"),
    [
        (OF_VERSION.format(native.ABI_VERSION, SOURCE), True),
        (OF_VERSION.format(native.ABI_VERSION - 1, SOURCE), False),
        (OF_VERSION.format(native.ABI_VERSION + 1, SOURCE), False),
        (BEFORE_VERSIONS, False),
    ],
    ids=["same", "older", "newer", "before versions"],
)
def test_a_library_of_another_version_is_not_used(tmp_path, source, used):
    (tmp_path / "native.c").write_text(source)
    subprocess.run(["cc", "-shared", "-fPIC", "native.c", "-o", "native.so"], cwd=tmp_path, check=True)
    assert (native._load(tmp_path / "native.so") is not None) == used


def test_the_versions_of_python_and_c_are_equal():
    assert native.library is not None
    assert f"#define ABI_VERSION {native.ABI_VERSION} " in SOURCE.read_text()


BYTES = np.zeros((4, 40), np.uint8)
APART = np.zeros((4, 80), np.uint8)[:, ::2]
MODEL, GAPS, LABEL = np.zeros(40, np.uint8), np.array([(0, 10), (12, 40)]), slice(10, 12)
WRONG_ARRAYS = {
    "frames: dtype": (TypeError, lambda: native.count_valid_frames(BYTES.view(np.int8), True)),
    "frames: strided": (ValueError, lambda: native.count_valid_frames(APART, True)),
    "frames: every other": (ValueError, lambda: native.count_valid_frames(BYTES[::2], True)),
    "frames: shorter than a frame": (ValueError, lambda: native.count_valid_frames(BYTES[:, :15].copy(), True)),
    "data: dtype": (TypeError, lambda: native.find_frames(np.zeros(64, np.int32), 2, 1 << 30, 8)),
    "data: strided": (ValueError, lambda: native.find_frames(np.zeros(64, np.uint8)[::2], 2, 1 << 30, 8)),
    "data: negative limit": (ValueError, lambda: native.find_frames(BYTES[0], 2, -1, 8)),
    "rows: dtype": (TypeError, lambda: native.match_layout(BYTES.view(np.int8), MODEL, GAPS, LABEL)),
    "model: dtype": (TypeError, lambda: native.match_layout(BYTES, MODEL.astype(np.int64), GAPS, LABEL)),
    "model: strided": (ValueError, lambda: native.match_layout(BYTES, APART.reshape(-1)[:80:2], GAPS, LABEL)),
    "model: length": (ValueError, lambda: native.match_layout(BYTES, MODEL[:39], GAPS, LABEL)),
    "gaps: dtype": (TypeError, lambda: native.match_layout(BYTES, MODEL, GAPS.astype(np.int32), LABEL)),
    "gaps: transposed": (ValueError, lambda: native.match_layout(BYTES, MODEL, GAPS.T, LABEL)),
    "gaps: outside": (ValueError, lambda: native.match_layout(BYTES, MODEL, GAPS + 1, LABEL)),
    "gaps: backwards": (ValueError, lambda: native.match_layout(BYTES, MODEL, GAPS[:, ::-1].copy(), LABEL)),
    "label: outside": (ValueError, lambda: native.match_layout(BYTES, MODEL, GAPS, slice(39, 41))),
    "label: too long": (ValueError, lambda: native.match_layout(BYTES, MODEL, GAPS, slice(10, 21))),
}


@pytest.mark.parametrize(("error", "call"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS)
def test_an_array_that_c_would_misread_is_refused(error, call):
    with pytest.raises(error, match=r"Received: .* Expected: "):
        call()


def put(**changes: np.ndarray) -> None:
    """Two records into a ring of 3 batches of 4, some of the arrays changed."""
    numbers = np.arange(2)
    good = {"rows": numbers, "slots": numbers, "images": np.zeros((2, 8), np.uint8), "labels": numbers}
    BatchRing(3, 4, 8).put(**{**good, **changes})


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (TypeError, {"labels": np.arange(2, dtype=np.int32)}),
        (ValueError, {"labels": np.arange(4)[::2]}),
        (ValueError, {"labels": np.arange(1)}),
        (TypeError, {"rows": np.arange(2, dtype=np.uint8)}),
        (ValueError, {"rows": np.arange(1)}),
        (IndexError, {"rows": np.array([0, 3])}),
        (IndexError, {"rows": np.array([-1, 0])}),
        (TypeError, {"slots": np.arange(2.0)}),
        (IndexError, {"slots": np.array([4, 0])}),
        (TypeError, {"images": np.zeros((2, 8), np.int8)}),
        (ValueError, {"images": np.zeros((2, 7), np.uint8)}),
    ],
    ids=str,
)
def test_records_that_would_be_copied_wrong_are_refused(error, changes):
    put()
    with pytest.raises(error, match=r"Received: .* Expected: "):
        put(**changes)


def test_no_frames_are_no_valid_frames():
    assert native.count_valid_frames(np.empty((0, 100), np.uint8), True) == 0
    assert native.match_layout(BYTES[:0], MODEL, GAPS, LABEL).tolist() == []


@given(contents, st.sampled_from(["full", "header", "off"]), st.lists(st.integers(1, 4000), min_size=1, max_size=4))
def test_lists_are_the_same_records_at_the_same_places(contents, crc, sizes):
    data = b"".join(map(frame, contents))
    for used in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not used:
                patch.setattr(native, "library", None)
            found = list(records.read_tfrecord_lists(ChunkedStream(data, sizes), crc, lambda _: True))
            whole = list(records.read_tfrecords(ChunkedStream(data, sizes), crc))
        assert [record for part in found for record in part.contents()] == contents
        places = [part.location(index) for part in found for index in range(len(part.records))]
        assert places == [block.location(row) for block in whole for row in range(len(block.rows))]
