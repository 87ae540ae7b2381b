"""What the command says of pictures is what the evaluation would, from every place that a model can be in."""

import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import train.predict.model
from tests.support.shards import CLASSES, examples

ROOT = Path(__file__).parents[3]
Predict = Callable[..., tuple[int, list[dict[str, Any]], str]]


def pack(model: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, path.name)
    return archive


@pytest.fixture(scope="module")
def archive(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(model_folder, tmp_path_factory.mktemp("job") / "model.tar.gz")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Seventy, more than one group."""
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(examples(70)[0]):
        Image.fromarray(image).save(tmp_path / f"pictures/{number:02d}.png")
    return tmp_path / "pictures"


def test_the_values_are_those_of_the_evaluation(
    predict: Predict, model_folder: Path, archive: Path, pictures: Path
) -> None:
    model = tf.keras.models.load_model(model_folder / "model.keras")
    expected = model(examples(70)[0]).numpy()
    for place in (archive, archive.parent, model_folder):
        code, told, errors = predict(place, pictures, "--top", 2)
        assert (code, errors) == (0, "")
        assert [one["picture"] for one in told] == [str(path) for path in sorted(pictures.iterdir())]
        assert [one["class"] for one in told] == [CLASSES[label] for label in expected.argmax(axis=1)]
        found = [[best["probability"] for best in one["top"]] for one in told]
        np.testing.assert_allclose(found, -np.sort(-expected, axis=1)[:, :2], atol=1e-6)


def test_a_damaged_picture_is_a_line_and_the_others_are_told(
    predict: Predict, model_folder: Path, pictures: Path
) -> None:
    (pictures / "10.png").write_bytes(b"GIF89a, really")
    code, told, _ = predict(model_folder, pictures / "09.png", pictures / "10.png", pictures / "nowhere", pictures)
    assert (code, len(told)) == (1, 73)
    assert [one["picture"] for one in told if "error" in one] == [
        *(str(pictures / name) for name in ("10.png", "nowhere", "10.png"))
    ]


def test_in_words(model_folder: Path, tmp_path: Path) -> None:
    """As a person types it, in a process; a hostile name moves no cursor."""
    Image.fromarray(examples(1)[0][0]).save(tmp_path / "a\x1b[2J.png")
    (tmp_path / "b.png").write_bytes(b"")
    command = [sys.executable, "-m", "train.predict", str(model_folder), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1
    line = done.stdout.removeprefix(f"{tmp_path}/a\\x1b[2J.png: ")
    assert sorted(part.split()[0] for part in line.split(", ")) == sorted(CLASSES)
    assert line.count("%") == 3
    assert done.stderr == f"predict: {tmp_path}/b.png: not a picture. Received: 0 bytes, none …\n"


def member(name: str, content: bytes = b"", **options: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for option, value in options.items():
        setattr(info, option, value)
    return info, content


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([member("mean.json", b"{}")], "No model. Received: "),
        ([member("1/saved_model.pb", b"x" * 99)], "1 is no model of this training program. Received: "),
        ([member("../1/saved_model.pb", b"x"), member("1/../../x", b"x")], "No model. Received: "),
        ([member("1", type=tarfile.SYMTYPE, linkname="/"), member("1/x", b"x")], "No model. Received: "),
        ([member("1/saved_model.pb", b"x"), member("1/saved_model.pb", b"x")], "can't be unpacked: "),
        ([member("1/x", b"", size=1 << 40)], "unpacks to more than 17,179,869,184 bytes"),
        ([member("x", bytes(2 << 20), type=tarfile.XHDTYPE)], "can't be unpacked: a name or attributes of 2,097,152"),
    ],
    ids=["another", "damaged", "way out", "link", "twice", "bomb", "long attributes"],
)
def test_an_archive_that_is_no_model_is_one_line(
    predict: Predict, tmp_path: Path, pictures: Path, members: list[tuple[tarfile.TarInfo, bytes]], message: str
) -> None:
    path = tmp_path / "deep/er/model.tar.gz"
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if info.size == len(content) else None)
    before = sorted(tmp_path.rglob("*"))
    code, told, errors = predict(path, pictures / "00.png")
    assert (code, told) == (1, [])
    assert errors.startswith("predict: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("damage", ["nowhere", "cut", "text", "empty folder", "no names"])
def test_a_damaged_model_is_one_line(
    predict: Predict, model_folder: Path, archive: Path, tmp_path: Path, pictures: Path, damage: str
) -> None:
    place = tmp_path / "model"
    if damage == "cut":
        place.write_bytes(archive.read_bytes()[:50_000])
    elif damage == "text":
        place.write_text("no archive")
    elif damage == "empty folder":
        place.mkdir()
    elif damage == "no names":
        shutil.copytree(model_folder, place)
        (place / "classes.json").write_text("[")
    code, told, errors = predict(place, pictures / "00.png")
    assert (code, told) == (1, [])
    assert errors.startswith("predict: ")
    assert errors.count("\n") == 1


def test_nothing_unpacked_is_left(
    predict: Predict, archive: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(train.predict.model.tempfile, "tempdir", str(tmp_path / "scratch"))
    assert predict(archive, pictures / "00.png")[0] == 0
    assert list((tmp_path / "scratch").iterdir()) == []
