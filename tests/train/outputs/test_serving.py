"""What a job leaves, loaded as a server does: TensorFlow alone, pictures in, exactly the reported accuracy out."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.custom_models import MODEL, write_model
from tests.support.opt_ml import job_folder

# python -I of an empty folder; an import of the training program would fail
SERVE = """
import sys

class NotThere:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "train":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotThere())
import tensorflow as tf

model, shards, side, batch = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
serve = tf.saved_model.load(model).signatures["serving_default"]
features = {"image": tf.io.FixedLenFeature((), tf.string), "label": tf.io.FixedLenFeature((), tf.int64)}
right = 0
for records in tf.data.TFRecordDataset(tf.io.gfile.glob(shards + "/*")).batch(batch):
    read = tf.io.parse_example(records, features)
    pictures = tf.reshape(tf.io.decode_raw(read["image"], tf.uint8), (-1, side, side, 3))
    right += int(tf.math.count_nonzero(serve(image=pictures)["label"] == read["label"]))
assert "train" not in sys.modules
print("right", right)
"""


@pytest.mark.parametrize(
    "hyperparameters",
    [
        {"model": "tutorial"},
        {"model": "fast", "tta": "mirror"},
        {"model": "lab"},
        {"model": "airbench", "batch-size": "16"},
        {"model": "model.py"},
    ],
    ids=lambda given: given["model"],
)
@pytest.mark.slow
def test_the_exported_model_has_the_reported_accuracy(
    tmp_path: Path,
    shards: Path,
    start,
    hyperparameters: dict[str, str],
) -> None:
    channels = ["train", "validation", "code"]
    root = job_folder(tmp_path / "job", "File", {"epochs": "2", "shuffle-buffer": "50", **hyperparameters}, channels)
    for channel in ("train", "validation"):
        (root / "input/data" / channel).symlink_to(shards / channel)
    write_model(root / "input/data/code", MODEL)
    job = start(root)
    assert job.wait() == 0, job.lines
    evaluation = json.loads((root / "output/data/evaluation.json").read_text())
    (tmp_path / "empty").mkdir()
    for batch in (7, 60):
        served = subprocess.run(
            [sys.executable, "-I", "-c", SERVE, str(root / "model/1"), str(shards / "validation"), "18", str(batch)],
            cwd=tmp_path / "empty", capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert served.returncode == 0, served.stderr
        right = int(served.stdout.split()[-1])
        assert (right / 60, evaluation["examples"]) == (evaluation["accuracy"], 60)
