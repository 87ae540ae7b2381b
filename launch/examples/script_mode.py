"""A training script for script mode: the image runs it instead of the built-in job.

Name it in the job's hyperparameters, `sagemaker_program` and `sagemaker_submit_directory`; the SDK's `entry_point` and
`source_dir` do so. `train.pipe` is in the image: it gives ready batches from the channels, whatever their input mode.
"""

import argparse
import os
from pathlib import Path

import keras

from train import pipe


def parse_arguments() -> argparse.Namespace:
    """Hyperparameters arrive as options."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    return parser.parse_known_args()[0]


def build(shape: tuple[int, int, int], classes: int, learning_rate: float) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input(shape, dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main() -> None:
    options = parse_arguments()
    train = pipe.pictures("train", options.batch_size, shuffle=10_000)
    validation = pipe.pictures("validation", options.batch_size)
    model = build(train.shape, len(train.classes), options.learning_rate)
    for epoch in range(1, options.epochs + 1):
        model.reset_metrics()
        for images, labels in train:
            fitted = model.train_on_batch(images, labels, return_dict=True)
        model.reset_metrics()
        for images, labels in validation:
            tested = model.test_on_batch(images, labels, return_dict=True)
        print(  # noqa: T201 - a line that the job's metric definitions read
            f"epoch={epoch} train:loss={fitted['loss']:.6f} train:accuracy={fitted['accuracy']:.6f} "
            f"validation:loss={tested['loss']:.6f} validation:accuracy={tested['accuracy']:.6f}",
            flush=True,
        )
    folder = Path(os.environ["SM_MODEL_DIR"])
    folder.mkdir(parents=True, exist_ok=True)  # the platform has made it; a plain `docker run` has not
    model.save(folder / "model.keras")


if __name__ == "__main__":
    main()
