"""dataset.json: what is written is read back, what is not ours is refused, damage is seen."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataset import manifest
from dataset.errors import DatasetError
from dataset.manifest import Manifest, Shard


def described(classes: tuple[str, ...] = ("cat", "dog")) -> Manifest:
    splits = {split: (Shard(manifest.shard_name(split, 0, 1), 3, 5, "0" * 64),) for split in manifest.SPLITS}
    return Manifest((8, 6, 3), classes, 7, {"kind": "zip", "name": "a.zip", "note": None}, splits)


@given(classes=st.lists(st.text(), min_size=2).map(tuple))
def test_read_is_what_was_written(classes: tuple[str, ...]) -> None:
    assert manifest.from_json(manifest.to_json(described(classes))) == described(classes)


def test_the_documented_form() -> None:
    document = json.loads(manifest.to_json(described()))
    shard = {"name": "train-00000-of-00001.tfrecord", "examples": 3, "bytes": 5, "sha256": "0" * 64}
    assert document["format"] == "tfrecord"
    assert document["image_shape"] == [8, 6, 3]
    assert document["classes"] == ["cat", "dog"]
    assert document["seed"] == 7
    assert document["source"] == {"kind": "zip", "name": "a.zip", "note": None}
    assert document["splits"]["train"] == {"examples": 3, "shards": [shard]}


@given(text=st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_anything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        manifest.from_json(text)


@pytest.mark.parametrize("name", ["../../etc/passwd", "train-0-of-1.tfrecord", "validation-00000-of-00001.tfrecord"])
def test_a_shard_cannot_be_named_freely(name: str) -> None:
    text = manifest.to_json(described()).replace("train-00000-of-00001.tfrecord", name)
    with pytest.raises(ValueError, match="not the name of a train shard"):
        manifest.from_json(text)


def test_nothing_prepared(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no data prepared in .*: run `python -m dataset prepare"):
        manifest.read(tmp_path)


def test_someone_elses_dataset_json(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"format": "csv"}')
    with pytest.raises(DatasetError, match=r"is not a data set's description: format is not tfrecord. Received: 'csv'"):
        manifest.read(tmp_path)


def test_damage_names_the_shard(tmp_path: Path) -> None:
    for split in manifest.SPLITS:
        (tmp_path / split).mkdir()
        (tmp_path / split / manifest.shard_name(split, 0, 1)).write_bytes(b"12345")
    assert manifest.find_damage(described(), tmp_path) is None
    (tmp_path / "train/train-00000-of-00001.tfrecord").write_bytes(b"1234")
    assert "train-00000-of-00001.tfrecord has 4 bytes, dataset.json says 5" in manifest.find_damage(
        described(), tmp_path
    )
    (tmp_path / "train/train-00000-of-00001.tfrecord").unlink()
    assert "No such file" in manifest.find_damage(described(), tmp_path)
