"""JPEG pictures of 224×224 in records: this reader over a FIFO, beside TFRecordDataset and decode_jpeg over files."""

import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageFilter

from benchmarks.measure import feed_fifos, make_parser, print_figures, run_rounds, time_pass
from dataset.shards import write
from train.input_pipeline import pipeline
from train.records.channels import FifoSource
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.environment import Channel

BASE = "File mode, TFRecordDataset, decode_jpeg"
SIDE, COUNT, REPEATS, BATCH = 224, 2_000, 3, 64
CLASSES = tuple("0123456789")
FEATURES = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}


def main() -> None:
    """Print the table."""
    rounds = make_parser(__doc__, 5).parse_args().rounds
    pictures, examples = ImageDatasetInfo((SIDE, SIDE, 3), CLASSES), COUNT * REPEATS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "train"
        folder.mkdir()
        shard = write(folder / "train-00000.tfrecord", generate_examples())
        with feed_fifos(folder, REPEATS) as fifos:
            source = FifoSource(Channel("train", "Pipe", fifos))
            candidates: dict[str, Callable[[], float]] = {
                BASE: lambda: examples / time_pass(files(folder), examples),
                "this reader, Pipe mode": lambda: (
                    examples / time_pass(pipeline.for_training(source, pictures, BATCH, 500, 0, 0), examples)
                ),
            }
            figures = run_rounds(candidates, rounds, warm=True)
    title = f"JPEG {SIDE}×{SIDE}, {shard.bytes / shard.examples / 1000:.0f} KB each, batch {BATCH}"
    print_figures(title, ["path", "pictures/s", "of File mode"], figures, BASE)


def generate_examples() -> Iterator[tuple[bytes, int]]:
    """Pictures with shapes at several scales, as soft as photographs are."""
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        picture = Image.new("RGB", (SIDE, SIDE))
        for side in (4, 14, 56):
            layer = Image.fromarray(generator.integers(0, 256, (side, side, 3)).astype(np.uint8))
            picture = Image.blend(picture, layer.resize((SIDE, SIDE), Image.Resampling.BICUBIC), 0.5)
        buffer = io.BytesIO()
        picture.filter(ImageFilter.SHARPEN).save(buffer, "JPEG", quality=90)
        yield buffer.getvalue(), number % len(CLASSES)


def files(folder: Path) -> tf.data.Dataset:
    """What TensorFlow's guides recommend."""

    def parsed(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = tf.io.parse_single_example(record, FEATURES)
        return tf.ensure_shape(tf.io.decode_jpeg(example["image"], 3), (SIDE, SIDE, 3)), example["label"]

    dataset = tf.data.TFRecordDataset([str(path) for path in sorted(folder.iterdir())] * REPEATS).shuffle(500)
    return dataset.map(parsed, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":
    main()
