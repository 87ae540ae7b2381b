"""A file is there whole or as it was; what is no file stays what it is."""

import os
import stat
from pathlib import Path

import pytest

from train.runtime.atomic_files import write_whole


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content in (b"old", b"new"):
        write_whole(path, lambda file, content=content: file.write(content))
    assert path.read_bytes() == b"new"
    with pytest.raises(ZeroDivisionError):
        write_whole(path, lambda file: (file.write(b"half"), 1 / 0))
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: Path(path).symlink_to("/dev/null")])
def test_a_device_a_fifo_and_a_folder_stay(tmp_path: Path, make) -> None:
    path = tmp_path / "a"
    make(path)
    before = stat.S_IFMT(path.lstat().st_mode)
    with pytest.raises(OSError, match="it is there, and no regular file"):
        write_whole(path, lambda file: file.write(b"x"))
    assert stat.S_IFMT(path.lstat().st_mode) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
