"""What the records hold: shape and classes of the pictures, and how many there are where that is known."""

import json
from dataclasses import dataclass
from pathlib import Path

from train.errors import DataError
from train.runtime.environment import Environment
from train.runtime.hyperparameters import Hyperparameters

CHANNEL = "dataset"  # optional, in File mode: the dataset.json that was written with the shards


@dataclass(frozen=True)
class ImageDatasetInfo:
    """uint8 pictures of one shape, each of one class."""

    shape: tuple[int, int, int]  # height, width, channels
    classes: tuple[str, ...]
    train_examples: int | None = None  # None: not known

    @property
    def bytes(self) -> int:
        height, width, channels = self.shape
        return height * width * channels


def read_dataset_info(environment: Environment, hparams: Hyperparameters) -> ImageDatasetInfo:
    """From the dataset channel if the job has one, else from the hyperparameters `image-shape` and `classes`."""
    if CHANNEL not in environment.channels:
        return ImageDatasetInfo(hparams.shape, hparams.class_names)
    return _read(environment.channels[CHANNEL].folder)


def _read(folder: Path) -> ImageDatasetInfo:
    path = next(iter(sorted(folder.rglob("dataset.json"))), None)
    if path is None:
        raise DataError(
            f"Channel {CHANNEL} has no dataset.json. Received: {folder}. Expected: the file written beside the shards, "
            "in File mode (InputMode of that channel)."
        )
    try:
        text = json.loads(path.read_text())
        height, width, channels = (int(size) for size in text["image_shape"])
        classes = tuple(str(name) for name in text["classes"])
        examples = text.get("splits", {}).get("train", {}).get("examples")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} can't be used: {error!r}. Expected: image_shape and classes.") from None
    return ImageDatasetInfo((height, width, channels), classes, examples)
