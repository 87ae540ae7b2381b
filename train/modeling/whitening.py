"""A first layer whose filters come from the pictures: what they see in a patch is uncorrelated and of equal size.

To learn them takes epochs, to compute them a look at the first pictures. From Jordan, "94% on CIFAR-10 in 3.29 Seconds
on a Single GPU" (2024), after Page, "How to Train Your ResNet 8: Bag of Tricks" (2019).
"""

import keras
import numpy as np
from keras import layers

PATCHES = 1_000_000  # to look at: in a thousand pictures of 32×32 pixels
_NAME = "whitening"
_SIDE = 2  # pixels of a patch
_LEAST = 3e-5  # variance added to each direction's: what hardly varies is noise


def apply_whitening(x: keras.KerasTensor) -> keras.KerasTensor:
    """The layer on `x` (n, height, width, channels), from 0 to 1: two filters, of opposite sign, for each direction.

    Only its bias is trained. `set_filters` gives it the filters. It computes in float32: what hardly varies is made
    large.
    """
    layer = layers.Conv2D(2 * _SIDE**2 * x.shape[-1], _SIDE, dtype="float32", name=_NAME)
    result = layer(x)
    layer.kernel.trainable = False
    return result


def find_layer(model: keras.Model) -> layers.Conv2D | None:
    """That of `apply_whitening`, if the model has it."""
    named = (layer for layer in model.layers if layer.name == _NAME and isinstance(layer, layers.Conv2D))
    return next((layer for layer in named if not layer.kernel.trainable), None)


def measure_patches(images: np.ndarray) -> np.ndarray:
    """The sum of (1, patch)ᵀ(1, patch) over all patches of pictures (n, height, width, channels) uint8.

    Float64, of whole numbers and exact: in whatever parts pictures are looked at, the parts add up to the same. The
    first value is the number of patches.
    """
    rows, columns = (side - _SIDE + 1 for side in images.shape[1:3])
    total = np.zeros(2 * [1 + _SIDE**2 * images.shape[-1]])
    for image in images:  # one at a time: a patch takes 32 times its bytes
        shifts = [image[y : y + rows, x : x + columns] for y in range(_SIDE) for x in range(_SIDE)]
        patches = np.concatenate([np.ones((rows, columns, 1)), *shifts], axis=-1).reshape(rows * columns, -1)
        total += patches.T @ patches
    return total


def set_filters(layer: layers.Conv2D, measured: np.ndarray) -> None:
    """For patches as `measure_patches` found them."""
    moments = measured / measured[0, 0]
    mean = moments[0, 1:] / 255
    variances, directions = np.linalg.eigh(moments[1:, 1:] / 255**2 - np.outer(mean, mean))
    filters = directions / np.sqrt(np.maximum(variances, 0) + _LEAST)  # each a column
    filters = np.concatenate([filters, -filters], axis=1)
    layer.kernel.assign(filters.reshape(layer.kernel.shape))
    layer.bias.assign(-mean @ filters)
