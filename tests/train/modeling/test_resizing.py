import keras
import numpy as np
import pytest
import tensorflow as tf

from train.errors import TrainingError
from train.modeling.builtin import build_model
from train.modeling.resizing import resize_images, resize_input
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import Hyperparameters

PICTURES = ImageDatasetInfo((32, 24, 3), ("a", "b"))


def built(name: str) -> keras.Model:
    keras.utils.set_random_seed(1)
    return build_model(Hyperparameters(model=name), PICTURES)


def test_the_layers_are_the_same_and_so_are_the_answers():
    net = built("fast")
    small = resize_input(net, (16, 20))
    assert small.input_shape == (None, 16, 20, 3)
    assert [id(layer) for layer in small.layers[1:]] == [id(layer) for layer in net.layers[1:]]
    again = resize_input(small, PICTURES.shape[:2])
    images = np.random.default_rng(0).integers(0, 256, (4, *PICTURES.shape)).astype(np.uint8)
    np.testing.assert_array_equal(net(images), again(images))
    before = np.array(net(images))
    small.layers[-1].bias.assign([1.0, 2.0])
    np.testing.assert_allclose(net(images), before + np.array([1.0, 2.0]), rtol=1e-5)


def test_a_sequence_of_layers():
    layers = keras.layers
    middle = [layers.Rescaling(1 / 255), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    net = keras.Sequential([keras.Input(PICTURES.shape, dtype="uint8"), *middle])
    assert resize_input(net, (16, 16)).output_shape == (None, 2)


@pytest.mark.parametrize("name", ["tutorial", "lab"])
def test_layers_for_one_size_are_refused(name: str) -> None:
    with pytest.raises(TrainingError, match=f"Model {name} can't be trained at 20×20 pixels.*initial-scale 1"):
        resize_input(built(name), (20, 20))


def test_pictures_in_the_size_of_the_model():
    small = resize_input(built("fast"), (16, 12))
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (3, 32, 24, 3)).astype(np.uint8))
    found = resize_images(small, images)
    assert (found.dtype, tuple(found.shape)) == (tf.uint8, (3, 16, 12, 3))
    whole = resize_images(built("fast"), images)
    assert whole is images
    flat = tf.fill((1, 32, 24, 3), tf.constant(77, tf.uint8))
    assert set(np.unique(resize_images(small, flat))) == {77}
