"""Folder, zip and tar list the same files and give the same bytes; damaged ones are told in a line."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dataset.errors import DatasetError
from dataset.sources import archives
from dataset.sources.archives import Member, open_store

FILES = {"train/cat/1.jpg": b"one", "train/dog/2.jpg": b"two" * 1000, "val/ä ö/3.jpg": b"", "README": b"read"}


def zipped(path: Path, files: dict[str, bytes] = FILES, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes] = FILES, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def foldered(path: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


MAKERS: dict[str, Callable[[Path], Path]] = {
    "folder": foldered,
    "a.zip": zipped,
    "stored.zip": lambda path: zipped(path, compression=zipfile.ZIP_STORED),
    "a.tar": tarred,
    "a.tar.gz": lambda path: tarred(path, mode="w:gz"),
    "a.tar.bz2": lambda path: tarred(path, mode="w:bz2"),
    "a.tar.xz": lambda path: tarred(path, mode="w:xz"),
    "no suffix": lambda path: tarred(path, mode="w:gz"),
}


def content(path: Path, scratch: Path) -> dict[str, bytes]:
    scratch.mkdir(exist_ok=True)
    store = open_store(path, scratch)
    return {member.path: store.read(member) for member in store.members()}


@pytest.mark.parametrize("name", MAKERS)
def test_all_kinds_hold_the_same(name: str, tmp_path: Path) -> None:
    path = MAKERS[name](tmp_path / name)
    assert content(path, tmp_path / "scratch") == FILES
    assert list(content(path, tmp_path / "scratch")) == sorted(FILES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.zip", "is truncated or damaged: File is not a zip file"),
        ("a.tar", "is truncated or damaged: "),
        ("a.tar.gz", "is truncated or damaged: Compressed file ended before the end-of-stream marker"),
        ("a.tar.bz2", "is truncated or damaged: Compressed file ended"),
        ("a.tar.xz", "is truncated or damaged: Compressed file ended"),
    ],
)
def test_truncated(name: str, message: str, tmp_path: Path) -> None:
    path = MAKERS[name](tmp_path / name)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if name != "a.tar" else whole[:3000])
    with pytest.raises(DatasetError, match=rf"{name} {message}"):
        content(path, tmp_path / "scratch")


def test_a_tar_cut_between_two_files_is_noticed(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar")
    path.write_bytes(path.read_bytes()[:1024])  # a header, "one" and its padding
    with pytest.raises(DatasetError, match="is truncated or damaged: its end is missing at byte 1,024"):
        content(path, tmp_path / "scratch")


def test_a_tar_with_a_damaged_header_is_noticed(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar")
    whole = bytearray(path.read_bytes())
    whole[1024:1124] = b"\xff" * 100
    path.write_bytes(whole)
    with pytest.raises(DatasetError, match="is truncated or damaged"):
        content(path, tmp_path / "scratch")


def test_a_damaged_file_in_a_zip_is_named(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"train/cat/1.jpg": os.urandom(1000)}, zipfile.ZIP_STORED)
    damaged = bytearray(path.read_bytes())
    damaged[500] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match=r"a.zip: train/cat/1.jpg cannot be read: Bad CRC-32"):
        content(path, tmp_path / "scratch")


def test_damaged_gzip_data_is_noticed(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar.gz", {"train/cat/1.jpg": os.urandom(10_000)}, "w:gz")
    damaged = bytearray(path.read_bytes())
    damaged[-8:-4] = b"\0\0\0\0"  # the CRC
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match="is truncated or damaged: CRC check failed"):
        content(path, tmp_path / "scratch")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b"not an archive"),
        ("empty", b""),
        ("a.csv.gz", gzip.compress(b"1,2,3\n")),
        ("a.bz2", bz2.compress(b"x")),
        ("a.xz", lzma.compress(b"x")),
        ("a.7z", b"7z\xbc\xaf\x27\x1c"),
    ],
)
def test_not_an_archive(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(
        DatasetError, match=rf"not an archive. Received: .*{name} \({len(data)} bytes\). Expected a folder, a zip"
    ):
        content(tmp_path / name, tmp_path / "scratch")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no such file or folder. Received: --source .*nowhere"):
        open_store(tmp_path / "nowhere", tmp_path)


def test_names_that_lead_out_are_only_names(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    names = {"../escaped.jpg": b"x", "/tmp/absolute.jpg": b"x", "a/../../escaped.jpg": b"x"}
    for path in (zipped(tmp_path / "box/a.zip", names), tarred(tmp_path / "box/a.tar.gz", names, "w:gz")):
        content(path, tmp_path / "box/scratch")
    assert not (tmp_path / "escaped.jpg").exists()
    assert not Path("/tmp/absolute.jpg").exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["box"]


def test_a_hard_link_in_a_tar_is_its_file_and_a_device_is_nothing(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
        for name, kind in (("b.jpg", tarfile.LNKTYPE), ("c.jpg", tarfile.SYMTYPE), ("d.jpg", tarfile.CHRTYPE)):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "a.jpg"
            archive.addfile(link)
    assert content(tmp_path / "a.tar", tmp_path / "scratch") == {"a.jpg": b"abc", "b.jpg": b"abc"}


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_name_without_end_is_not_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("long")
        info.type, info.size = kind, 2 << 20
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(
        DatasetError, match=r"a\.tar\.gz is truncated or damaged: a name or attributes of 2,097,152 bytes"
    ):
        content(tmp_path / "a.tar.gz", tmp_path / "scratch")


def test_backslashes_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = "train\\cat\\1.jpg"
        archive.writestr(info, b"one")
    assert content(tmp_path / "a.zip", tmp_path / "scratch") == {"train/cat/1.jpg": b"one"}


@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_name_given_twice_is_its_last_file(make: Callable[..., Path], tmp_path: Path) -> None:
    path = make(tmp_path / "a", {"./a.jpg": b"old", "b.jpg": b"b", "a.jpg": b"new"})
    assert content(path, tmp_path / "scratch") == {"a.jpg": b"new", "b.jpg": b"b"}


def test_an_encrypted_zip_is_told(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"1.jpg": b"one"})
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"1.jpg cannot be read: .*encrypted, password required"):
        content(path, tmp_path / "scratch")


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.tar"])
def test_a_file_too_large_for_a_picture_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FILE_LIMIT", 100)
    path = MAKERS[name](tmp_path / name)
    with pytest.raises(DatasetError, match=r"2.jpg is too large for a picture"):
        content(path, tmp_path / "scratch")


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    """A class's folder, a split's; a link that leads nowhere is a picture that can't be read, not none."""
    foldered(tmp_path / "elsewhere", {"1.jpg": b"one"})
    (tmp_path / "set/train").mkdir(parents=True)
    (tmp_path / "set/train/cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/train/circle").symlink_to(tmp_path / "set")
    (tmp_path / "set/val").symlink_to("train")
    assert content(tmp_path / "set", tmp_path / "scratch") == {"train/cat/1.jpg": b"one", "val/cat/1.jpg": b"one"}
    (tmp_path / "set/train/broken.jpg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"set/train/broken.jpg cannot be read: No such file"):
        content(tmp_path / "set", tmp_path / "scratch")


def test_a_maze_of_links_is_refused(tmp_path: Path) -> None:
    """Each way through 12 folders that lead to each other would be one of its own: 12! of them."""
    for one in range(12):
        (tmp_path / f"{one}").mkdir()
        for other in range(12):
            (tmp_path / f"{one}/to-{other}").symlink_to(f"../{other}")
    with pytest.raises(DatasetError, match=r"has over 100 links to one folder. Received: "):
        content(tmp_path, tmp_path / "scratch")


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    store = open_store(foldered(tmp_path / "set"), tmp_path)
    with pytest.raises(DatasetError, match=r"set/gone.jpg cannot be read: No such file"):
        store.read(Member("gone.jpg", "gone.jpg"))
