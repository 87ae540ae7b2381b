"""The trained model → /opt/ml/model: a SavedModel for serving, a .keras file to go on with, the class names."""

import json
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from train.errors import TrainingError
from train.outputs.model_card import CLASSES
from train.runtime.atomic_files import write_text
from train.runtime.dataset_info import ImageDatasetInfo

VERSION = "1"  # TensorFlow Serving takes numbered folders; SageMaker's TensorFlow endpoints do too


def export_model(model: keras.Model, info: ImageDatasetInfo, folder: Path) -> None:
    """Write `folder`/1 (SavedModel), model.keras and classes.json, each whole or not at all.

    The SavedModel's `serving_default` takes `image`, uint8 (n, height, width, channels), and returns `probabilities`
    (n, classes) float32, `label` (n,) int64 and `class` (n,) string. model.keras returns the probabilities.
    """
    keras.config.set_dtype_policy("float32")
    image = keras.Input(info.shape, dtype="uint8", name="image")
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(model(image))
    whole = keras.Model(image, probabilities, name=f"{model.name}_with_probabilities")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _saved_model(whole, info, folder)
        partial = folder / ".partial-model.keras"
        whole.save(partial)
        partial.replace(folder / "model.keras")
        write_text(folder / CLASSES, json.dumps(list(info.classes)))
    except (OSError, tf.errors.ResourceExhaustedError) as error:
        raise TrainingError(f"The model can't be written to {folder}: {error}") from error


def _saved_model(model: keras.Model, info: ImageDatasetInfo, folder: Path) -> None:
    names = tf.constant(info.classes)

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(image, training=False)
        label = tf.argmax(probabilities, axis=1)
        return {"probabilities": probabilities, "label": label, "class": tf.gather(names, label)}

    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = tf.TensorSpec((None, *info.shape), tf.uint8, name="image")
    archive.add_endpoint("serve", serve, input_signature=[signature])
    partial, final = folder / f".partial-{VERSION}", folder / VERSION
    shutil.rmtree(partial, ignore_errors=True)
    archive.write_out(partial, verbose=False)
    shutil.rmtree(final, ignore_errors=True)
    partial.replace(final)
