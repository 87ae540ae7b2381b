import keras
import numpy as np
import pytest

from train.modeling.muon import Muon


def step(shape: tuple[int, ...], gradient: np.ndarray, rate: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """A variable before and after one step."""
    start = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    variable = keras.Variable(start, name="kernel")
    optimizer = Muon(rate)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(gradient.astype(np.float32))], [variable])
    return start, np.array(variable)


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (1, 1, 16, 4), (2, 2, 3, 12)])
def test_a_kernels_step_has_the_same_size_in_every_direction(shape):
    """The singular values of what is taken away are near 1 times the rate, however different the gradient's are."""
    generator = np.random.default_rng(0)
    gradient = generator.normal(size=shape) * np.geomspace(1, 10, shape[-1])
    start, after = step(shape, gradient)
    unit = start * np.sqrt(shape[-1]) / np.linalg.norm(start)
    sizes = np.linalg.svd((unit - after).reshape(-1, shape[-1]) / 0.1, compute_uv=False)
    assert sizes.min() > 0.25
    assert sizes.max() < 1.4
    assert np.sum((unit - after) * gradient) > 0  # downhill


def test_the_length_of_a_gradient_does_not_matter():
    gradient = np.random.default_rng(0).normal(size=(3, 3, 4, 8))
    np.testing.assert_allclose(step((3, 3, 4, 8), gradient)[1], step((3, 3, 4, 8), 1000 * gradient)[1], atol=1e-4)


@pytest.mark.parametrize("shape", [(7,), (5, 4)])
def test_all_else_is_adams(shape):
    gradient = np.random.default_rng(0).normal(size=shape)
    start, after = step(shape, gradient)
    np.testing.assert_allclose(start - after, 0.1 * 0.06 * np.sign(gradient), rtol=1e-3)
