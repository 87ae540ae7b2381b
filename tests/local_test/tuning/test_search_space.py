"""Ranges and strategies: every value is one that the service could have tried."""

import math
import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from local_test.errors import BadRequest
from local_test.tuning.samplers import GridSampler, RandomSampler, make_sampler
from local_test.tuning.search_space import Categorical, Numeric, read_ranges

floats = st.floats(1e-9, 1e9)


def numeric(name: str, low: Any, high: Any, scaling: str = "Auto") -> dict[str, str]:
    return {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": scaling}


@given(floats, floats, st.sampled_from(["Auto", "Linear", "Logarithmic"]), st.integers())
def test_a_continuous_value_is_in_its_range(one: float, other: float, scaling: str, seed: int) -> None:
    low, high = sorted((one, other))
    assume(low < high)
    (item,) = read_ranges({"ContinuousParameterRanges": [numeric("x", low, high, scaling)]})
    assert low <= float(item.sample(random.Random(seed))) <= high


@given(st.integers(-50, 50), st.integers(1, 100), st.integers())
def test_an_integer_is_one_of_its_range(low: int, more: int, seed: int) -> None:
    (item,) = read_ranges({"IntegerParameterRanges": [numeric("x", low, low + more, "Linear")]})
    assert int(item.sample(random.Random(seed))) in range(low, low + more + 1)


def test_scalings_share_the_range_out() -> None:
    def median(item: Numeric) -> float:
        rng = random.Random(1)
        return sorted(float(item.sample(rng)) for _ in range(2001))[1000]

    assert median(Numeric("x", 0.0, 1.0, "Linear", False)) == pytest.approx(0.5, abs=0.05)
    assert math.log10(median(Numeric("x", 1e-5, 1e-1, "Logarithmic", False))) == pytest.approx(-3, abs=0.2)
    assert math.log10(1 - median(Numeric("x", 0.9, 0.9999, "ReverseLogarithmic", False))) == pytest.approx(
        -2.5, abs=0.2
    )
    assert {Numeric("x", 1, 3, "Linear", True).sample(random.Random(n)) for n in range(50)} == {"1", "2", "3"}


def test_auto_is_logarithmic_over_decades() -> None:
    read = read_ranges(
        {"ContinuousParameterRanges": [numeric("a", 1e-5, 1e-1), numeric("b", 0, 1), numeric("c", 1, 2)]}
    )
    assert [item.scaling for item in read] == ["Logarithmic", "Linear", "Linear"]


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"IntegerParameterRanges": [numeric("n", 1.5, 2)]}, "needs whole numbers. Received: 1.5, 2"),
        ({"ContinuousParameterRanges": [numeric("n", "a", 2)]}, "needs numbers"),
        ({"ContinuousParameterRanges": [numeric("n", 2, 1)]}, "MinValue < MaxValue"),
        ({"ContinuousParameterRanges": [numeric("n", 0, "inf")]}, "MinValue < MaxValue"),
        ({"ContinuousParameterRanges": [numeric("n", 1, "1.0")]}, "MinValue < MaxValue. Received: 1.0, 1.0"),
        ({"IntegerParameterRanges": [numeric("n", 3, 3)]}, "A single value belongs into StaticHyperParameters"),
        ({"CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b", "a"]}]}, "Received: a more than once"),
        ({"ContinuousParameterRanges": [numeric("n", 0, 1, "Logarithmic")]}, "above 0 for Logarithmic"),
        ({"ContinuousParameterRanges": [numeric("n", 0, 1, "ReverseLogarithmic")]}, "0 <= x < 1"),
        ({"IntegerParameterRanges": [numeric("n", 0, 1), numeric("n", 0, 1)]}, "one range. Received: n 2 times"),
        ({}, "needs 1 to 30 ranges. Received: 0"),
        ({"AutoParameters": [{"Name": "a", "ValueHint": "1"}]}, "AutoParameters is not supported"),
    ],
)
def test_ranges_that_are_none(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        read_ranges(given_)


def test_the_same_seed_gives_the_same_values() -> None:
    ranges = read_ranges(
        {
            "ContinuousParameterRanges": [numeric("x", 0, 1)],
            "CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b", "c"]}],
        }
    )
    first, second, other = (RandomSampler(ranges, seed) for seed in (3, 3, 4))
    values = [first.ask() for _ in range(20)]
    assert values == [second.ask() for _ in range(20)]
    assert values != [other.ask() for _ in range(20)]


def test_a_grid_is_every_combination_once() -> None:
    ranges = [Categorical("a", ("1", "2")), Categorical("b", ("x", "y", "z"))]
    sampler = GridSampler(ranges)
    found = []
    while values := sampler.ask():
        found.append((values["a"], values["b"]))
    assert sorted(found) == [(a, b) for a in "12" for b in "xyz"]
    with pytest.raises(BadRequest, match=r"categorical ranges only\. Received: n"):
        GridSampler([Numeric("n", 0, 1, "Linear", True)])


def bayesian_best(seed: int) -> float:
    """How near 40 trials of one job after the other come to (0.01, 64, "b"); every seventh fails."""
    ranges = read_ranges(
        {
            "ContinuousParameterRanges": [
                numeric("x", 1e-4, 1, "Logarithmic"),
                numeric("r", 0.9, 0.9999, "ReverseLogarithmic"),
            ],
            "IntegerParameterRanges": [numeric("n", 1, 1000)],
            "CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b"]}],
        }
    )
    sampler = make_sampler("Bayesian", ranges, seed)
    losses = []
    for number in range(40):
        values = sampler.ask()
        assert values
        assert 0.9 <= float(values["r"]) <= 0.9999
        near = abs(math.log10(float(values["x"])) + 2) + abs(math.log2(int(values["n"])) - 6)
        loss = near + (values["c"] != "b")
        sampler.tell(values, None if number % 7 == 6 else loss)
        losses.append(loss)
    assert sum(losses[20:]) < sum(losses[:20])  # it has learnt
    return min(losses)


def test_bayesian_learns_and_repeats_itself_with_a_seed() -> None:
    assert bayesian_best(1) == bayesian_best(1) < 1.0


def test_a_strategy_that_there_is_not() -> None:
    with pytest.raises(BadRequest, match="Strategy Simplex is not supported locally"):
        make_sampler("Simplex", [], None)


@given(st.floats(1e-6, 0.5), st.floats(1e-3, 0.49), st.sampled_from(["Linear", "Logarithmic", "ReverseLogarithmic"]))
def test_a_part_of_the_range_and_its_value_are_each_others_inverse(low: float, more: float, scaling: str) -> None:
    item = Numeric("x", low, low + more, scaling, False)
    for part in (0.0, 0.25, 0.5, 1.0):
        assert item.fraction_of(item.value_at(part)) == pytest.approx(part, abs=1e-6)
