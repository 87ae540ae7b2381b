"""A model of the user's own, as a file of channel `code`."""

import json
import textwrap
from pathlib import Path

from tests.support.opt_ml import job_folder

MODEL = """
import keras
from keras import layers

def build(shape, classes):
    pictures = keras.Input(shape, dtype="uint8")
    x = layers.Rescaling(1 / 255)(pictures)
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.8)(x))
    x = layers.Dropout(0.1)(layers.Flatten()(x))
    return keras.Model(pictures, layers.Dense(len(classes))(x), name="mine")
"""


def write_model(folder: Path, text: str, name: str = "model.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(textwrap.dedent(text))
    return folder / name


def custom_model_folder(root: Path, text: str, **hyperparameters: str) -> Path:
    """A job over FIFOs, its model in channel `code`."""
    job_folder(root, "Pipe", {"model": "model.py", "epochs": "2", "shuffle-buffer": "50", **hyperparameters})
    inputs = root / "input/config/inputdataconfig.json"
    channels = json.loads(inputs.read_text()) | {"code": {"TrainingInputMode": "File"}}
    inputs.write_text(json.dumps(channels))
    write_model(root / "input/data/code", text)
    return root
