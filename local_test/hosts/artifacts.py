"""What a job's hosts leave: /opt/ml/model → model.tar.gz, the contents of /opt/ml/output/data → output.tar.gz; or
the files of each as objects of their own."""

import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from local_test.data.object_store import ObjectStore, join_uri, name_problem
from local_test.hosts.container_tree import ContainerTree, Entry
from local_test.hosts.report import enclose
from local_test.util.atomic_files import write_whole

REPORT = "report.html"
_MAX_REPORT = 64 << 20  # bytes
_LEVEL = 6  # gzip's own default


def checked(file: BinaryIO, check: Callable[[], None]) -> BinaryIO:
    """The file, which calls `check` before each reading: that may raise to end the work."""
    return cast("BinaryIO", _CheckedFile(file, check))


class _CheckedFile:
    def __init__(self, file: BinaryIO, check: Callable[[], None]) -> None:
        self._file, self._check = file, check

    def read(self, size: int = -1, /) -> bytes:
        self._check()
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def pack(trees: Sequence[ContainerTree], archive: Path, check: Callable[[], None]) -> None:
    """Everything in the trees, merged, as a gzip'd tar; whole or not at all. Links are kept as links.

    Of files of one name that of the first tree is taken: the first host leads. DataError if a tree can't be read;
    `check` may raise to end the work.
    """
    write_whole(archive, lambda file: _write(trees, file, check))


def _write(trees: Sequence[ContainerTree], file: BinaryIO, check: Callable[[], None]) -> None:
    merged = {entry.name: (tree, entry) for tree in reversed(trees) for entry in tree.entries()}
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=_LEVEL) as tar:
        for _, (tree, entry) in sorted(merged.items()):
            check()
            _add(tar, tree, entry, check)


def put_files(trees: Sequence[ContainerTree], uri: str, storage: ObjectStore, check: Callable[[], None]) -> list[str]:
    """Every file in the trees, merged as in an archive, as an object below the URI; of those that can be none, why.

    DataError if one can't be read or written.
    """
    merged = {name: (tree, entry) for tree in reversed(trees) for name, entry in tree.files().items()}
    problems = []
    for name, (tree, entry) in sorted(merged.items()):
        if problem := name_problem(join_uri(uri, name)):
            problems.append(f"{problem}. Received: {name!a}")
            continue
        with tree.open_whole(entry.name) as content:
            storage.put(checked(content, check), join_uri(uri, name))
    return problems


def keep_report(trees: Sequence[ContainerTree], folder: Path) -> None:
    """report.html, of the first host that has one, where a person finds and opens it without unpacking an archive.

    DataError or OSError if it can't be read or written.
    """
    page = _find_report(trees)
    if page is not None:
        write_whole(folder / REPORT, lambda file: file.write(enclose(page)))


def _find_report(trees: Sequence[ContainerTree]) -> bytes | None:
    for tree in trees:
        entry = tree.files().get(REPORT)
        if entry and entry.status.st_size <= _MAX_REPORT:
            with tree.open_file(entry.name) as content:
                return content.read(_MAX_REPORT)
    return None


def _add(tar: tarfile.TarFile, tree: ContainerTree, entry: Entry, check: Callable[[], None]) -> None:
    """Without this machine's users. A socket, FIFO or device is not an artifact."""
    member = tarfile.TarInfo(entry.name)
    member.mode, member.mtime = entry.status.st_mode & 0o7777, int(entry.status.st_mtime)
    if entry.is_file:
        member.size = entry.status.st_size
        with tree.open_whole(entry.name) as content:
            tar.addfile(member, checked(content, check))
    elif entry.is_folder or entry.link:
        member.type, member.linkname = (tarfile.SYMTYPE if entry.link else tarfile.DIRTYPE), entry.link
        tar.addfile(member)
