"""Progressive resizing: a model's layers on images of another size. Smaller ones train in less time."""

import keras
import tensorflow as tf

from train.errors import TrainingError


def resize_input(model: keras.Model, size: tuple[int, int]) -> keras.Model:
    """The same layers and variables for uint8 pictures of `size`, (height, width). TrainingError if they allow none."""
    inputs = keras.Input((*size, model.input_shape[-1]), dtype="uint8")
    try:
        resized = keras.models.clone_model(model, inputs, clone_function=lambda layer: layer)
    except ValueError as error:
        raise _unresizable(model, size, str(error).strip().splitlines()[0]) from error
    for kind in ("trainable_variables", "non_trainable_variables"):
        old, new = ([id(variable) for variable in getattr(one, kind)] for one in (model, resized))
        if old != new:
            raise _unresizable(model, size, "layers that make their variables anew")
    return resized


def resize_images(model: keras.Model, images: tf.Tensor) -> tf.Tensor:
    """uint8 pictures (n, height, width, channels) in the size that `model` takes."""
    size = model.input_shape[1:3]
    if size == tuple(images.shape[1:3]):
        return images
    return tf.cast(tf.round(tf.image.resize(images, size)), tf.uint8)


def _unresizable(model: keras.Model, size: tuple[int, int], received: str) -> TrainingError:
    return TrainingError(
        f"Model {model.name} can't be trained at {size[0]}×{size[1]} pixels. Received: {received} Expected: layers for "
        "pictures of any size, such as convolutions and a global pooling; or hyperparameter initial-scale 1."
    )
