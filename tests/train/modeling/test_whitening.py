import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.modeling.whitening import apply_whitening, find_layer, measure_patches, set_filters


def make_model(shape: tuple[int, int, int]) -> keras.Model:
    inputs = keras.Input(shape, dtype="uint8")
    return keras.Model(inputs, apply_whitening(keras.layers.Rescaling(1 / 255)(inputs)))


def make_pictures(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Smooth ones, whose neighbouring pixels are alike."""
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = noise.cumsum(axis=1).cumsum(axis=2)
    return np.uint8(np.clip(128 + 40 * smooth / smooth.std(), 0, 255))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_the_filters_see_is_uncorrelated_and_of_equal_size(channels):
    images = make_pictures((50, 16, 16, channels))
    model = make_model(images.shape[1:])
    set_filters(find_layer(model), measure_patches(images))
    seen = np.asarray(model(images)).reshape(-1, 8 * channels)
    half = 4 * channels
    np.testing.assert_allclose(seen[:, half:], -seen[:, :half], atol=1e-3)  # two filters of opposite sign a direction
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-3)
    covariance = np.cov(seen[:, :half].T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=0.01)
    assert np.diag(covariance).max() <= 1.001
    assert np.diag(covariance).min() > 0.2  # less than 1 for what hardly varies


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.integers(1, 9))
def test_whatever_part_each_host_sees_the_parts_add_up_to_the_bit(seed, cut):
    images = np.random.default_rng(seed).integers(0, 256, (10, 7, 5, 3)).astype(np.uint8)
    whole = measure_patches(images)
    np.testing.assert_array_equal(measure_patches(images[:cut]) + measure_patches(images[cut:]), whole)
    assert whole[0, 0] == 10 * 6 * 4


def test_pictures_of_one_colour_give_finite_filters():
    images = np.full((3, 8, 8, 3), 77, np.uint8)
    model = make_model((8, 8, 3))
    set_filters(find_layer(model), measure_patches(images))
    np.testing.assert_allclose(model(images), 0, atol=1e-2)


def test_a_layer_of_that_name_that_learns_its_kernel_is_somebody_elses():
    inputs = keras.Input((8, 8, 3))
    assert find_layer(keras.Model(inputs, keras.layers.Conv2D(4, 2, name="whitening")(inputs))) is None
    assert find_layer(keras.Model(inputs, keras.layers.Flatten(name="whitening")(inputs))) is None
