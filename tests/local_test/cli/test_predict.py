"""What a model in a container says reaches the terminal as text; what it reads stays as it is."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_test.cli.main import main
from local_test.cli.predict import _write


def test_what_a_model_prints_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    chunks = [b"cat \x1b[2", b"J9\xc3", b"\xa9%\n{", b"}\n\xc2\x9b31m\xe2\x80\xae", b""]
    _write(iter([*(("stdout", chunk) for chunk in chunks), ("stderr", b"\rpredict: gone\n")]))
    out, err = capsys.readouterr()
    assert out == "cat #033[2J9é%\n{}\n\\x9b31m\\u202e\n"
    assert err == "#015predict: gone\n"


# in the place of Python: writes and removes whatever it was given
HOSTILE = b'#!/bin/sh\nfor path in "$@"; do echo more >> "$path"; touch "$path/new"; rm -rf "$path"; done\n'


@pytest.fixture
def hostile_image(image: str, docker_engine: Any) -> Iterator[str]:
    name = f"{image}-hostile"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("python3")
        member.size, member.mode = len(HOSTILE), 0o755
        tar.addfile(member, io.BytesIO(HOSTILE))
    container = docker_engine.containers.create(image, "sh")
    container.put_archive("/bin", archive.getvalue())
    container.commit(*name.split(":"))
    container.remove()
    yield name
    docker_engine.images.remove(name)


def test_a_model_in_a_container_changes_neither_itself_nor_the_pictures(tmp_path: Path, hostile_image: str) -> None:
    files = [tmp_path / name for name in ("model/1/saved_model.pb", "holiday/one.jpg", "two.jpg")]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("as it was")
    before = sorted(tmp_path.rglob("*"))
    places = [str(tmp_path / name) for name in ("model", "holiday", "two.jpg")]
    main(["predict", "--runner", "docker", "--image", hostile_image, *places])
    assert sorted(tmp_path.rglob("*")) == before
    assert [path.read_text() for path in files] == ["as it was"] * 3
