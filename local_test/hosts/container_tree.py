"""A tree that a container writes, read from outside of it.

What lies there is the program's: any name may be a link that leads to this machine's own files, a FIFO that never ends,
a device. So nothing is opened by its path. Every folder on the way is opened by itself, links are never followed, and a
file is read only if it is a regular one.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from local_test.errors import DataError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a FIFO that nobody writes

_MAX_LINKS = 8  # one after the other
_MAX_NAME = 4096  # bytes: what no program opens by its path. Without an end their names would take all memory


@dataclass(frozen=True)
class Entry:
    """One name in a tree; `name` is relative to the tree's folder, `link` where a symbolic link leads, else empty."""

    name: str
    status: os.stat_result
    link: str = ""

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)


class ContainerTree:
    """The folder `name` below `base`. `base` is this machine's and trusted, what is below it is the container's.
    `links`: whether a link within the tree stands for the file that it leads to."""

    def __init__(self, base: Path, name: str = "", *, links: bool = True) -> None:
        self._base, self._parts, self._links = base, PurePosixPath(name).parts, links

    @property
    def path(self) -> Path:
        """Where the folder lies. For this machine's own writing before there is a container."""
        return self._base.joinpath(*self._parts)

    @property
    def is_folder(self) -> bool:
        """Whether the folder is there still, and is no link."""
        try:
            with self._open_folder(()):
                return True
        except OSError:
            return False

    def files(self) -> dict[str, Entry]:
        """Name → regular file. A relative link to a file of this tree is one too, such as `latest`: by its own name,
        with the entry that it leads to. Other links are left out."""
        entries = {entry.name: entry for entry in self.entries() if self._links or not entry.link}
        targets = {name: _follow(entry, entries) for name, entry in entries.items()}
        return {name: target for name, target in targets.items() if target and target.is_file}

    def entries(self) -> Iterator[Entry]:
        """Everything below the folder, folders before what they hold; nothing if the folder is missing, or no folder.

        Raises DataError if a folder can't be read, or lies too deep.
        """
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            parts = waiting.pop()
            for entry in self._list(parts):
                yield entry
                if entry.is_folder:
                    if len(os.fsencode(entry.name)) > _MAX_NAME:
                        raise DataError(
                            f"A folder of the container lies too deep. Received: {entry.name[:60]!a}… Expected: a path "
                            f"of at most {_MAX_NAME} bytes"
                        )
                    waiting.append(PurePosixPath(entry.name).parts)

    @contextmanager
    def open_file(self, name: str) -> Iterator[BinaryIO]:
        """A regular file's bytes. FileNotFoundError if there is none of that name, DataError for anything else."""
        *parents, last = PurePosixPath(name).parts
        try:
            with self._open_folder(tuple(parents)) as folder:
                descriptor = os.open(last, _FILE, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(name) from None
        except OSError as error:  # ELOOP: a link
            raise DataError(f"It is not a regular file that can be read: {error.strerror}. Received: {name}") from None
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DataError(f"It is not a regular file. Received: {name}")
            yield file

    @contextmanager
    def open_whole(self, name: str) -> Iterator[BinaryIO]:
        """As `open_file`, to be read to its end. DataError for a file of holes, which may be larger than any disk."""
        with self.open_file(name) as file:
            size, disk = os.fstat(file.fileno()).st_size, os.fstatvfs(file.fileno())
            if size > disk.f_blocks * disk.f_frsize:
                raise DataError(f"It is a file of holes, larger than its disk. Received: {name}, {size} bytes")
            yield file

    def read_start(self, name: str, limit: int) -> bytes:
        """The first `limit` bytes of a file; none if it is missing or no regular file."""
        try:
            with self.open_file(name) as file:
                return file.read(limit)
        except (DataError, FileNotFoundError):
            return b""

    def _list(self, parts: tuple[str, ...]) -> list[Entry]:
        shown = "/".join((*self._parts, *parts)) or "."
        try:
            with self._open_folder(parts) as folder:
                names = sorted(os.listdir(folder))  # noqa: PTH208 - of a descriptor
                found = [entry for name in names if (entry := _entry(folder, "/".join((*parts, name)), name))]
        except (FileNotFoundError, NotADirectoryError):  # a link is not a directory to O_NOFOLLOW, either
            return []
        except OSError as error:
            raise DataError(f"A folder of the container can't be read: {error.strerror}. Received: {shown}") from None
        return found

    @contextmanager
    def _open_folder(self, parts: tuple[str, ...]) -> Iterator[int]:
        """A folder's descriptor. Every component is opened in the one before it."""
        descriptor = os.open(self._base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in (*self._parts, *parts):
                below = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)


def _follow(entry: Entry, entries: Mapping[str, Entry]) -> Entry | None:
    """What a name stands for within the tree, by names alone; None if that is outside, or nothing."""
    target: Entry | None = entry
    for _ in range(_MAX_LINKS):
        if target is None or not target.link:
            return target
        name = os.path.normpath(PurePosixPath(target.name).parent / target.link)
        target = entries.get(name)
    return None


def _entry(folder: int, name: str, last: str) -> Entry | None:
    """None if it was removed since it was listed."""
    try:
        status = os.lstat(last, dir_fd=folder)
        return Entry(name, status, os.readlink(last, dir_fd=folder) if stat.S_ISLNK(status.st_mode) else "")
    except OSError:
        return None
