"""Batch normalisation in one operation, for layers that compute in bfloat16: Keras takes a dozen, all in float32."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


@contextmanager
def fused_batch_norm(model: keras.Model) -> Iterator[None]:
    """While `model` is called. Its layers stay Keras' own: what is saved knows nothing of it.

    A step on a processor takes less time so. A GPU's layers are left as they are: it was not measured there.
    """
    gpus = tf.config.list_physical_devices("GPU")
    layers = [] if gpus else [layer for layer in model._flatten_layers() if _is_fusible(layer)]
    try:
        for layer in layers:
            layer.call = functools.partial(_call, layer)
        yield
    finally:
        for layer in layers:
            del layer.call


def _is_fusible(layer: keras.Layer) -> bool:
    return (
        isinstance(layer, keras.layers.BatchNormalization)
        and layer.compute_dtype == "bfloat16"
        and layer.variable_dtype == "float32"
        and layer.axis in (-1, 3)
        and layer.center
        and layer.scale
        and not layer.renorm
    )


def _call(layer: Any, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
    """Of pictures (n, height, width, channels); all else is Keras'."""
    if mask is not None or len(inputs.shape) != 4:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    scale, offset, epsilon = layer.gamma.value, layer.beta.value, layer.epsilon
    if not training or not layer.trainable:
        outputs, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=scale, offset=offset, mean=layer.moving_mean.value, variance=layer.moving_variance.value,
            epsilon=epsilon, is_training=False,
        )  # fmt: skip
        return outputs
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=scale, offset=offset, epsilon=epsilon, mean=[], variance=[]
    )
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
    variance *= (count - 1) / count  # the operation's is that of a sample; Keras keeps that of the batch
    for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(moving * layer.momentum + value * (1 - layer.momentum))
    return outputs
