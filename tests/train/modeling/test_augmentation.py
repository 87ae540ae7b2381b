import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from train.modeling.augmentation import cut_out, flip_and_shift, make_augmentation, no_augmentation
from train.runtime.hyperparameters import Hyperparameters


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_augmented_pictures_are_flipped_and_shifted_copies(seed, step):
    images = tf.reshape(tf.range(4 * 48 * 48 * 3) % 251, (4, 48, 48, 3))
    images = tf.cast(images, tf.uint8)
    result = flip_and_shift(images, tf.constant([seed, step], tf.int64)).numpy()
    np.testing.assert_array_equal(result, flip_and_shift(images, tf.constant([seed, step], tf.int64)).numpy())
    padded = np.pad(images.numpy(), ((0, 0), (3, 3), (3, 3), (0, 0)), "reflect")
    for before, after in zip(padded, result, strict=True):
        views = (before[row : row + 48, column : column + 48] for row in range(7) for column in range(7))
        assert any(np.array_equal(after, view) or np.array_equal(after, view[:, ::-1]) for view in views)


def test_augmentation_uses_flips_and_every_shift():
    """On pictures whose pixels say where they come from, the corner tells each picture's shift and flip."""
    places = np.stack(np.meshgrid(np.arange(48), np.arange(48), indexing="ij"), axis=-1)
    images = np.zeros((3000, 48, 48, 3), np.uint8)
    images[..., :2] = places
    result = flip_and_shift(tf.constant(images), tf.constant([0, 1], tf.int64)).numpy().astype(int)
    flipped = result[:, 12, 12, 1] > result[:, 12, 13, 1]
    assert 0.45 < flipped.mean() < 0.55
    assert len(np.unique(result[:, 12, 12, 0])) == 7
    assert len(np.unique(result[~flipped, 12, 12, 1])) == 7


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 20))
def test_alternate_flips_show_each_picture_both_ways_in_two_epochs(seed, epoch):
    images = np.random.default_rng(seed).integers(0, 256, (200, 16, 16, 3)).astype(np.uint8)
    images[:, :, 0], images[:, :, -1] = 0, 255  # the dark side tells a flip
    shifts = tf.constant([seed, 5], tf.int64)
    flipped = []
    for number in (epoch, epoch + 1, epoch + 2):
        result = flip_and_shift(tf.constant(images), shifts, tf.constant(number, tf.int64)).numpy()
        flipped.append(result[:, :, :2].mean(axis=(1, 2, 3)) > result[:, :, -2:].mean(axis=(1, 2, 3)))
    assert (flipped[0] != flipped[1]).all()
    assert (flipped[0] == flipped[2]).all()
    assert 0.3 < flipped[0].mean() < 0.7


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 20))
def test_hidden_squares_have_one_size_and_any_place(seed, side):
    images = tf.zeros((50, 16, 20, 3), tf.uint8)
    result = cut_out(images, tf.constant([seed, 3], tf.int64), side).numpy()
    np.testing.assert_array_equal(result, cut_out(images, tf.constant([seed, 3], tf.int64), side).numpy())
    grey = (result == 128).all(axis=-1)
    assert ((result == 0).all(axis=-1) | grey).all()
    heights, widths = grey.any(axis=2).sum(axis=1), grey.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(grey.sum(axis=(1, 2)), heights * widths)
    assert heights.min() >= 1
    assert widths.min() >= 1
    assert heights.max() <= side
    assert heights.max() == side or side > 8, "a large one may be clipped in all of the pictures"
    assert len(np.unique(grey.argmax(axis=1).max(axis=1))) > 1


@pytest.mark.parametrize(
    ("asked", "changed"), [({"augment": False}, False), ({}, True), ({"augment": False, "cutout": 4}, True)]
)
def test_the_settings_say_what_changes(asked, changed):
    augment = make_augmentation(Hyperparameters(**asked))
    assert (augment is not no_augmentation) == changed
    images = tf.cast(tf.random.stateless_uniform((9, 16, 16, 3), [1, 2], maxval=100, dtype=tf.int32), tf.uint8)
    result = augment(images, tf.constant([0, 0], tf.int64), tf.constant(0, tf.int64))
    assert (result.shape, result.dtype) == (images.shape, images.dtype)
    assert bool(tf.reduce_all(result == images)) != changed
