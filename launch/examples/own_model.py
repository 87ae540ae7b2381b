"""A custom model for pictures of 16×16 and more: separable convolutions in residual blocks.

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
        x = residual_block(x, filters)
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(pictures, layers.Dense(len(classes), dtype="float32")(x), name="separable")


def residual_block(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Two convolutions beside a shortcut; half the height and width."""
    short = layers.Conv2D(filters, 1, strides=2, padding="same", use_bias=False)(x)
    for strides in (2, 1):
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.SeparableConv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
    return layers.Add()([short, x])
