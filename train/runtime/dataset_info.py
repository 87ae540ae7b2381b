"""What the records hold: shape and classes of the pictures, and how many there are where that is known."""

import json
from dataclasses import dataclass
from typing import Any

from train.errors import DataError
from train.runtime.environment import Channel, Environment
from train.runtime.hyperparameters import Hyperparameters, is_image_shape

ENCODINGS = ("raw", "jpeg", "png")  # raw: height × width × channels bytes
CHANNEL = "dataset"  # optional, in File mode: the dataset.json that was written with the shards
_DRAWN = "drawn shapes, no photographs: an accuracy on them says nothing about pictures"


@dataclass(frozen=True)
class ImageDatasetInfo:
    """uint8 pictures of one shape, each of one class."""

    shape: tuple[int, int, int]  # height, width, channels
    classes: tuple[str, ...]
    train_examples: int | None = None  # None: not known
    source: str = ""  # where the pictures are from: kind and name, such as "folder pets"
    note: str = ""  # what is worth knowing of them: a line that job log, report and evaluation begin with
    encoding: str = "raw"  # of the records: raw pixels, or files of kind jpeg or png
    validation_examples: int | None = None

    @property
    def bytes(self) -> int:
        height, width, channels = self.shape
        return height * width * channels

    @property
    def is_drawn(self) -> bool:
        """Whether the pictures are the synthetic stand-in's drawn shapes: a result says little of photographs."""
        return self.source == "synthetic"


def read_dataset_info(environment: Environment, hparams: Hyperparameters) -> ImageDatasetInfo:
    """From the dataset channel if the job has one, else from the hyperparameters `image-shape` and `classes`."""
    if CHANNEL not in environment.channels:
        return ImageDatasetInfo(hparams.shape, hparams.class_names)
    return read_channel(environment.channels[CHANNEL])


def read_channel(channel: Channel) -> ImageDatasetInfo:
    """From the dataset.json in a channel of File mode. DataError if there is none, or it is not one."""
    path = next((path for path in channel.files() if path.name == "dataset.json"), None)
    if path is None:
        raise DataError(
            f"Channel {CHANNEL} has no dataset.json. Received: {channel.folder}. Expected: the file written beside the "
            "shards, in File mode (InputMode of that channel)."
        )
    try:
        text = json.loads(path.read_text())
        height, width, channels = (int(size) for size in text["image_shape"])
        classes, train, validation = text["classes"], _examples(text, "train"), _examples(text, "validation")
        if not is_image_shape(height, width, channels):
            raise ValueError(f"no shape of pictures: {height},{width},{channels}")
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise ValueError("classes is no list of names")
        source, encoding = text.get("source") or {}, text.get("encoding", "raw")
        kind, name, note = (" ".join(str(source.get(member) or "").split()) for member in ("kind", "name", "note"))
        if encoding not in ENCODINGS:
            raise ValueError(f"no encoding of pictures: {encoding!r}")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} can't be used: {error!r}. Expected: image_shape and classes.") from None
    source = kind if name in ("", kind) else f"{kind} {name}"
    note = note or (_DRAWN if kind == "synthetic" else "")
    return ImageDatasetInfo((height, width, channels), tuple(classes), train, source, note, encoding, validation)


def _examples(text: dict[str, Any], split: str) -> int | None:
    examples = text.get("splits", {}).get(split, {}).get("examples")
    if not (examples is None or (isinstance(examples, int) and examples > 0)):
        raise ValueError(f"no number of examples: {examples!r}")
    return examples
