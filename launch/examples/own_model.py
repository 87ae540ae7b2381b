"""A model of one's own, for pictures of any size from 16×16 on: separable convolutions with a way around each pair.

The job's hyperparameter `model` names this file, its channel `code` brings it. Everything but the model is the image's.
"""

import keras
from keras import layers


def build(shape: tuple[int, int, int], classes: tuple[str, ...]) -> keras.Model:
    """uint8 pictures (n, *shape) → logits (n, classes)."""
    pictures = keras.Input(shape, dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(pictures)
    x = layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(x)
    for filters in (32, 64, 96):
        x = around(x, filters)
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(pictures, layers.Dense(len(classes), dtype="float32")(x), name="separable")


def around(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Half the size, and what the two convolutions add to it."""
    short = layers.Conv2D(filters, 1, strides=2, padding="same", use_bias=False)(x)
    for strides in (2, 1):
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.SeparableConv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    return layers.Add()([short, x])
