"""A script for the official reader, as its documentation has them, in script mode through the toolkit."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.opt_ml import job_folder
from tests.support.shards import SIZE, channel_bytes

ROOT = Path(__file__).parents[2]

SCRIPT = """
    import argparse

    import tensorflow as tf
    from sagemaker_tensorflow import PipeModeDataset

    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--size", type=int)
    args, _ = parser.parse_known_args()

    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def parse(record):
        parsed = tf.io.parse_single_example(record, features)
        image = tf.reshape(tf.io.decode_raw(parsed["image"], tf.uint8), [args.size, args.size, 3])
        return tf.cast(image, tf.float32) / 255, parsed["label"]

    def input_fn(channel):
        ds = PipeModeDataset(channel=channel, record_format="TFRecord")
        return ds.map(parse, num_parallel_calls=tf.data.AUTOTUNE).batch(50).prefetch(2)

    model = tf.keras.Sequential([
        tf.keras.Input((args.size, args.size, 3)),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(3, activation="softmax"),
    ])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(input_fn("train"), epochs=args.epochs, verbose=0)
    print("epochs trained:", len(history.history["loss"]), flush=True)
    print("validation pictures:", sum(len(labels) for _, labels in input_fn("validation")), flush=True)
"""


def test_a_script_for_the_official_reader_runs_unchanged(tmp_path, shards, feed, start):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/old.py").write_text(textwrap.dedent(SCRIPT))
    job_folder(tmp_path, "Pipe", {})
    hyperparameters = {
        "epochs": "2",
        "size": str(SIZE),
        "sagemaker_program": '"old.py"',
        "sagemaker_submit_directory": json.dumps(str(tmp_path / "code")),
    }
    (tmp_path / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    for channel in ("train", "validation"):
        feed(tmp_path / "input/data", channel, channel_bytes(shards, channel))
    job = start(tmp_path)
    assert job.wait() == 0, job.lines
    assert "epochs trained: 2" in job.lines
    assert "validation pictures: 60" in job.lines
    assert (tmp_path / "output/success").exists()
    assert (tmp_path / "pipe_state/.train-pipe_mode-state").read_text() == "2"


ENDINGS = """
    import os, sys
    import tensorflow as tf
    from sagemaker_tensorflow import PipeModeDataset

    def dataset():
        return PipeModeDataset("train", record_format="TextLine")

    if sys.argv[1] == "graph":
        with tf.Graph().as_default():
            following = tf.compat.v1.data.make_one_shot_iterator(dataset()).get_next()
            with tf.compat.v1.Session() as session:
                print(session.run(following), session.run(following))
    else:
        iterator = iter(dataset().map(tf.strings.length).prefetch(4))
        print(next(iterator).numpy())
    if sys.argv[1] == "failing":
        raise ValueError("as asked")
"""


@pytest.mark.parametrize(
    ("way", "code", "said"), [("graph", 0, "b'one' b'three'"), ("open", 0, "3"), ("failing", 1, "3")]
)
def test_a_process_ends_although_its_fifo_is_still_open(tmp_path, way, code, said):
    (tmp_path / "ends.py").write_text(textwrap.dedent(ENDINGS))
    root = job_folder(tmp_path / "ml", "Pipe", {})
    os.mkfifo(root / "input/data/train_0")
    keep = os.open(root / "input/data/train_0", os.O_RDWR)
    try:
        os.write(keep, b"one\nthree\n")
        known = {"SAGEMAKER_BASE_DIR": str(root), "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [sys.executable, str(tmp_path / "ends.py"), way]
        done = subprocess.run(command, env=os.environ | known, capture_output=True, text=True, timeout=200)
    finally:
        os.close(keep)
    assert (done.returncode, done.stdout.strip()) == (code, said), done.stderr
    assert ("ValueError: as asked" in done.stderr) == (way == "failing")
