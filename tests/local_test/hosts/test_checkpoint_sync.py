import os
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from local_test.data.object_store import ObjectStore
from local_test.errors import DataError
from local_test.hosts.checkpoint_sync import CheckpointSync
from local_test.hosts.container_tree import ContainerTree
from local_test.util.atomic_files import file_uri
from tests.support.served import until


class Watched(ObjectStore):
    """Tells what was copied."""

    def __init__(self) -> None:
        super().__init__()
        self.copied: list[str] = []
        self.changed = threading.Condition()
        self.broken = False

    def put(self, source: BinaryIO, uri: str) -> None:
        if self.broken:
            raise DataError("no space")
        super().put(source, uri)
        with self.changed:
            self.copied.append(uri.rsplit("/", 1)[1])
            self.changed.notify_all()

    def wait_for(self, name: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: name in self.copied, 100)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def sync(here: Path, there: Path, storage: ObjectStore, problems: list[Exception] | None = None) -> CheckpointSync:
    heard = [] if problems is None else problems
    return CheckpointSync(ContainerTree(here), file_uri(there), storage, heard.append, seconds=0.02)


def test_copied_while_the_job_runs_and_at_its_end(here: Path, tmp_path: Path) -> None:
    storage = Watched()
    checkpoints = sync(here, tmp_path / "there", storage)
    assert checkpoints.restore(lambda: None) == []
    checkpoints.start()
    (here / "epoch").mkdir()
    (here / "epoch/1").write_text("one")
    storage.wait_for("1")
    assert (tmp_path / "there/epoch/1").read_text() == "one"
    (here / "epoch/1").write_text("one, again")
    (here / "last").write_text("last")
    checkpoints.stop()
    assert (tmp_path / "there/epoch/1").read_text() == "one, again"
    assert (tmp_path / "there/last").read_text() == "last"


def test_a_file_that_never_rests_is_copied_and_again(here: Path, tmp_path: Path) -> None:
    storage, ended = Watched(), threading.Event()
    checkpoints = sync(here, tmp_path / "there", storage)

    def grow() -> None:
        with (here / "events").open("wb", buffering=0) as file:
            while not ended.wait(0.001):
                file.write(b"event\n")

    writer = threading.Thread(target=grow)
    checkpoints.start()
    writer.start()
    storage.wait_for("events")
    copied = tmp_path / "there/events"
    first = copied.stat().st_size
    until(lambda: copied.stat().st_size > first)
    ended.set()
    writer.join()
    checkpoints.stop()
    assert copied.read_bytes() == (here / "events").read_bytes()


def test_restored_and_not_copied_back_unchanged(here: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    (there / "deep").mkdir(parents=True)
    (there / "deep/state").write_text("epoch 3")
    (there / "deep/.state.7.part").write_text("cut short")
    storage = Watched()
    checkpoints = sync(here, there, storage)
    assert [item.name for item in checkpoints.restore(lambda: None)] == ["deep/state"]
    assert [path.name for path in (here / "deep").iterdir()] == ["state"]
    checkpoints.start()
    checkpoints.stop()
    assert storage.copied == []


def test_what_the_program_removes_stays_where_it_was_copied_to(here: Path, tmp_path: Path) -> None:
    storage = Watched()
    checkpoints = sync(here, tmp_path / "there", storage)
    checkpoints.start()
    (here / "old").write_text("x")
    storage.wait_for("old")
    (here / "old").unlink()
    checkpoints.stop()
    assert (tmp_path / "there/old").exists()


def test_a_copy_that_fails_is_told_tried_again_and_fails_at_the_end(here: Path, tmp_path: Path) -> None:
    storage, problems, told = Watched(), [], threading.Event()
    storage.broken = True
    checkpoints = CheckpointSync(
        ContainerTree(here),
        file_uri(tmp_path / "there"),
        storage,
        lambda error: (problems.append(error), told.set()),
        0.02,
    )
    checkpoints.start()
    (here / "a").write_text("x")
    assert told.wait(100)
    with pytest.raises(DataError, match="no space"):
        checkpoints.stop()


def test_links_lead_nowhere_but_to_files_of_the_folder(here: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the user's")
    (here / "state").write_text("epoch 3")
    links = {"latest": "state", "newest": "latest", "out": "../secret", "environ": "/proc/self/environ", "loop": "loop"}
    for name, target in links.items():
        (here / name).symlink_to(target)
    problems: list[Exception] = []
    checkpoints = sync(here, tmp_path / "there", Watched(), problems)
    checkpoints.start()
    checkpoints.stop()
    assert {path.name: path.read_text() for path in (tmp_path / "there").iterdir()} == {
        "state": "epoch 3", "latest": "epoch 3", "newest": "epoch 3",
    }  # fmt: skip
    assert problems == []


def test_a_folder_that_became_a_link_is_not_copied(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/checkpoints").symlink_to("/etc")
    tree = ContainerTree(tmp_path / "base", "checkpoints")
    checkpoints = CheckpointSync(tree, file_uri(tmp_path / "there"), Watched(), lambda _: None, 0.02)
    checkpoints.start()
    checkpoints.stop()
    assert not (tmp_path / "there").exists()


def test_a_name_that_is_not_text_is_told_once_and_the_others_are_copied(here: Path, tmp_path: Path) -> None:
    problems: list[Exception] = []
    (here / os.fsdecode(b"\xff")).write_text("x")
    (here / "a").write_text("x")
    checkpoints = sync(here, tmp_path / "there", Watched(), problems)
    checkpoints.start()
    checkpoints.stop()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a"]
    assert [str(problem) for problem in problems] == ["the name is not UTF-8. Received: '\\udcff'"]


def test_one_file_that_cannot_be_copied_keeps_no_other_one_back(here: Path, tmp_path: Path) -> None:
    class Picky(Watched):
        def put(self, source: BinaryIO, uri: str) -> None:
            if uri.endswith("/b"):
                raise DataError("not this one")
            super().put(source, uri)

    storage, problems = Picky(), list[Exception]()
    for name in "abc":
        (here / name).write_text("x")
    checkpoints = sync(here, tmp_path / "there", storage, problems)
    checkpoints.start()
    storage.wait_for("c")
    (here / "d").write_text("x")
    storage.wait_for("d")
    with pytest.raises(DataError, match="not this one"):
        checkpoints.stop()
    assert sorted(storage.copied) == ["a", "c", "d"]
    assert len(problems) <= 2  # not one a look
