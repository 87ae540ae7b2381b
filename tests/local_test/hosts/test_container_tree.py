"""A container's tree as it may be left: links out of it, FIFOs, folders that nobody may read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_test.errors import DataError
from local_test.hosts.container_tree import ContainerTree, Entry
from local_test.util.atomic_files import remove_tree


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("of the user's")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_text("of the user's")
    folder = tmp_path / "base"
    (folder / "model/1/variables").mkdir(parents=True)
    (folder / "model/1/saved_model.pb").write_text("a model")
    (folder / "model/1/variables/data").write_text("weights")
    return folder


def kind(entry: Entry) -> str:
    return "file" if entry.is_file else "folder" if entry.is_folder else f"link {entry.link}" if entry.link else "other"


def names(tree: ContainerTree) -> dict[str, str]:
    return {entry.name: kind(entry) for entry in tree.entries()}


def test_everything_below_is_found_folders_first(base: Path) -> None:
    tree = ContainerTree(base, "model")
    assert names(tree) == {
        "1": "folder", "1/saved_model.pb": "file", "1/variables": "folder", "1/variables/data": "file",
    }  # fmt: skip
    with tree.open_file("1/variables/data") as file:
        assert file.read() == b"weights"


@pytest.mark.parametrize("target", ["../secrets", "/etc", "{tmp}/secrets", ".", "..", "nowhere", "x"])
@pytest.mark.parametrize("place", ["model", "model/1", "output/data", "output"])
def test_a_folder_that_became_a_link_is_empty(base: Path, tmp_path: Path, target: str, place: str) -> None:
    link = base / place
    link.parent.mkdir(exist_ok=True)
    if link.exists():
        link.rename(base / "aside")
    link.symlink_to(target.format(tmp=tmp_path))
    tree = ContainerTree(base, "output/data" if place.startswith("output") else "model")
    assert "key" not in "".join(names(tree))
    assert not [kind for kind in names(tree).values() if kind == "file"]
    for name in ("key", "1/key", "passwd", "1/passwd"):
        assert tree.read_start(name, 10) == b""


@pytest.mark.parametrize("target", ["/proc/self/environ", "../../secret", "/dev/zero", "1/saved_model.pb"])
def test_a_link_is_told_and_never_followed(base: Path, target: str) -> None:
    (base / "model/x").symlink_to(target)
    tree = ContainerTree(base, "model")
    assert names(tree)["x"] == f"link {target}"
    assert tree.read_start("x", 10) == b""
    with pytest.raises(DataError, match="not a regular file"), tree.open_file("x"):
        pass


def test_a_fifo_does_not_stop_the_reader(base: Path) -> None:
    os.mkfifo(base / "model/x")
    tree = ContainerTree(base, "model")
    assert names(tree)["x"] == "other"
    with pytest.raises(DataError, match="not a regular file"), tree.open_file("x"):
        pass


def test_a_name_that_is_missing(base: Path) -> None:
    tree = ContainerTree(base, "model")
    for name in ("nothing", "nothing/x", "1/saved_model.pb/x"):
        with pytest.raises(FileNotFoundError), tree.open_file(name):
            pass
    assert names(ContainerTree(base, "nothing")) == {}
    assert names(ContainerTree(base, "model/1/saved_model.pb")) == {}


def test_no_more_than_the_limit_is_read(base: Path) -> None:
    with (base / "failure").open("wb") as file:
        file.truncate(1 << 40)
    assert ContainerTree(base).read_start("failure", 4096) == bytes(4096)


def nest(folder: Path, name: str, depth: int) -> None:
    """So many folders of that name within each other, as deep as no path leads."""
    inner = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=inner)
        below = os.open(name, os.O_RDONLY, dir_fd=inner)
        os.close(inner)
        inner = below
    os.close(inner)


def test_a_thousand_folders_deep_and_no_end(base: Path) -> None:
    tree = ContainerTree(base, "model")
    nest(base / "model", "d", 1200)
    assert len(names(tree)) == 1204
    assert remove_tree(base / "model/d") == []
    nest(base / "model", "e" * 200, 25)
    with pytest.raises(DataError, match=r"lies too deep. Received: 'e+'… Expected: a path of at most 4096 bytes"):
        names(tree)
    assert remove_tree(base) == []


def test_names_that_are_not_text(base: Path) -> None:
    (base / "model" / os.fsdecode(b"\xff\xfe")).write_text("x")
    tree = ContainerTree(base, "model")
    assert tree.read_start(os.fsdecode(b"\xff\xfe"), 10) == b"x"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_cannot_be_read_is_an_error(base: Path) -> None:
    """As an ordinary user, whom modes bind."""
    (base / "model/1").chmod(0)
    base.chmod(0o755)
    code = (
        "import os, sys; from pathlib import Path; from local_test.hosts.container_tree import ContainerTree;"
        "os.chdir(sys.argv[1]); os.setuid(65534); list(ContainerTree(Path('.'), 'model').entries())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(base)], capture_output=True, text=True, timeout=200)
    assert "DataError: A folder of the container can't be read: Permission denied. Received: model/1" in done.stderr
