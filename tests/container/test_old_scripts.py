"""A script of 2021 in today's image: what docs/lab.md says has to be changed is all that has to be."""

import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from local_test.data.object_store import ObjectStore
from local_test.runners.docker import DockerRunner
from local_test.training.job import TrainingJob
from tests.support.local_jobs import Recorder, request_for
from tests.support.missing import missing
from tests.support.shards import SIZE, examples, serialized, write_shard

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.docker, pytest.mark.slow]
# tf.keras of Keras 2, the official reader, TensorBoard, a model saved as a folder
SCRIPT = f"""
import argparse, os
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset
from tensorflow.keras.layers import Activation, BatchNormalization, Conv2D, Dense, Flatten, MaxPooling2D
from tensorflow.keras.models import Sequential
from tensorflow.keras.optimizers.legacy import Adam

def parse(record):
    features = {{"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}}
    example = tf.io.parse_single_example(record, features)
    image = tf.reshape(tf.io.decode_raw(example["image"], tf.uint8), [{SIZE}, {SIZE}, 3])
    return tf.cast(image, tf.float32) / 255, tf.one_hot(example["label"], 3)

def data(channel, epochs):
    dataset = PipeModeDataset(channel=channel, record_format="TFRecord").repeat(epochs)
    return dataset.map(parse).shuffle(100).batch(10, drop_remainder=True)

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--learning-rate", type=float)
parser.add_argument("--model_dir")
args, _ = parser.parse_known_args()
model = Sequential([
    Conv2D(4, (3, 3), padding="same", input_shape=({SIZE}, {SIZE}, 3)), BatchNormalization(), Activation("relu"),
    MaxPooling2D(pool_size=(2, 2)), Flatten(), Dense(3), Activation("softmax"),
])
model.compile(Adam(lr=args.learning_rate, decay=1e-6), "categorical_crossentropy", ["accuracy"])
board = tf.keras.callbacks.TensorBoard(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "board"))
history = model.fit_generator(
    data("train", args.epochs), epochs=args.epochs, steps_per_epoch=30, verbose=2, callbacks=[board],
    validation_data=data("validation", args.epochs), validation_steps=6,
)
print("rate", round(float(model.optimizer.lr), 4), "accuracy", history.history["val_accuracy"][-1] > 0.6, flush=True)
model.save(os.path.join(os.environ["SM_MODEL_DIR"], "1"))
"""


@pytest.fixture(scope="module")
def tf_keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, of the image's TensorFlow: a container has no package index here."""
    version = re.search(r"^tensorflow-cpu==(\S+)", (ROOT / "container/requirements.txt").read_text(), re.MULTILINE)
    assert version
    folder = tmp_path_factory.mktemp("wheels")
    wanted = ["download", "--quiet", "--no-deps", f"tf_keras=={version[1]}", "--dest", str(folder)]
    done = subprocess.run([sys.executable, "-m", "pip", *wanted], capture_output=True, text=True, timeout=120)
    if done.returncode:
        missing(f"no tf_keras can be had: {done.stderr.strip().splitlines()[-1]}")
    return next(folder.iterdir())


@pytest.fixture
def runner(docker_engine: object) -> Iterator[DockerRunner]:
    with closing(DockerRunner()) as found:
        yield found


def test_a_keras_2_script_trains_as_the_docs_say(
    image: str, runner: DockerRunner, tf_keras: Path, tmp_path: Path
) -> None:
    for name, count, seed in (("train", 300, 1), ("validation", 60, 2)):
        pairs = zip(*examples(count, seed), strict=True)
        write_shard(tmp_path / name / "a.tfrecord", [serialized(picture, label) for picture, label in pairs])
    code = tmp_path / "code"
    code.mkdir()
    (code / "cifar10_keras.py").write_text(SCRIPT)
    (code / tf_keras.name).write_bytes(tf_keras.read_bytes())
    (code / "requirements.txt").write_text(f"./{tf_keras.name}\n")
    request = request_for(
        "lab",
        tmp_path / "jobs",
        {"train": tmp_path / "train", "validation": tmp_path / "validation", "code": code},
        Environment={"TF_USE_LEGACY_KERAS": "1", "PIP_NO_DEPS": "1"},
        HyperParameters={
            "sagemaker_program": "cifar10_keras.py",
            "sagemaker_submit_directory": "/opt/ml/input/data/code",
            "epochs": "2",
            "learning-rate": "0.01",
        },
    )
    request["AlgorithmSpecification"]["TrainingImage"] = image
    request["InputDataConfig"][2]["InputMode"] = "File"
    seen = Recorder()
    with closing(ObjectStore()) as storage:
        job = TrainingJob(request, tmp_path / "jobs", runner, storage, {}, [seen])
        description = job.run()
    assert description["TrainingJobStatus"] == "Completed", seen.lines[-20:]
    assert "rate 0.01 accuracy True" in seen.lines
    with tarfile.open(job.folder / "model.tar.gz") as tar:
        assert "1/saved_model.pb" in tar.getnames()
    with tarfile.open(job.folder / "output.tar.gz") as tar:
        assert any(name.startswith("board/train/events") for name in tar.getnames())
