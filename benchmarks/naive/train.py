"""A user's script for the toolkit's script mode: CIFAR-10 records from a File channel into the tutorial's CNN."""

import os

import keras
import tensorflow as tf
from keras import layers

FEATURES = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}


class FirstStep(keras.callbacks.Callback):
    """Says when the first step is done."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch == 0 and logs:
            print(f"first step: loss {logs['loss']:.6f}", flush=True)


def decode(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A record → picture (32, 32, 3) uint8, label () int64."""
    example = tf.io.parse_single_example(record, FEATURES)
    return tf.reshape(tf.io.decode_raw(example["image"], tf.uint8), (32, 32, 3)), example["label"]


def main() -> None:
    """One epoch."""
    files = tf.io.gfile.glob(os.environ["SM_CHANNEL_TRAIN"] + "/*.tfrecord")
    data = tf.data.TFRecordDataset(files).map(decode, tf.data.AUTOTUNE).shuffle(10_000).batch(128).prefetch(2)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(data, epochs=1, verbose=2, callbacks=[FirstStep()])


if __name__ == "__main__":
    main()
