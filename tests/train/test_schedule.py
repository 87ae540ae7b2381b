import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.checkpoint import Progress
from train.schedule import WARM_UP, one_cycle, schedule
from train.settings import Settings


def rates(settings: Settings, examples: int, steps: int) -> list[float]:
    """Of all steps of a training whose epochs have `steps` each."""
    rate = schedule(settings, examples)
    return [
        rate(Progress(epoch=epoch, step_in_epoch=step, step=epoch * steps + step))
        for epoch in range(settings.epochs)
        for step in range(steps)
    ]


def test_a_constant_rate_is_the_same_at_every_step():
    assert set(rates(Settings(schedule="constant", learning_rate=0.3), 1000, 5)) == {0.3}


@given(st.integers(1, 6), st.integers(2, 60))
def test_one_cycle_goes_up_and_then_down_to_nearly_nothing(epochs, steps):
    settings = Settings(epochs=epochs, batch_size=10, learning_rate=0.5)
    found = rates(settings, 10 * steps, steps)
    top = found.index(max(found))
    assert found[:top] == sorted(found[:top])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert min(found) > 0
    assert max(found) <= 0.5
    assert found[-1] == pytest.approx(0.5 * one_cycle(1 - 0.5 / (steps * epochs)))
    assert abs(top / len(found) - WARM_UP) <= 1 / len(found)


def test_an_epoch_of_another_size_than_expected_is_only_the_firsts_concern():
    settings = Settings(epochs=4, batch_size=10)
    as_expected, longer = rates(settings, 100, 10), rates(settings, 50, 10)
    assert as_expected[10:] == longer[10:]
    assert as_expected[:10] != longer[:10]
    assert min(longer) > 0


def test_the_ends_and_the_top():
    assert [one_cycle(done) for done in (0, WARM_UP, 1, 2)] == [0, 1, 0, 0]
