"""Ranges of hyperparameters: what a tuning job may try, with the service's scalings. Values are strings."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local_test.errors import BadRequest
from local_test.util.numbers import number

_AUTO_DECADES = 2.0  # Auto is logarithmic where a range spans more; the service does not say what it does
_LIMIT = 30  # ranges of a job


@dataclass(frozen=True)
class Categorical:
    """One of the values."""

    name: str
    values: tuple[str, ...]

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)

    def sample(self, rng: random.Random) -> str:
        return rng.choice(self.values)

    def includes(self, text: str) -> bool:
        return text in self.values


@dataclass(frozen=True)
class Numeric:
    """The numbers from `low` to `high`, both included. `scaling`: Linear, Logarithmic or ReverseLogarithmic."""

    name: str
    low: float
    high: float
    scaling: str
    integer: bool

    @property
    def size(self) -> float:
        """How many values there are."""
        return self.high - self.low + 1 if self.integer else math.inf

    def sample(self, rng: random.Random) -> str:
        return self.text(self._sample_at(rng.random()))

    def text(self, value: float) -> str:
        """The value as a hyperparameter, kept in the range in spite of rounding."""
        value = min(max(value, self.low), self.high)
        return str(round(value)) if self.integer else repr(value)

    def includes(self, text: str) -> bool:
        """Whether it is a number of the range; a static value may be any text."""
        value = number(text)
        return value is not None and self.low <= value <= self.high

    def value_at(self, part: float) -> float:
        """The value at a fraction (0 to 1) of the range, in its scaling; not rounded for integers."""
        if self.scaling == "Logarithmic":
            return math.exp(_between(math.log(self.low), math.log(self.high), part))
        if self.scaling == "ReverseLogarithmic":
            return 1 - math.exp(_between(math.log(1 - self.low), math.log(1 - self.high), part))
        return _between(self.low, self.high, part)

    def fraction_of(self, value: float) -> float:
        """The fraction (0 to 1) of the range below the value, in its scaling."""
        low, high, at = (self._scale(number) for number in (self.low, self.high, value))
        return (at - low) / (high - low)

    def _scale(self, value: float) -> float:
        if self.scaling == "Logarithmic":
            return math.log(value)
        return -math.log(1 - value) if self.scaling == "ReverseLogarithmic" else value

    def _sample_at(self, part: float) -> float:
        """As `value_at`, but each integer has an equal share of a linear range."""
        if self.integer and self.scaling == "Linear":
            return math.floor(self.low + part * (self.high - self.low + 1))
        return self.value_at(part)


Range = Categorical | Numeric


def _between(low: float, high: float, part: float) -> float:
    return low + part * (high - low)


def read_ranges(parameter_ranges: Mapping[str, Any]) -> list[Range]:
    """ParameterRanges, in the order integers, continuous, categorical. BadRequest names an invalid range."""
    ranges: list[Range] = [
        *(_numeric(item, True) for item in parameter_ranges.get("IntegerParameterRanges", [])),
        *(_numeric(item, False) for item in parameter_ranges.get("ContinuousParameterRanges", [])),
        *(_categorical(item) for item in parameter_ranges.get("CategoricalParameterRanges", [])),
    ]
    if parameter_ranges.get("AutoParameters"):
        raise BadRequest("ParameterRanges.AutoParameters is not supported locally. Name a range instead")
    names = [item.name for item in ranges]
    _check_names(names)
    return ranges


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BadRequest(f"A hyperparameter has one range. Received: {name} {names.count(name)} times")
    if not 1 <= len(names) <= _LIMIT:
        raise BadRequest(f"A tuning job needs 1 to {_LIMIT} ranges. Received: {len(names)}")


def _categorical(item: Mapping[str, Any]) -> Categorical:
    name, values = item["Name"], tuple(item["Values"])
    if twice := [value for value in dict.fromkeys(values) if values.count(value) > 1]:
        raise BadRequest(f"The values of {name} must be different ones. Received: {', '.join(twice)} more than once")
    return Categorical(name, values)


def _numeric(item: Mapping[str, str], integer: bool) -> Numeric:
    name, scaling = item["Name"], item.get("ScalingType", "Auto")
    try:
        low, high = (int(text) if integer else float(text) for text in (item["MinValue"], item["MaxValue"]))
    except ValueError:
        kind = "whole numbers" if integer else "numbers"
        raise BadRequest(
            f"The range of {name} needs {kind}. Received: {item['MinValue']}, {item['MaxValue']}"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):  # the service takes no range of one value
        raise BadRequest(
            f"The range of {name} must have MinValue < MaxValue. Received: {low}, {high}. "
            "A single value belongs into StaticHyperParameters"
        )
    if scaling == "Logarithmic" and low <= 0:
        raise BadRequest(f"The range of {name} must be above 0 for Logarithmic. Received: MinValue {low}")
    if scaling == "ReverseLogarithmic" and (integer or low < 0 or high >= 1):
        raise BadRequest(f"ReverseLogarithmic is for continuous 0 <= x < 1. Received: {name} from {low} to {high}")
    if scaling == "Auto":
        scaling = "Logarithmic" if low > 0 and high / low >= 10**_AUTO_DECADES else "Linear"
    return Numeric(name, low, high, scaling, integer)
