"""Files written whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial-"  # prefix of files being written; a kill leaves one, which is worth nothing


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write` gets a file beside `path` that takes its name once it is on disk; after an error nothing is left.

    OSError for what is no regular file: a device or a FIFO would be replaced by a file."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is there, and no regular file", str(path))
    partial = path.with_name(f"{PARTIAL}{path.name}")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """UTF-8, as it is."""
    write_whole(path, lambda file: file.write(text.encode()))
