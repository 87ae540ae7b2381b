"""Augmentation inside the compiled graph: the same seed gives the same images."""

from collections.abc import Callable

import tensorflow as tf

from train.runtime.hyperparameters import Hyperparameters

SHIFT = 16  # a picture moves by up to a SHIFT-th of its side: 2 pixels of 32: more costs more epochs than few can give

# pictures (n, h, w, c) uint8, a seed (2,) int64, the epoch () int64 → pictures of the same shape and type
Augmentation = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def no_augmentation(images: tf.Tensor, seed: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:  # noqa: ARG001
    """The pictures as they are."""
    return images


def make_augmentation(hparams: Hyperparameters) -> Augmentation:
    """The augmentation that `augment`, `alternate-flips` and `cutout` name."""
    if not (hparams.augment or hparams.cutout):
        return no_augmentation

    def augment(images: tf.Tensor, seed: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
        if hparams.augment:
            images = flip_and_shift(images, seed, epoch if hparams.alternate_flips else None)
        return cut_out(images, seed, hparams.cutout) if hparams.cutout else images

    return augment


def flip_and_shift(images: tf.Tensor, seed: tf.Tensor, epoch: tf.Tensor | None = None) -> tf.Tensor:
    """Flipped left to right at random and shifted by up to a sixteenth of the side, edges mirrored.

    With `epoch`, in every other epoch: half of the pictures in the even ones, the others in the odd ones, as in Jordan,
    "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024). Which half is told by the pixels, as records out of a FIFO
    have no number.
    """
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    down, across = (min(max(1, side // SHIFT), side - 1) for side in (height, width))
    draws = _draw(3, count, seed)
    padded = tf.pad(images, [[0, 0], [down, down], [across, across], [0, 0]], "REFLECT")
    rows = (draws[0] % (2 * down + 1))[:, None] + tf.range(height)
    columns = (draws[1] % (2 * across + 1))[:, None] + tf.range(width)
    coins = (
        draws[2] if epoch is None else tf.reduce_sum(tf.cast(images, tf.int32), [1, 2, 3]) + tf.cast(epoch, tf.int32)
    )
    flipped = (coins % 2 == 1)[:, None]
    columns = tf.where(flipped, columns[:, ::-1], columns)
    return tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def cut_out(images: tf.Tensor, seed: tf.Tensor, side: int) -> tf.Tensor:
    """Cutout: a grey square of `side` pixels at a random place of each image, clipped at the edges."""
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    draws = _draw(2, count, seed + tf.constant([0, 2**32], tf.int64))
    top, left = draws[0] % height - side // 2, draws[1] % width - side // 2
    rows = _within(tf.range(height), top, side)[:, :, None, None]
    columns = _within(tf.range(width), left, side)[:, None, :, None]
    return tf.where(rows & columns, tf.constant(128, images.dtype), images)


def _draw(rows: int, count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """(rows, count) int32. By Philox on every device, and compiled by XLA as well, which has a choice of its own."""
    return tf.random.stateless_uniform((rows, count), seed, maxval=2**30, dtype=tf.int32, alg="philox")


def _within(places: tf.Tensor, start: tf.Tensor, length: int) -> tf.Tensor:
    """(n, places) bool: whether each place is in [start, start + length) of each picture."""
    offset = places[None] - start[:, None]
    return (offset >= 0) & (offset < length)
