import gzip
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.opt_ml import job_folder
from tests.support.records import dmlc, part
from tests.support.shards import CLASSES, SHAPE, channel_bytes, examples, write_shard
from tests.support.train_jobs import TrainJob
from train import pipe

ROOT = Path(__file__).parents[2]
OURS = {"shape": SHAPE, "classes": CLASSES}


def pipe_folder(root: Path) -> Path:
    return job_folder(root, "Pipe", {})


def flat(batches) -> list[bytes]:
    return [record for batch in batches for record in batch]


def test_pictures_come_in_batches_a_pass_each_iteration(tmp_path, shards, feed):
    root = pipe_folder(tmp_path / "ml")
    feeder = feed(root / "input/data", "validation", channel_bytes(shards, "validation"))
    batches = pipe.pictures("validation", 32, root=root, **OURS)
    assert (batches.shape, batches.classes) == (SHAPE, CLASSES)
    images, labels = examples(60, seed=2)
    for _ in range(2):
        got = list(batches)
        assert [batch.shape for batch, _ in got] == [(32, *SHAPE), (28, *SHAPE)]
        np.testing.assert_array_equal(np.concatenate([batch.numpy() for batch, _ in got]), images)
        np.testing.assert_array_equal(np.concatenate([batch.numpy() for _, batch in got]), labels)
    assert (batches.epoch, feeder.opened >= 2) == (2, True)


def test_shuffled_pictures_are_the_same_in_every_run_and_in_file_mode(tmp_path, shards, feed):
    piped, filed = pipe_folder(tmp_path / "pipe"), job_folder(tmp_path / "file", "File", {})
    feed(piped / "input/data", "train", channel_bytes(shards, "train"))
    (filed / "input/data/train").symlink_to(shards / "train")
    orders = []
    for root in (piped, filed):
        batches = pipe.pictures("train", 50, shuffle=100, seed=3, root=root, **OURS)
        orders.append([[labels.numpy().tolist() for _, labels in batches] for _ in range(2)])
    assert orders[0] == orders[1]
    assert orders[0][0] != orders[0][1]
    again = pipe.pictures("train", 50, shuffle=100, seed=3, root=filed, **OURS)
    again.epoch = 1  # a resumed job
    assert [labels.numpy().tolist() for _, labels in again] == orders[0][1]


def test_shape_and_classes_come_from_the_dataset_channel(tmp_path, shards):
    root = job_folder(tmp_path, "File", {}, ["train", "dataset"])
    (root / "input/data/train").symlink_to(shards / "train")
    (root / "input/data/dataset").mkdir()
    described = {"image_shape": list(SHAPE), "classes": list(CLASSES)}
    (root / "input/data/dataset/dataset.json").write_text(json.dumps(described))
    batches = pipe.pictures("train", root=root)
    assert batches.classes == CLASSES
    assert sum(len(labels) for _, labels in batches) == 300


FORMATS = {
    "recordio": ({"format": "recordio"}, part, [b"a", b"", b"bb\0"]),
    "recordio, split": ({"format": "recordio", "splits": "dmlc"}, dmlc, [b"\x0a\x23\xd7\xce" * 3, b"x"]),
    "lines": ({"format": "lines"}, lambda line: line + b"\r\n", [b"1,2", b"", b"3,4"]),
    "fixed": ({"format": "fixed", "record_bytes": 3}, lambda record: record, [b"abc", b"de\0"]),
}


@pytest.mark.parametrize(("arguments", "encode", "contents"), FORMATS.values(), ids=FORMATS)
def test_records_of_each_format(tmp_path, feed, arguments, encode, contents):
    root = pipe_folder(tmp_path / "ml")
    feed(root / "input/data", "train", b"".join(map(encode, contents)))
    batches = list(pipe.records("train", 2, root=root, **arguments))
    assert [len(batch) for batch in batches][:1] == [2]
    assert flat(batches) == contents


def test_tfrecords_are_the_default_and_the_root_the_platforms(tmp_path, monkeypatch):
    root = job_folder(tmp_path / "ml", "File", {})
    contents = [b"%d" % number for number in range(1000)]
    for shard in range(2):
        write_shard(root / f"input/data/train/{shard}", contents[shard * 500 :][:500])
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(root))
    assert flat(pipe.records("train")) == contents
    batches = pipe.records("train", 300, shuffle=200)
    first, second = flat(batches), flat(batches)
    assert sorted(first) == sorted(second) == sorted(contents)
    assert len({tuple(first), tuple(second), tuple(contents)}) == 3
    assert flat(pipe.records("train", 7, shuffle=200)) == first


def test_a_loop_left_early_takes_the_next_fifo(tmp_path, feed):
    root = pipe_folder(tmp_path / "ml")
    feed(root / "input/data", "train", lambda turn: b"%d\n" % turn * 500_000)
    batches = pipe.records("train", 10, format="lines", root=root)
    for turn in range(2):
        for batch in batches:
            assert set(batch) == {b"%d" % turn}
            break


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "channel train, FIFO train_0 is empty: it ended without a record"),
        (gzip.compress(b"x"), r"channel train, FIFO train_0, record 0 at byte 0 is gzip-compressed \(1f 8b\)"),
        (part(b"a") + part(b"b")[:-1], "channel train, FIFO train_0, record 1 at byte 12 is truncated"),
    ],
)
def test_what_is_wrong_with_the_data_is_named(tmp_path, feed, data, message):
    root = pipe_folder(tmp_path / "ml")
    feed(root / "input/data", "train", data)
    with pytest.raises(pipe.DataError, match=message):
        list(pipe.records("train", format="recordio", root=root))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, r"batch_size is too small\. Received: 0\. Expected: at least 1\."),
        ({"shuffle": -1}, "shuffle is too small"),
        ({"format": "csv"}, r"format is unknown\. Received: csv\. Expected: tfrecord, recordio, lines or fixed\."),
        ({"format": "fixed"}, r"record_bytes goes with format fixed\. Received: fixed, None\."),
        ({"format": "fixed", "record_bytes": 0}, "record_bytes is too small"),
        ({"splits": "mxnet"}, r"splits is unknown\. Received: mxnet\. Expected: dmlc or plain\."),
        ({"channel": "other"}, r"The job has no channel other\. Received: train, validation\."),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    with pytest.raises(pipe.TrainingError, match=message):
        pipe.records(**{"channel": "train", "root": pipe_folder(tmp_path / "ml")} | arguments)


@pytest.mark.slow
def test_the_example_script_trains_in_script_mode(tmp_path, shards, feed, start):
    root = job_folder(tmp_path, "Pipe", {}, ["train", "validation", "dataset"])
    code, description = root / "code", root / "input/data/dataset"
    code.mkdir()
    description.mkdir()
    shutil.copy(ROOT / "launch/examples/script_mode.py", code)
    (description / "dataset.json").write_text(json.dumps({"image_shape": SHAPE, "classes": CLASSES}))
    hyperparameters = {
        "epochs": "2", "batch-size": "50", "sagemaker_program": '"script_mode.py"',
        "sagemaker_submit_directory": json.dumps(str(code)),
    }  # fmt: skip
    (root / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    for channel in ("train", "validation"):
        feed(root / "input/data", channel, channel_bytes(shards, channel))
    job: TrainJob = start(root)
    assert job.wait() == 0, "\n".join(job.lines[-15:])
    epochs = [line for line in job.lines if line.startswith("epoch=")]
    assert [line.split()[0] for line in epochs] == ["epoch=1", "epoch=2"]
    assert all(re.search(r"validation:accuracy=[01]\.\d", line) for line in epochs), epochs
    assert (root / "model/model.keras").exists()
    assert (root / "output/success").exists()
