"""Where pictures are: a folder, a zip, a tar. Each lists its files and reads any of them, in any order.

Nothing is ever unpacked under the name an archive gives it, so a name such as `../../etc/passwd` is only a name.
"""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from dataset.console import progress_bar
from dataset.errors import DatasetError, describe_error, to_one_line

FILE_LIMIT = 256 << 20  # bytes; a "picture" larger than this is a bomb or a mistake
MAX_BYTES = 64 << 30  # that an archive may unpack to: a thousandth of it can be the archive
_MOST_LINKS = 100  # to one folder
_BLOCK = 512  # of a tar
_COPY = 1 << 20
_MAX_ATTRIBUTES = 1 << 20  # bytes: a name of any file system is shorter
_ATTRIBUTES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second is an empty one
_EXPECTED = "a folder, a zip, or a tar (plain, gz, bz2 or xz) of pictures"
# what reading damaged or unsupported archives raises; encrypted zip entries are a RuntimeError
_DAMAGE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
)


@dataclass(frozen=True)
class Member:
    """A file of a store: its path there with `/`, and where the store finds it."""

    path: str
    where: Any


class Store(Protocol):
    """Picklable: each process opens its own."""

    kind: str
    path: Path

    def members(self) -> list[Member]:
        """Every file, sorted by path."""

    def read(self, member: Member) -> bytes:
        """Its bytes. Raises DatasetError that names store and member."""


def open_store(path: Path, scratch: Path, max_bytes: int = MAX_BYTES) -> Store:
    """The store at `path`; `scratch` takes a compressed tar's plain form. Raises DatasetError, also for an archive that
    unpacks to more than `max_bytes`."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return Folder(path)
        if not stat.S_ISREG(mode):  # a FIFO or a device may have no end, and can't be read twice
            raise DatasetError(f"neither a file nor a folder. Received: --source {path}. Expected {_EXPECTED}")
        head = _head(path)
    except FileNotFoundError:
        raise DatasetError(f"no such file or folder. Received: --source {path}") from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {describe_error(error)}") from None
    return _archive(path, head, scratch, max_bytes)


def _archive(path: Path, head: bytes, scratch: Path, max_bytes: int) -> Store:
    if head.startswith(_ZIP) or zipfile.is_zipfile(path):
        return Zip(path, max_bytes)
    plain = path
    for magic, opener in _OPENERS.items():
        if head.startswith(magic):
            plain = _unpack(path, opener, scratch / "archive.tar", max_bytes)
            head = _head(plain)
    if _is_tar(head):
        return Tar(path, plain)
    raise DatasetError(f"not an archive. Received: {path} ({_size(path)}). Expected {_EXPECTED}")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BLOCK)


def _is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")  # checks the header's checksum
    except tarfile.HeaderError:
        return False
    return True


def _size(path: Path) -> str:
    return f"{path.stat().st_size:,} bytes"


class Folder:
    kind = "folder"

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        files = (Path(folder, name) for folder, names in _walk(self.path) for name in names)
        paths = (file.relative_to(self.path).as_posix() for file in files)
        return sorted((Member(path, path) for path in paths), key=_by_path)

    def read(self, member: Member) -> bytes:
        try:
            with (self.path / member.where).open("rb") as file:
                return _read_limited(file, f"{self.path / member.path}")
        except OSError as error:
            raise DatasetError(f"{self.path / member.path} cannot be read: {describe_error(error)}") from None


def _walk(root: Path) -> Iterator[tuple[str, list[str]]]:
    """os.walk through links too: class folders often are links, and `val` may be one to `train`. Not into a folder that
    it is in already, as links may form a circle; DatasetError for a maze of them."""
    entered: Counter[str] = Counter()
    around: dict[str, tuple[str, ...]] = {}  # a folder → those that it is in, by their real names

    def unreadable(error: OSError) -> None:
        raise DatasetError(f"{error.filename} cannot be read: {describe_error(error)}")

    for folder, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        real = os.path.realpath(folder)
        outer = around.pop(folder, ())
        if real in outer:
            folders.clear()
            continue
        entered[real] += 1
        if entered[real] > _MOST_LINKS:
            raise DatasetError(f"{root} has over {_MOST_LINKS} links to one folder. Received: {real}")
        folders.sort()
        around |= {os.path.join(folder, name): (*outer, real) for name in folders}  # noqa: PTH118 -- as os.walk names it
        yield folder, [name for name in names if _is_file(Path(folder, name))]


def _is_file(path: Path) -> bool:
    """Or a link that leads nowhere: of a picture that git-annex or DVC has not fetched, and that would be missed."""
    return path.is_file() or (path.is_symlink() and not path.exists())


class Zip:
    kind = "zip"

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._file: zipfile.ZipFile | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_file": None}

    def _open(self) -> zipfile.ZipFile:
        if self._file is None:
            try:
                self._file = zipfile.ZipFile(self.path)
            except _DAMAGE as error:
                # the list of a zip is at its end: without it, the end is missing
                raise DatasetError(
                    f"{self.path} is truncated or damaged: {describe_error(error)} ({_size(self.path)})"
                ) from None
        return self._file

    def members(self) -> list[Member]:
        infos = self._open().infolist()
        if sum(info.file_size for info in infos) > self._max_bytes:  # no entry gives more than it announces
            raise _too_much(self.path, self._max_bytes)
        # archives made on Windows by old programs have backslashes
        places = {_clean(info.filename.replace("\\", "/")): n for n, info in enumerate(infos) if not info.is_dir()}
        return sorted((Member(path, where) for path, where in places.items()), key=_by_path)

    def read(self, member: Member) -> bytes:
        archive = self._open()
        try:
            with archive.open(archive.infolist()[member.where]) as file:
                return _read_limited(file, f"{self.path}: {member.path}")
        except _DAMAGE as error:
            raise DatasetError(f"{self.path}: {member.path} cannot be read: {describe_error(error)}") from None


class _Entry(tarfile.TarInfo):
    """tarfile takes a long name and other attributes into memory, however long the archive says that they are."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Entry":
        entry = super().frombuf(buf, encoding, errors)
        if entry.type in _ATTRIBUTES and entry.size > _MAX_ATTRIBUTES:
            raise ValueError(f"a name or attributes of {entry.size:,} bytes. Expected: at most {_MAX_ATTRIBUTES:,}")
        return entry


class Tar:
    """`plain` is the uncompressed tar: only there can files be read in any order."""

    kind = "tar"

    def __init__(self, path: Path, plain: Path) -> None:
        self.path = path
        self._plain = plain

    def members(self) -> list[Member]:
        try:
            with tarfile.open(self._plain, "r:", tarinfo=_Entry) as archive:
                places = dict(_find_files(archive))
                end = archive.offset
        except _DAMAGE as error:
            raise DatasetError(f"{self.path} is truncated or damaged: {describe_error(error)}") from None
        self._check_end(end)
        return sorted((Member(path, where) for path, where in places.items()), key=_by_path)

    def _check_end(self, end: int) -> None:
        """tarfile takes a damaged header, or none at all, for the end; the format has a block of zeros there."""
        with self._plain.open("rb") as file:
            file.seek(end)
            if file.read(_BLOCK) != bytes(_BLOCK):
                raise DatasetError(
                    f"{self.path} is truncated or damaged: its end is missing at byte {end:,} of the tar"
                )

    def read(self, member: Member) -> bytes:
        offset, size = member.where
        if size > FILE_LIMIT:
            raise DatasetError(f"{self.path}: {member.path} is too large for a picture: {size:,} bytes")
        try:
            with self._plain.open("rb", buffering=0) as file:
                return os.pread(file.fileno(), size, offset)
        except OSError as error:
            raise DatasetError(f"{self.path}: {member.path} cannot be read: {describe_error(error)}") from None


def _find_files(archive: tarfile.TarFile) -> Iterator[tuple[str, tuple[int, int]]]:
    """Path, offset and size of every file; a hard link is the file it names. Later entries replace earlier ones."""
    places: dict[str, tuple[int, int]] = {}
    for info in archive:
        if info.islnk() and _clean(info.linkname) in places:
            places[_clean(info.name)] = places[_clean(info.linkname)]
        elif info.isreg() and not info.issparse():
            places[_clean(info.name)] = (info.offset_data, info.size)
    return iter(places.items())


def _clean(name: str) -> str:
    """`./a//b` and `/a/b` are a/b, as for whoever unpacks. `..` stays: nothing is unpacked by name."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _too_much(path: Path, max_bytes: int) -> DatasetError:
    return DatasetError(f"{path} unpacks to more than {max_bytes:,} bytes ({_size(path)}): --max-bytes N allows more")


def _unpack(path: Path, opener: Callable[..., BinaryIO], plain: Path, max_bytes: int) -> Path:
    """Decompresses a tar once, because compressed ones can only be read from front to back."""
    with (
        path.open("rb") as raw,
        plain.open("wb") as target,
        progress_bar(path.stat().st_size, f"unpack {to_one_line(path.name)}", "B") as done,
        opener(raw) as source,
    ):
        while block := _block(path, source):
            if target.tell() + len(block) > max_bytes:
                raise _too_much(path, max_bytes)
            target.write(block)  # outside of _block: a full disk is not a damaged archive
            done.update(raw.tell() - done.n)
    return plain


def _block(path: Path, source: BinaryIO) -> bytes:
    try:
        return source.read(_COPY)
    except _DAMAGE as error:
        raise DatasetError(f"{path} is truncated or damaged: {describe_error(error)} ({_size(path)})") from None


def _read_limited(file: Any, name: str) -> bytes:
    data = file.read(FILE_LIMIT + 1)
    if len(data) > FILE_LIMIT:
        raise DatasetError(f"{name} is too large for a picture: over {FILE_LIMIT:,} bytes")
    return data


def _by_path(member: Member) -> str:
    return member.path
