"""What a job's hosts leave: /opt/ml/model → model.tar.gz, the contents of /opt/ml/output/data → output.tar.gz."""

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from local_test.util.atomic_files import write_whole

_LEVEL = 6  # gzip's own default


def pack(folders: Sequence[Path], archive: Path) -> None:
    """Everything below the folders, merged, as a gzip'd tar; whole or not at all.

    Names are relative to their folder. Of files of one name that of the first folder is taken: the first host leads.
    """
    write_whole(archive, lambda file: _write(folders, file))


def _write(folders: Sequence[Path], file: BinaryIO) -> None:
    merged = {name: path for folder in reversed(folders) for name, path in _walk(folder)}
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=_LEVEL) as tar:
        for name, path in sorted(merged.items()):
            tar.add(path, arcname=name, recursive=False, filter=_plain)


def _walk(folder: Path) -> Iterator[tuple[str, Path]]:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            yield path.relative_to(folder).as_posix(), path


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files, folders and links, without this machine's users; a socket or FIFO is not an artifact."""
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
