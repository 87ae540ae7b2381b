import json

import numpy as np
import pytest
import tensorflow as tf

from tests.support.shards import CLASSES, SHAPE, examples
from train.errors import TrainingError
from train.modeling.builtin import build_model
from train.outputs.export import export_model
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import Hyperparameters

PICTURES = ImageDatasetInfo(SHAPE, CLASSES)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    built = build_model(Hyperparameters(), PICTURES)
    export_model(built, PICTURES, folder)
    return built, folder


def test_the_keras_file_gives_the_same_probabilities(exported):
    built, folder = exported
    images, _ = examples(4)
    loaded = tf.keras.models.load_model(folder / "model.keras")
    np.testing.assert_allclose(loaded(images), tf.nn.softmax(built(images)), atol=1e-6)


def test_nothing_else_is_left(exported):
    _, folder = exported
    assert sorted(path.name for path in folder.iterdir()) == ["1", "classes.json", "model.keras"]
    assert json.loads((folder / "classes.json").read_text()) == list(CLASSES)


def test_a_second_export_replaces_the_first(exported, tmp_path):
    built, _ = exported
    for _ in range(2):
        export_model(built, PICTURES, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "classes.json", "model.keras"]


def test_a_full_disk_is_one_line_and_leaves_no_half_model(exported, small_disk):
    built, _ = exported
    (small_disk / "filler").write_bytes(b"x" * 900_000)
    with pytest.raises(TrainingError, match="The model can't be written to"):
        export_model(built, PICTURES, small_disk)
    assert not (small_disk / "1").exists()
    assert not (small_disk / "model.keras").exists()
