"""The official archive's form: pickles written by Python 2, channel planes, names in batches.meta."""

import io
import pickle
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataset.errors import DatasetError
from dataset.sources.archives import open_store
from dataset.sources.cifar10 import Cifar10, cache_folder, is_cifar10

NAMES = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
PER_BATCH = 20
ROOT = Path(__file__).resolve().parents[3]


def python2(value: Any) -> bytes:
    """Protocol 2 as Python 2's cPickle wrote it: its str is BINSTRING, which Python 3 never writes."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return b"T" + struct.pack("<i", len(value)) + value
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_opcodes(item) for pair in value.items() for item in pair) + b"u"
    return _array(value)


def _array(array: np.ndarray) -> bytes:
    """As numpy 1.x of that time reduced an array: _reconstruct, then its state."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"(" + b"".join(_opcodes(side) for side in array.shape) + b"t"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + _opcodes(array.tobytes()) + b"tb"


def python3(value: Any) -> bytes:
    return pickle.dumps(value, protocol=2)


def batches(write: Any = python2) -> dict[str, bytes]:
    """Name → pickle. Batch k's pictures are noise of seed k, labels in turn."""
    files = {"batches.meta": write({b"num_cases_per_batch": PER_BATCH, b"label_names": NAMES, b"num_vis": 3072})}
    for k, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        labels = [i % 10 for i in range(PER_BATCH)]
        files[name] = write({b"batch_label": name.encode(), b"labels": labels, b"data": rows(k), b"filenames": [b"x"]})
    return {f"cifar-10-batches-py/{name}": content for name, content in files.items()}


def rows(k: int) -> np.ndarray:
    return np.random.default_rng(k).integers(0, 256, (PER_BATCH, 3072), np.uint8)


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def opened(path: Path, tmp_path: Path, image_size: int | None = None) -> Cifar10:
    store = open_store(path, tmp_path)
    members = store.members()
    assert is_cifar10(members)
    return Cifar10(store, members, image_size)


@pytest.mark.parametrize("write", [python2, python3])
def test_pictures_labels_and_names(write: Any, tmp_path: Path) -> None:
    source = opened(archive(tmp_path / "cifar-10-python.tar.gz", batches(write)), tmp_path)
    assert source.classes == tuple(name.decode() for name in NAMES)
    assert source.image_shape == (32, 32, 3)
    assert source.labels["train"].tolist() == [i % 10 for i in range(PER_BATCH)] * 5
    assert source.labels["validation"].tolist() == [i % 10 for i in range(PER_BATCH)]
    images = list(source.images("train", np.array([0, PER_BATCH + 3])))
    expected = [rows(0)[0], rows(1)[3]]
    assert images == [row.reshape(3, 32, 32).transpose(1, 2, 0).tobytes() for row in expected]
    (image,) = source.images("validation", np.array([7]))
    assert image[:3] == rows(5)[7].reshape(3, 1024)[:, 0].tobytes()
    assert source.description() == {"kind": "cifar10", "name": "cifar-10-python.tar.gz", "note": None}


def test_an_unpacked_one(tmp_path: Path) -> None:
    for name, content in batches().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert opened(tmp_path / "cifar-10-batches-py", tmp_path).image_shape == (32, 32, 3)


def test_another_size(tmp_path: Path) -> None:
    source = opened(archive(tmp_path / "a.tar.gz", batches()), tmp_path, image_size=16)
    assert source.image_shape == (16, 16, 3)
    assert [len(image) for image in source.images("train", np.array([0, 1]))] == [16 * 16 * 3] * 2
    assert source.description()["note"] == "scaled from 32×32 to 16×16 pixels"


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_3", pickle.dumps(Evil(), 2), r"data_batch_3 cannot be read: it names __builtin__.print"),
        ("data_batch_3", b"cos\nsystem\n(S'true'\ntR.", r"it names os.system, which no batch of CIFAR-10 does"),
        ("data_batch_3", batches()["cifar-10-batches-py/data_batch_3"][:1000], "data_batch_3 cannot be read"),
        ("data_batch_3", b"", "data_batch_3 cannot be read"),
        ("data_batch_3", python2([1, 2]), "data_batch_3 is not a batch of CIFAR-10. Expected a dictionary"),
        ("data_batch_3", python2({b"labels": [1]}), "is not a batch of CIFAR-10. Expected data of uint8 × 3072"),
        ("test_batch", python2({b"labels": [1, 2], b"data": rows(0)}), "Expected 20 labels from 0 to 9"),
        ("test_batch", python2({b"labels": [10] * 20, b"data": rows(0)}), "Expected 20 labels from 0 to 9"),
        ("batches.meta", python2({b"label_names": b"cat"}), "batches.meta is not a batch .* label_names"),
    ],
)
def test_bad_pickles_are_told_and_do_nothing(
    name: str, content: bytes, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {**batches(), f"cifar-10-batches-py/{name}": content}
    with pytest.raises(DatasetError, match=message):
        opened(archive(tmp_path / "a.tar.gz", files), tmp_path)
    assert "executed" not in capfd.readouterr().out


DTYPE = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
DEEP = b")" + b"\x85" * 900_000  # tuples in each other: what hashes, compares or shows them recurses
OBJECTS = b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ftb"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02" + DTYPE + b"(K\x03U\x01|(U\x01au1U\x01bK\x01tN}J\xff\xff\xff\xffK\x01K\x00tb.", "a dictionary"),
        (b"\x80\x02" + ARRAY + b"(K\x01(J\x00\x00\x00\x01t" + OBJECTS + b"\x89](K\x05K\x05etb.", "a dictionary"),
        (b"\x80\x02}(" + DEEP + b"K\x01u.", "it sets what is no item of a dictionary"),
        (b"\x80\x02}" + DTYPE + b"}b}u.", "pop from empty list"),
        (b"\x80\x02cnumpy\ndtype.__init__\n.", "it names numpy.dtype.__init__, which"),
        (b"\x80\x02cnumpy\ndtype\n}b.", "it gives a state to what has none"),
        pytest.param(
            b"\x80\x02N" + b"q\x00" * 1_000_001 + b".", "it has more than 1,000,000 opcodes", marks=pytest.mark.slow
        ),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "a dictionary"),  # `pickle` makes room for four billion objects
        (
            b"\x80\x02c_codecs\nencode\nq\x00(X\x00\x01\x00\x00"
            + b"a" * 256
            + b"U\x06latin1tq\x01R"
            + b"h\x00h\x01R" * 99
            + b".",
            "more than",
        ),
        (b"\x80\x02]\x94.", "a dictionary"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0f.", "cannot be read"),
    ],
)
def test_pickles_that_crash_pickle_or_fill_the_memory(content: bytes, message: str, tmp_path: Path) -> None:
    files = {**batches(), "cifar-10-batches-py/data_batch_3": content}
    with pytest.raises(DatasetError, match=message) as raised:
        opened(archive(tmp_path / "a.tar.gz", files), tmp_path)
    assert "\n" not in str(raised.value)


FUZZ = """
import sys
import types

from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.errors import DatasetError
from dataset.sources.cifar10 import _batch, _class_names

whole = sys.stdin.buffer.read()
calls = [b"cnumpy\\ndtype\\n", b"cnumpy.core.multiarray\\n_reconstruct\\n", b"U\\x02u1", b"U\\x02O8"]
pieces = st.sampled_from([*calls, b"K\\x01", b"q\\x00", b"h\\x00", *(bytes([code]) for code in b"(tRb}]Neus\\x85.")])
damage = st.tuples(st.integers(0, len(whole) - 1), st.binary(max_size=3) | pieces)
member = types.SimpleNamespace(path="b")

def edit(edits):
    data = bytearray(whole)
    for place, new in edits:
        data[place : place + len(new)] = new
    return bytes(data)

edited = st.lists(damage, min_size=1, max_size=6).map(edit)
made = st.lists(pieces, max_size=40).map(lambda parts: b"\\x80\\x02" + b"".join(parts) + b".")

@settings(max_examples=2000, deadline=None, database=None, derandomize=True)
@given(edited | made)
def check(data):
    store = types.SimpleNamespace(path="a", read=lambda _: data)
    for read in (lambda: _batch(store, member, 10), lambda: _class_names(store, member)):
        try:
            read()
        except DatasetError as error:
            str(error)

check()
"""


def test_no_damage_crashes_the_interpreter() -> None:
    """In a process of its own: numpy's and pickle's own crash it."""
    batch = python2({b"labels": [1], b"data": np.zeros((1, 3072), np.uint8), b"label_names": NAMES})
    done = subprocess.run(
        [sys.executable, "-c", FUZZ], input=batch.replace(bytes(3072), b""), capture_output=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_a_missing_batch_is_named(tmp_path: Path) -> None:
    files = batches()
    del files["cifar-10-batches-py/test_batch"]
    with pytest.raises(DatasetError, match="not all of CIFAR-10: test_batch is missing"):
        opened(archive(tmp_path / "a.tar.gz", files), tmp_path)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/cv-keras-cifar10"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "/h/.cache/cv-keras-cifar10"),
        ({"HOME": "/h"}, "/h/.cache/cv-keras-cifar10"),
    ],
)
def test_cache_folder(environment: dict[str, str], folder: str) -> None:
    assert str(cache_folder(environment)) == folder
