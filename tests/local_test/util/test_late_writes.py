"""Descriptions on a disk that is full for a while, or for good."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_test.util.late_writes import LateWrites
from tests.support.served import until
from tests.support.small_disk import fill, mount_small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mount_small_disk(tmp_path / "disk", "64k") as folder:
        for job in ("a", "b"):
            (folder / job).mkdir()
        yield folder


def test_the_last_value_is_written_once_there_is_room(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late, path = LateWrites(), disk / "a/describe.json"
    late.write(path, "first")
    filler = fill(disk)
    for value in ("second", "third"):
        late.write(path, value)
    late.write(disk / "b/describe.json", "deleted")
    assert json.loads(path.read_text()) == "first"
    late.drop(disk / "b")
    filler.unlink()
    until(lambda: json.loads(path.read_text()) == "third")
    late.close()
    assert not (disk / "b/describe.json").exists()
    assert capsys.readouterr().err.splitlines() == [
        f"local_test: {disk / name} can't be written, and is tried again: No space left on device"
        for name in ("a/describe.json", "b/describe.json")
    ]


def test_what_never_had_room_is_said_at_the_end(disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = LateWrites()
    fill(disk)
    late.write(disk / "a/describe.json", "value")
    late.write(disk / "gone/describe.json", "a folder that was removed is nobody's")
    late.close()
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"local_test: {disk / 'a/describe.json'} is old, its last change could not be written: No space left on device"
    ]
