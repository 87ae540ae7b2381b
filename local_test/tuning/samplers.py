"""What a tuning job tries next. Ask/tell: `ask` for hyperparameters, `tell` their result."""

import itertools
import random
from collections.abc import Sequence
from typing import Any, Protocol

from local_test.errors import BadRequest
from local_test.tuning.search_space import Categorical, Range

Values = dict[str, str]


class Sampler(Protocol):
    """Chooses hyperparameters. For one thread."""

    def ask(self) -> Values | None:
        """Hyperparameters to try, None if there is nothing left to try."""

    def recall(self, values: Values) -> None:
        """A training job of a server that was killed has these: the next ones are asked for as if they were asked for
        here."""

    def tell(self, values: Values, objective: float | None) -> None:
        """Their result: the objective, lower is better; None if the job failed."""

    def add_observation(self, values: Values, objective: float) -> None:
        """A result of an earlier tuning job; some of its hyperparameters may have no range here, or lie outside."""


class RandomSampler:
    """Samples each hyperparameter independently, in the scaling of its range. The same seed gives the same sequence."""

    def __init__(self, ranges: Sequence[Range], seed: int | None) -> None:
        self._ranges, self._rng = ranges, random.Random(seed)  # noqa: S311 - nothing secret

    def ask(self) -> Values | None:
        return {item.name: item.sample(self._rng) for item in self._ranges}

    def recall(self, values: Values) -> None:  # noqa: ARG002 - a Sampler
        """With a seed, they are what was asked for."""
        self.ask()

    def tell(self, values: Values, objective: float | None) -> None:
        """Ignored."""

    def add_observation(self, values: Values, objective: float) -> None:
        """Ignored."""


class GridSampler:
    """Every combination once. BadRequest for ranges that are not categorical, as on the service."""

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

    def recall(self, values: Values) -> None:  # noqa: ARG002 - a Sampler
        self.ask()

    def tell(self, values: Values, objective: float | None) -> None:
        """Ignored."""

    def add_observation(self, values: Values, objective: float) -> None:
        """Ignored."""


class BayesianSampler:
    """Optuna's tree-structured Parzen estimator (TPE). A running job counts as bad until it has ended (constant liar),
    so that jobs at a time don't all try the same. The service does not publish its own method."""

    def __init__(self, ranges: Sequence[Range], seed: int | None) -> None:
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._ranges = ranges
        self._places = {item.name: _distribution(item) for item in ranges}
        self._failed = optuna.trial.TrialState.FAIL
        self._study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True))
        self._running: list[tuple[Values, Any]] = []

    def ask(self) -> Values | None:
        trial = self._study.ask(self._places)
        values = {item.name: _text(item, trial.params[item.name]) for item in self._ranges}
        self._running.append((values, trial))
        return values

    def recall(self, values: Values) -> None:
        self._study.enqueue_trial({item.name: _place(item, values[item.name]) for item in self._ranges})
        self._running.append((values, self._study.ask(self._places)))

    def tell(self, values: Values, objective: float | None) -> None:
        index = next(index for index, (running, _) in enumerate(self._running) if running == values)
        _, trial = self._running.pop(index)
        self._study.tell(trial, objective, state=self._failed if objective is None else None)

    def add_observation(self, values: Values, objective: float) -> None:
        """Ignored if it lies outside this tuning job's ranges."""
        if all(item.includes(values[item.name]) for item in self._ranges):
            params = {item.name: _place(item, values[item.name]) for item in self._ranges}
            self._study.add_trial(
                _optuna().trial.create_trial(params=params, distributions=self._places, value=objective)
            )


def _optuna() -> Any:
    """Loaded only here: that takes half a second, and no other sampler needs it."""
    try:
        import optuna
    except ModuleNotFoundError as missing:
        raise BadRequest(
            f"Strategy Bayesian needs Optuna. Received: no {missing.name}. Run pip install . with this Python"
        ) from None
    return optuna


def _distribution(item: Range) -> Any:
    """The range as Optuna's distribution; ReverseLogarithmic is a logarithmic one of 1 - x."""
    distributions = _optuna().distributions
    if isinstance(item, Categorical):
        return distributions.CategoricalDistribution(item.values)
    if item.scaling == "ReverseLogarithmic":
        return distributions.FloatDistribution(1 - item.high, 1 - item.low, log=True)
    kind = distributions.IntDistribution if item.integer else distributions.FloatDistribution
    return kind(item.low, item.high, log=item.scaling == "Logarithmic")


def _place(item: Range, text: str) -> Any:
    """The opposite of `_text`."""
    if isinstance(item, Categorical):
        return text
    value = float(text)
    if item.scaling == "ReverseLogarithmic":
        return min(max(1 - value, 1 - item.high), 1 - item.low)
    return round(value) if item.integer else value


def _text(item: Range, value: Any) -> str:
    if isinstance(item, Categorical):
        return value
    return item.text(1 - value if item.scaling == "ReverseLogarithmic" else value)


def make_sampler(name: str, ranges: Sequence[Range], seed: int | None) -> Sampler:
    """The sampler of a Strategy. BadRequest if there is none."""
    if name in ("Random", "Hyperband"):  # Hyperband is a pruner
        return RandomSampler(ranges, seed)
    if name == "Grid":
        return GridSampler(ranges)
    if name == "Bayesian":
        return BayesianSampler(ranges, seed)
    raise BadRequest(f"Strategy {name} is not supported locally. Supported: Bayesian, Random, Grid, Hyperband")
