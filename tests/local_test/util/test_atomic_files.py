"""A file is there whole or as it was; what is no file stays what it is."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local_test.util.atomic_files import write_whole


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


AS_ANOTHER = """
import os, sys
from pathlib import Path
from local_test.util.atomic_files import remove_tree
os.chdir(sys.argv[1])
if os.geteuid() == 0:  # root may write anywhere
    os.setuid(65534)
print(remove_tree(Path("a")), remove_tree(Path("none")))
"""


def test_a_tree_that_its_owner_may_not_write_is_removed(tmp_path: Path) -> None:
    """What a link in it leads to is not, nor made writable."""
    inside, kept = tmp_path / "open/a/b/c", tmp_path / "kept"
    inside.mkdir(parents=True)
    (kept / "folder").mkdir(parents=True)
    (inside / "file").touch()
    (inside / "link").symlink_to(kept)
    folders = (inside, inside.parent, inside.parent.parent)
    if os.geteuid() == 0:
        for path in (tmp_path / "open", *folders, inside / "file"):
            os.chown(path, 65534, -1)
    for path in (kept / "folder", kept, *folders):
        path.chmod(0o500)
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER, str(tmp_path / "open")], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.startswith("[] []"), done.stderr
    assert not any((tmp_path / "open").iterdir())
    assert stat.S_IMODE(kept.stat().st_mode) == 0o500


def test_a_tree_that_cannot_be_removed_is_told_not_raised(tmp_path: Path) -> None:
    """A job that has ended has to say so, whatever is left of it."""
    code = (
        "import os, resource, sys; from pathlib import Path; from local_test.util.atomic_files import remove_tree;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); print(remove_tree(Path(sys.argv[1])))"
    )
    (tmp_path / "tree").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tree")], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == f"['{tmp_path}/tree: Too many open files']\n", done.stderr
