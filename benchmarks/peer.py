"""The official reader, in an environment of its own: `PYTHON benchmarks/peer.py FOLDER`, then on standard input `KIND
BATCH` for each pass; answers with examples and seconds. Imports nothing of this project.

raw     records as they come
parsed  batches of records, parsed and decoded a batch at once: the fastest way there is to use it
lab     as SageMaker's CIFAR-10 lab does: parsed one by one, shuffled, batched
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf

from sagemaker_tensorflow import PipeModeDataset

FEATURES = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
SHUFFLED = 10_000


def one(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    example = tf.io.parse_single_example(record, FEATURES)
    return tf.reshape(tf.io.decode_raw(example["image"], tf.uint8), (32, 32, 3)), example["label"]


def many(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    examples = tf.io.parse_example(records, FEATURES)
    return tf.reshape(tf.io.decode_raw(examples["image"], tf.uint8), (-1, 32, 32, 3)), examples["label"]


def main() -> None:
    folder = sys.argv[1]
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "inputdataconfig.json").write_text(json.dumps({"train": {"TrainingInputMode": "Pipe"}}))
        known: dict[str, Any] = {
            "record_format": "TFRecord",
            "pipe_dir": folder,
            "state_dir": scratch,
            "config_dir": scratch,
        }
        print("ready", flush=True)
        for line in sys.stdin:
            kind, batch = line.split()
            dataset = PipeModeDataset("train", **known)
            if kind == "parsed":
                dataset = dataset.batch(int(batch)).map(many, num_parallel_calls=tf.data.AUTOTUNE).prefetch(4)
            elif kind == "lab":
                dataset = dataset.prefetch(10).map(one, num_parallel_calls=10).shuffle(SHUFFLED).batch(int(batch))
            else:
                dataset = dataset.batch(int(batch))
            began, seen = time.perf_counter(), 0
            for item in dataset:
                seen += int((item if kind == "raw" else item[1]).shape[0])
            print(seen, time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
