"""Augmented manifests: what belongs to a line stays together, in scripts and in the built-in job."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.opt_ml import job_folder
from tests.support.records import part
from tests.support.shards import CLASSES, SHAPE, examples, picture_file
from tests.support.streams import ChunkedStream
from train import pipe
from train.errors import DataError, TrainingError
from train.input_pipeline.augmented_manifest import read_manifest_lines
from train.records.recordio import read_recordio


def described(root: Path, channel: str, attributes: list[str]) -> None:
    """What the platform writes of the request, as far as it matters here."""
    source = {"S3DataSource": {"S3DataType": "AUGMENTED_MANIFEST_FILE", "AttributeNames": attributes}}
    path = root / "input/config/trainingjobconfig.json"
    known = json.loads(path.read_text()) if path.exists() else {"InputDataConfig": []}
    known["InputDataConfig"].append({"ChannelName": channel, "DataSource": source})
    path.write_text(json.dumps(known))


@given(st.lists(st.binary(max_size=30), max_size=40), st.integers(1, 5))
def test_lines_are_whole_or_an_error(contents, count):
    names = tuple("abcde"[:count])
    runs = read_recordio(ChunkedStream(b"".join(map(part, contents))))
    got: list[list[bytes]] = []
    if len(contents) % count:
        with pytest.raises(DataError, match=rf"not whole\. Received: {len(contents) % count} records"):
            got.extend(line for line, _ in read_manifest_lines(runs, names))
    else:
        got.extend(line for line, _ in read_manifest_lines(runs, names))
    assert [item for line in got for item in line] == contents[: len(contents) // count * count]


def test_where_a_line_is_is_where_it_begins():
    runs = read_recordio(ChunkedStream(b"".join(map(part, [b"ab", b"1", b"cd", b"2"]))))
    assert [where[-9:] for _, where in read_manifest_lines(runs, ("x", "y"))] == ["at byte 0", "t byte 24"]


@pytest.mark.parametrize("shuffle", [0, 3])
def test_a_script_gets_named_columns(tmp_path, feed, shuffle):
    root = job_folder(tmp_path, "Pipe", {})
    described(root, "train", ["image-ref", "label"])
    feed(root / "input/data", "train", b"".join(map(part, [b"one", b"1", b"two\0", b"2", b"three", b"3"])))
    batches = list(pipe.manifest("train", 2, shuffle=shuffle, root=root))
    assert [list(batch) for batch in batches] == [["image-ref", "label"]] * 2
    pairs = [pair for b in batches for pair in zip(b["image-ref"], b["label"], strict=True)]
    assert sorted(pairs) == [(b"one", b"1"), (b"three", b"3"), (b"two\0", b"2")]
    if not shuffle:
        assert pairs[0] == (b"one", b"1")


def test_names_may_be_given_and_must_be_known(tmp_path, feed):
    root = job_folder(tmp_path, "Pipe", {})
    with pytest.raises(TrainingError, match="Channel train has no AttributeNames"):
        pipe.manifest("train", root=root)
    feed(root / "input/data", "train", part(b"a") + part(b"b"))
    assert [b["y"].tolist() for b in pipe.manifest("train", attributes=["x", "y"], root=root)] == [[b"b"]]


def test_the_built_in_job_takes_pictures_with_labels(tmp_path, feed, start):
    """PNG files and labels as numbers, in quotes or not, or as names: in the order of the attributes."""
    root = job_folder(tmp_path / "ml", "Pipe", {"epochs": "2", "learning-rate": "0.01"})
    for channel, count, seed, order in (("train", 300, 1, 1), ("validation", 60, 2, -1)):
        described(root, channel, ["picture-ref", "kind"][::order])
        images, labels = examples(count, seed)
        forms = [lambda k: str(k), lambda k: f'"{k}"', lambda k: CLASSES[k], lambda k: json.dumps(CLASSES[k])]
        lines = [
            [part(picture_file(image, "PNG")), part(forms[row % 4](int(label)).encode())][::order]
            for row, (image, label) in enumerate(zip(images, labels, strict=True))
        ]
        feed(root / "input/data", channel, b"".join(b"".join(line) for line in lines))
    job = start(root)
    assert job.wait() == 0, job.lines
    assert float(job.history[-1]["validation_accuracy"]) > 0.8
    assert json.loads((root / "output/data/evaluation.json").read_text())["examples"] == 60


@pytest.mark.parametrize(
    ("attributes", "label", "message"),
    [
        (["a-ref", "label"], b"9" * 5000, r"its line's label can't be used\. Received: b'999"),
        (["a-ref", "label"], b"[" * 100_000, r"its line's label can't be used\. Received: b'\[\["),
        (["a-ref", "label"], b"zebra", r"record 0 at byte 0: its line's label can't be used\. Received: b'zebra'\."),
        (["a-ref", "label"], b"3", r"Expected: a number from 0 to 2, or a class's name\."),
        (["a-ref", "label"], b"true", r"Received: b'true'\."),
        (["a-ref", "b-ref"], b"0", r"which attribute is the picture, which the label\? Received: .* a-ref, b-ref\."),
        (["a-ref", "b", "c"], b"0", r"Expected: two, of which the picture's ends in -ref\."),
    ],
)
def test_what_can_be_no_picture_with_a_label_is_said(tmp_path, feed, attributes, label, message):
    root = job_folder(tmp_path, "Pipe", {})
    described(root, "train", attributes)
    feed(root / "input/data", "train", part(picture_file(np.zeros(SHAPE, np.uint8), "PNG")) + part(label))
    with pytest.raises(DataError, match=message):
        list(pipe.pictures("train", root=root, shape=SHAPE, classes=CLASSES))
