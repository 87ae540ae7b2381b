"""Strategy Hyperband: many training jobs begin, the better third of them goes on at every rung.

Asynchronous successive halving, which the service says it uses: nobody waits for a rung to be full. A job is compared
with those of its bracket that have reached the rung so far and is stopped unless it is in their better third; nothing
that was stopped goes on later. Values to try are drawn at random. The service tells neither its factor nor how it deals
jobs to brackets: 3 and Hyperband's own shares are this platform's choice.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from local_test.errors import BadRequest
from local_test.tuning.search_space import Numeric, Range

NAMES = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")  # what the service infers MaxResource from
_MOST = 20_000  # epochs
_FACTOR = 3


class SuccessiveHalving:
    """A Pruner. Resources are epochs: values of the objective. `stops`: a job that reaches `most` is stopped; else it
    ends by itself, with its model."""

    def __init__(self, least: int, most: int, stops: bool, seed: int | None) -> None:
        self._most, self._stops, self._rng = most, stops, random.Random(seed)  # noqa: S311 - nothing secret
        self._brackets = brackets(least, most)
        count = len(self._brackets)
        self._shares = [math.ceil(count / (count - n) * _FACTOR ** (count - n - 1)) for n in range(count)]
        self._reached: dict[tuple[int, int], list[float]] = {}  # bracket, epoch → losses
        self._jobs: dict[str, tuple[int, int]] = {}  # name → bracket, epochs so far

    def on_start(self, name: str) -> None:
        self._jobs[name] = self._rng.choices(range(len(self._brackets)), self._shares)[0], 0

    def report(self, name: str, loss: float) -> bool:
        bracket, epochs = self._jobs[name]
        epochs += 1
        self._jobs[name] = bracket, epochs
        if epochs >= self._most:
            return self._stops
        if epochs not in self._brackets[bracket]:
            return False
        losses = self._reached.setdefault((bracket, epochs), [])
        losses.append(loss)
        better = len(losses) // _FACTOR
        return better > 0 and loss > sorted(losses)[better - 1]

    def on_end(self, name: str, counts: bool) -> None:  # noqa: ARG002 - what reached a rung has counted there
        del self._jobs[name]


def brackets(least: int, most: int) -> list[list[int]]:
    """The epochs of each bracket's rungs: the first halves earliest, the last never."""
    rungs = []
    while least < most:
        rungs.append(least)
        least *= _FACTOR
    return [rungs[n:] for n in range(len(rungs) + 1)]


def make_pruner(config: Mapping[str, Any], static: Mapping[str, str], ranges: Sequence[Range]) -> SuccessiveHalving:
    """By HyperParameterTuningJobConfig and one definition. BadRequest for what the service refuses."""
    if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
        raise BadRequest(
            "TrainingJobEarlyStoppingType must be Off for Strategy Hyperband, which has its own. "
            f"Received: {config['TrainingJobEarlyStoppingType']}"
        )
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    inferred = [static[name] for name in NAMES if name in static]
    least, most = given.get("MinResource", 1), given.get("MaxResource") or _epochs(inferred)
    if not least <= most <= _MOST:
        raise BadRequest(
            f"Hyperband needs MinResource <= MaxResource <= {_MOST}. Received: MinResource {least}, MaxResource {most}"
        )
    own = [int(text) for text in inferred if text.isdecimal()]
    own += [int(item.high) for item in ranges if item.name in NAMES and isinstance(item, Numeric)]
    return SuccessiveHalving(least, most, not own or own[0] > most, config.get("RandomSeed"))


def _epochs(inferred: Sequence[str]) -> int:
    if not inferred or not inferred[0].isdecimal() or int(inferred[0]) < 1:
        raise BadRequest(
            "MaxResource of HyperbandStrategyConfig can't be inferred. "
            f"Received: {inferred[0] if inferred else 'no number of epochs'} in StaticHyperParameters. "
            f"Give it, or one of {', '.join(NAMES)}"
        )
    return int(inferred[0])
