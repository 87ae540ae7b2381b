import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from train.runtime.hyperparameters import Hyperparameters
from train.trainer.progress import Progress
from train.trainer.schedules import (
    FULL_SIZE,
    SIDE_STEP,
    SMALLEST,
    WARM_UP,
    image_scale,
    list_sizes,
    make_lr_schedule,
    make_size_schedule,
    one_cycle,
)


def all_steps(epochs: int, steps: int) -> list[Progress]:
    """Before each of a training whose epochs have `steps` each."""
    return [
        Progress(epoch=epoch, step_in_epoch=step, step=epoch * steps + step)
        for epoch in range(epochs)
        for step in range(steps)
    ]


def rates(hparams: Hyperparameters, examples: int, steps: int) -> list[float]:
    return [make_lr_schedule(hparams, examples)(progress) for progress in all_steps(hparams.epochs, steps)]


def test_a_constant_rate_is_the_same_at_every_step():
    assert set(rates(Hyperparameters(schedule="constant", learning_rate=0.3), 1000, 5)) == {0.3}


@given(st.integers(1, 6), st.integers(2, 60))
def test_one_cycle_goes_up_and_then_down_to_nearly_nothing(epochs, steps):
    hparams = Hyperparameters(epochs=epochs, batch_size=10, learning_rate=0.5)
    found = rates(hparams, 10 * steps, steps)
    top = found.index(max(found))
    assert found[:top] == sorted(found[:top])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert min(found) > 0
    assert max(found) <= 0.5
    assert found[-1] == pytest.approx(0.5 * one_cycle(1 - 0.5 / (steps * epochs)))
    assert abs(top / len(found) - WARM_UP) <= 1 / len(found)


@given(st.integers(1, 6), st.integers(2, 60))
def test_a_linear_rate_goes_down_from_the_highest_to_nearly_nothing(epochs, steps):
    found = rates(
        Hyperparameters(epochs=epochs, batch_size=10, learning_rate=0.5, schedule="linear"), 10 * steps, steps
    )
    half_a_step = 0.25 / (steps * epochs)
    np.testing.assert_allclose(found, np.linspace(0.5 - half_a_step, half_a_step, steps * epochs))


def test_an_epoch_of_another_size_than_expected_is_only_the_firsts_concern():
    hparams = Hyperparameters(epochs=4, batch_size=10)
    as_expected, longer = rates(hparams, 100, 10), rates(hparams, 50, 10)
    assert as_expected[10:] == longer[10:]
    assert as_expected[:10] != longer[:10]
    assert min(longer) > 0


def test_the_ends_and_the_top():
    assert [one_cycle(done) for done in (0, WARM_UP, 1, 2)] == [0, 1, 0, 0]


@example(1, 5, 0.27916684145032034, (1, 17))  # a scale of nearly 1 is not 1
@given(st.integers(1, 5), st.integers(5, 40), st.floats(0.1, 0.99), st.tuples(st.integers(1, 70), st.integers(1, 70)))
def test_pictures_grow_to_their_own_size_and_keep_it(epochs, steps, initial, shape):
    hparams = Hyperparameters(epochs=epochs, batch_size=10, initial_scale=initial)
    found = [make_size_schedule(hparams, 10 * steps, (*shape, 3))(progress) for progress in all_steps(epochs, steps)]
    full = found[-(int((1 - FULL_SIZE) * len(found)) or 1) :]
    assert set(full) == {shape}
    for axis, own in enumerate(shape):
        sides = [size[axis] for size in found]
        assert sides == sorted(sides)
        assert all(side == own or (side % SIDE_STEP == 0 and SMALLEST <= side < own) for side in sides)


def test_the_sizes_of_pictures_of_32_pixels():
    hparams = Hyperparameters(epochs=10, batch_size=10, initial_scale=0.625)
    size = make_size_schedule(hparams, 100, (32, 48, 3))
    found = [size(progress) for progress in all_steps(10, 10)]
    assert sorted(set(found)) == list_sizes(hparams, (32, 48, 3)) == [(20, 28), (24, 36), (28, 40), (32, 48)]
    assert list_sizes(Hyperparameters(), (32, 48, 3)) == [(32, 48)]
    assert [found.count(one) for one in sorted(set(found))] == [52, 21, 17, 10]
    assert make_size_schedule(Hyperparameters(), 100, (32, 32, 3)) is None


def test_the_ends_of_growing():
    assert [image_scale(0.5, done) for done in (0, FULL_SIZE / 2, FULL_SIZE, 1)] == [0.5, 0.5, 1, 1]
