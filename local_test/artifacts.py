"""What a job leaves: /opt/ml/model → model.tar.gz, the contents of /opt/ml/output/data → output.tar.gz."""

import tarfile
from pathlib import Path
from typing import BinaryIO

from local_test.files import write_whole

_LEVEL = 6  # gzip's own default


def pack(folder: Path, archive: Path) -> None:
    """Everything below `folder`, its names relative to it, as a gzip'd tar; whole or not at all."""
    write_whole(archive, lambda file: _write(folder, file))


def _write(folder: Path, file: BinaryIO) -> None:
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=_LEVEL) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files, folders and links, without this machine's users; a socket or FIFO is not an artifact."""
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
