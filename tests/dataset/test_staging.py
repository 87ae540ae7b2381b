"""A prepared folder is there whole or not at all, and what was there before is lost in no case."""

import signal
from pathlib import Path

import pytest

from dataset import interrupt, manifest
from dataset.errors import DatasetError
from dataset.manifest import Manifest
from dataset.staging import Staging, staging

EMPTY = Manifest((8, 8, 3), ("a", "b"), 0, {"kind": "zip", "name": "", "note": None}, {"train": (), "validation": ()})


def fill(folder: Path, mark: str) -> None:
    manifest.write(EMPTY, folder)
    (folder / "train").mkdir()
    (folder / "train/train-00000-of-00001.tfrecord").write_text(mark)


def prepare(out: Path, mark: str) -> None:
    with staging(out) as stage:
        fill(stage.fresh, mark)
        stage.commit()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def mark_of(out: Path) -> str:
    return (out / "train/train-00000-of-00001.tfrecord").read_text()


def test_committed_is_there_and_nothing_else(tmp_path: Path) -> None:
    prepare(tmp_path / "data", "new")
    assert mark_of(tmp_path / "data") == "new"
    assert names(tmp_path) == ["data"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), staging(tmp_path / "deep/down/data") as stage:
        fill(stage.fresh, "new")
        (stage.scratch / "archive.tar").touch()
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_a_failure_leaves_the_old(tmp_path: Path) -> None:
    prepare(tmp_path / "data", "old")
    with pytest.raises(ZeroDivisionError), staging(tmp_path / "data") as stage:
        fill(stage.fresh, "new")
        raise ZeroDivisionError
    assert mark_of(tmp_path / "data") == "old"
    assert names(tmp_path) == ["data"]


def test_the_new_replaces_the_old(tmp_path: Path) -> None:
    prepare(tmp_path / "data", "old")
    prepare(tmp_path / "data", "new")
    assert mark_of(tmp_path / "data") == "new"
    assert names(tmp_path) == ["data"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to("disk")
    prepare(tmp_path / "data", "new")
    assert (tmp_path / "data").is_symlink()
    assert mark_of(tmp_path / "disk") == "new"


def test_a_rename_that_fails_brings_the_old_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path / "data", "old")
    rename = Path.rename

    def fail_for_fresh(self: Path, target: Path) -> Path:
        if self.name == "fresh":
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_fresh)
    with pytest.raises(DatasetError, match=r"data cannot be written: Input/output error"):
        prepare(tmp_path / "data", "new")
    assert mark_of(tmp_path / "data") == "old"
    assert names(tmp_path) == ["data"]


def test_killed_between_the_renames_the_old_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "data"
    prepare(out, "old")
    stage = Staging(out)
    stage.root.mkdir()
    out.rename(stage.replaced)  # where SIGKILL struck
    with pytest.raises(ZeroDivisionError), staging(out):
        raise ZeroDivisionError
    assert mark_of(out) == "old"
    assert names(tmp_path) == ["data"]


def test_left_over_by_a_killed_process_is_cleared(tmp_path: Path) -> None:
    left = Staging(tmp_path / "data")
    left.root.mkdir()
    left.begin()
    (left.fresh / "half").touch()
    prepare(tmp_path / "data", "new")
    assert names(tmp_path) == ["data"]
    assert not (tmp_path / "data/half").exists()


def test_the_second_is_told(tmp_path: Path) -> None:
    with staging(tmp_path / "data") as stage:
        with pytest.raises(DatasetError, match=r"another `prepare` is writing .*/data: let it end"):
            prepare(tmp_path / "data", "second")
        fill(stage.fresh, "first")
        stage.commit()
    assert mark_of(tmp_path / "data") == "first"
    assert names(tmp_path) == ["data"]


def test_two_folders_side_by_side_do_not_meet(tmp_path: Path) -> None:
    with staging(tmp_path / "one") as one:
        prepare(tmp_path / "two", "two")
        fill(one.fresh, "one")
        one.commit()
    assert names(tmp_path) == ["one", "two"]


@pytest.mark.parametrize("name", ["notes.txt", "train/notes.txt", "cats/1.jpg"])
def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path, name: str) -> None:
    prepare(tmp_path / "data", "old")
    stranger = tmp_path / "data" / name
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_text("mine")
    with pytest.raises(DatasetError, match="was not written by `prepare`: move it away"):
        prepare(tmp_path / "data", "new")
    assert stranger.read_text() == "mine"


def test_a_folder_without_dataset_json_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/thesis.tex").write_text("mine")
    with pytest.raises(DatasetError, match=r"holds files but no dataset.json: it is not replaced"):
        prepare(tmp_path / "data", "new")
    assert (tmp_path / "data/thesis.tex").read_text() == "mine"


def test_someone_elses_dataset_json_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/dataset.json").write_text('{"title": "mine"}')
    with pytest.raises(DatasetError, match="is not a data set's description"):
        prepare(tmp_path / "data", "new")
    assert (tmp_path / "data/dataset.json").read_text() == '{"title": "mine"}'


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(DatasetError, match=r"--out is not a folder. Received: .*data"):
        prepare(tmp_path / "data", "new")
    assert (tmp_path / "data").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    prepare(tmp_path / "data", "new")
    assert mark_of(tmp_path / "data") == "new"


def test_what_came_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="was not written by `prepare`"), staging(tmp_path / "data") as stage:
        fill(stage.fresh, "new")
        fill_other = tmp_path / "data"
        fill_other.mkdir()
        fill(fill_other, "other")
        (fill_other / "notes.txt").write_text("mine")
        stage.commit()
    assert (tmp_path / "data/notes.txt").read_text() == "mine"


def test_a_signal_waits_for_held_steps() -> None:
    before = {signum: signal.getsignal(signum) for signum in interrupt.SIGNALS}
    interrupt.install()
    steps = []
    try:
        with pytest.raises(interrupt.Interrupted, match="SIGTERM"):
            with interrupt.hold_signals():
                signal.raise_signal(signal.SIGTERM)
                steps.append("after the signal")
            steps.append("after the held steps")
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    assert steps == ["after the signal"]
