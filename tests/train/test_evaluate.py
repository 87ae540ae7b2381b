"""`python -m train.evaluate`, as a processing job starts it, on the model of a job of the training program."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from local_test.runners.process import python_path
from tests.support.opt_ml import job_folder
from tests.support.shards import CLASSES, SHAPE, examples, serialized, write_shard
from tests.support.train_jobs import ROOT, TrainJob
from train.errors import StopRequested, TrainingError
from train.evaluate import run as run_here
from train.outputs.evaluation import Evaluation

DATASET = {"image_shape": SHAPE, "classes": CLASSES, "splits": {"train": {"examples": 300}}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    """An /opt/ml after a job: `fast` evaluates each picture with its mirror image."""
    root = job_folder(tmp_path_factory.mktemp("trained") / "ml", "File", {"epochs": "2", "model": "fast"})
    for channel in ("train", "validation"):
        (root / "input/data" / channel).symlink_to(shards / channel)
    job = TrainJob(root)
    try:
        assert job.wait() == 0, job.lines
    finally:
        job.kill()
    return root


@pytest.fixture
def given(tmp_path: Path, trained: Path, shards: Path) -> Path:
    """An /opt/ml of a processing job, with the model's archive, its validation records and their description."""
    root = tmp_path / "ml"
    for folder in ("config", "output", "processing/model", "processing/evaluation", "processing/dataset"):
        (root / folder).mkdir(parents=True)
    with tarfile.open(root / "processing/model/model.tar.gz", "w:gz") as tar:
        for path in sorted((trained / "model").iterdir()):
            tar.add(path, path.name)
    (root / "processing/validation").symlink_to(shards / "validation")
    (root / "processing/dataset/dataset.json").write_text(json.dumps(DATASET))
    (root / "config/resourceconfig.json").write_text('{"current_host":"algo-1","hosts":["algo-1"]}')
    return root


def run(root: Path, *arguments: str) -> tuple[int, str, str | None]:
    """As its container does: exit code, standard error, and what it has left as ExitMessage."""
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(root), "PYTHONPATH": python_path(ROOT)}
    command = [sys.executable, "-m", "train.evaluate", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    message = root / "output/message"
    return done.returncode, done.stderr, message.read_text() if message.exists() else None


def read_evaluation(root: Path) -> dict[str, Any]:
    return json.loads((root / "processing/evaluation/evaluation.json").read_text())


def test_it_says_what_the_training_job_said(given: Path, trained: Path) -> None:
    """Of the same model and records: the loss to its last bit where a batch has as many pictures."""
    code, err, message = run(given, "--batch-size", "32")
    assert (code, message) == (0, None), err
    found, expected = read_evaluation(given), json.loads((trained / "output/data/evaluation.json").read_text())
    quality = found.pop("multiclass_classification_metrics")
    assert found == expected
    assert found["accuracy"] > 0.4
    assert quality["accuracy"] == {"value": expected["accuracy"], "standard_deviation": "NaN"}
    assert quality["confusion_matrix"][CLASSES[1]][CLASSES[2]] == expected["confusion_matrix"][1][2]
    assert f"accuracy {expected['accuracy']:.4f}" in err
    assert sorted(path.name for path in (given / "processing/evaluation").iterdir()) == ["evaluation.json"]


def test_the_registrys_statistics() -> None:
    """By hand: of 4 pictures of a and 1 of b, 3 and 1 right; c has none and is never predicted."""
    found = Evaluation(np.array([[3, 1, 0], [0, 1, 0], [0, 0, 0]]), 0.5, []).as_model_quality(("a", "b", "c"))
    metrics = found["multiclass_classification_metrics"]
    assert metrics["confusion_matrix"]["a"] == {"a": 3, "b": 1, "c": 0}
    values = {name: metric["value"] for name, metric in metrics.items() if name != "confusion_matrix"}
    assert values == pytest.approx(
        {
            "accuracy": 4 / 5,
            "weighted_recall": 4 / 5 * 3 / 4 + 1 / 5,
            "weighted_precision": 4 / 5 + 1 / 5 * 1 / 2,
            "weighted_f1": 4 / 5 * 6 / 7 + 1 / 5 * 2 / 3,
        }
    )


def test_a_model_that_is_unpacked(given: Path, trained: Path) -> None:
    """As a job with CompressionType NONE leaves it. Nothing describes the data here; batches are of another size."""
    shutil.rmtree(given / "processing/model")
    (given / "processing/model").symlink_to(trained / "model")
    shutil.rmtree(given / "processing/dataset")
    result, expected = evaluate(given), json.loads((trained / "output/data/evaluation.json").read_text())
    assert result.confusion.tolist() == expected["confusion_matrix"]
    assert result.loss == pytest.approx(expected["loss"], rel=1e-6)


def evaluate(root: Path, *, stopped: bool = False) -> Evaluation:
    """In this process, which has TensorFlow already."""
    stop = threading.Event()
    if stopped:
        stop.set()
    return run_here(root, 7, stop)


def pack(root: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> None:
    with tarfile.open(root / "processing/model/model.tar.gz", "w:gz") as tar:
        for member in members:
            info, data = (
                (member, b"") if isinstance(member, tarfile.TarInfo) else (tarfile.TarInfo(member[0]), member[1])
            )
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def leave_no_model(root: Path) -> None:
    (root / "processing/model/model.tar.gz").rename(root / "processing/model/model.zip")


def truncate(root: Path) -> None:
    archive = root / "processing/model/model.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-2000])


def climb_out(root: Path) -> None:
    pack(root, ("classes.json", b"[]"), ("../../escaped", b"x"))


def link_out(root: Path) -> None:
    link = tarfile.TarInfo("1")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    pack(root, link)


def other_classes(root: Path) -> None:
    changed = DATASET | {"classes": list(reversed(CLASSES))}
    (root / "processing/dataset/dataset.json").write_text(json.dumps(changed))


def larger_pictures(root: Path) -> None:
    shutil.rmtree(root / "processing/dataset")
    (root / "processing/validation").unlink()
    images, labels = examples(2)
    large = images.repeat(2, axis=1)
    records = [serialized(image, label) for image, label in zip(large, labels, strict=True)]
    write_shard(root / "processing/validation/a.tfrecord", records)


def no_records(root: Path) -> None:
    (root / "processing/validation").unlink()
    (root / "processing/validation").mkdir()


def two_hosts(root: Path) -> None:
    (root / "config/resourceconfig.json").write_text('{"current_host":"algo-1","hosts":["algo-1","algo-2"]}')


WRONG: dict[Callable[[Path], None], str] = {
    leave_no_model: "processing/model. Expected: a job's folder, its model.tar.gz, or",
    truncate: "can't be unpacked: Compressed file ended before the end-of-stream marker was reached.",
    climb_out: "No model. Received: ",
    link_out: "No model. Received: ",
    lambda root: pack(root, ("a/b.py", b"x")): "model.tar.gz, an archive without it",
    lambda root: pack(root, ("1/saved_model.pb", b"x")): "1 is no model of this training program. Received: ",
    other_classes: "The model was trained on other data. Received: (18, 18, 3) of striped, light, dark.",
    larger_pictures: "1944",  # bytes
    no_records: "Channel validation is empty.",
    two_hosts: "One host evaluates. Received: InstanceCount 2. Expected: 1.",
}


@pytest.mark.parametrize("change", WRONG)
def test_what_is_wrong(given: Path, change: Callable[[Path], None]) -> None:
    change(given)
    with pytest.raises(TrainingError) as caught:
        evaluate(given)
    assert WRONG[change] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list((given / "processing/evaluation").iterdir())
    assert not (given.parent / "escaped").exists()


def test_it_is_one_line_and_the_exit_message(given: Path) -> None:
    truncate(given)
    code, err, message = run(given)
    assert code == 1
    assert message
    assert err.splitlines()[-1] == message  # after what TensorFlow notes
    code, err, message = run(given, "--batch-size", "0")
    assert (code, message) == (1, "--batch-size must be 1 or more. Received: 0.")


def test_a_bug_has_its_traceback_and_a_message(given: Path) -> None:
    (given / "config/resourceconfig.json").write_text("[]")  # the platform writes an object
    code, err, message = run(given)
    assert code == 1
    assert "Traceback" in err
    assert message == "AttributeError: 'list' object has no attribute 'get'"


def test_a_stop_ends_it(given: Path) -> None:
    with pytest.raises(StopRequested):
        evaluate(given, stopped=True)
    assert not list((given / "processing/evaluation").iterdir())
