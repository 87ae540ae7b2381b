"""What a tuning job tries next. Ask/tell: `ask` for hyperparameters, `tell` what came of them."""

import itertools
import random
from collections.abc import Sequence
from typing import Protocol

from local_test.errors import BadRequest
from local_test.ranges import Categorical, Range

Values = dict[str, str]


class Strategy(Protocol):
    """For one thread."""

    def ask(self) -> Values | None:
        """Hyperparameters to try, None if there is nothing left to try."""
        ...

    def tell(self, values: Values, objective: float | None) -> None:
        """The objective that they led to, None if there is none: lower is better."""
        ...


class RandomStrategy:
    """Each value on its own, by the scaling of its range. The same seed gives the same sequence."""

    def __init__(self, ranges: Sequence[Range], seed: int | None) -> None:
        self._ranges, self._rng = ranges, random.Random(seed)  # noqa: S311 - nothing secret

    def ask(self) -> Values | None:
        return {item.name: item.sample(self._rng) for item in self._ranges}

    def tell(self, values: Values, objective: float | None) -> None:
        """Nothing is learnt."""


class GridStrategy:
    """Every combination once. BadRequest for ranges other than categorical ones, as on the service."""

    def __init__(self, ranges: Sequence[Range]) -> None:
        others = [item.name for item in ranges if not isinstance(item, Categorical)]
        if others:
            raise BadRequest(f"Strategy Grid takes categorical ranges only. Received: {', '.join(others)}")
        self._names = [item.name for item in ranges]
        values = [item.values for item in ranges if isinstance(item, Categorical)]
        self._combinations = itertools.product(*values)

    def ask(self) -> Values | None:
        combination = next(self._combinations, None)
        return None if combination is None else dict(zip(self._names, combination, strict=True))

    def tell(self, values: Values, objective: float | None) -> None:
        """Nothing is learnt."""


def grid_size(ranges: Sequence[Range]) -> int:
    """How many combinations there are."""
    size = 1
    for item in ranges:
        size *= len(item.values) if isinstance(item, Categorical) else 1
    return size


def choose_strategy(name: str, ranges: Sequence[Range], seed: int | None) -> Strategy:
    """BadRequest for a strategy that there is not."""
    if name == "Random":
        return RandomStrategy(ranges, seed)
    if name == "Grid":
        return GridStrategy(ranges)
    raise BadRequest(f"Strategy {name} is not supported locally. Supported: Random, Grid")
