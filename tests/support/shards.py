"""Small shards of pictures for the tests of the training program."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 18  # pixels: the smallest picture that the tutorial model takes
SHAPE = (SIZE, SIZE, 3)
CLASSES = ("dark", "light", "striped")


def examples(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (count, *SHAPE) of three classes that a model can tell apart after a few steps, and their labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    images = generator.integers(0, 60, (count, *SHAPE))
    images += np.where(labels == 1, 180, 0)[:, None, None, None]
    images[labels == 2, ::2] += 150
    return images.astype(np.uint8), labels


def picture_file(image: np.ndarray, name: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, name)
    return buffer.getvalue()


def serialized(image: np.ndarray, label: int, **extra: bytes) -> bytes:
    """One tf.train.Example, serialised by TensorFlow's own protocol buffers."""
    import tensorflow as tf

    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image.tobytes()])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(label)])),
    }
    for name, value in extra.items():
        features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def write_shard(path: Path, records: Sequence[bytes]) -> Path:
    """A TFRecord file, written by TensorFlow."""
    import tensorflow as tf

    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def channel_bytes(shards: Path, channel: str) -> bytes:
    """What a FIFO of the channel carries: its objects one after the other."""
    return b"".join(path.read_bytes() for path in sorted((shards / channel).iterdir()))
