"""Strategy Hyperband: many training jobs start, and at every rung the better third goes on.

Asynchronous successive halving (ASHA), which the service says it uses: no job waits for a rung to fill. A job is
compared with those of its bracket that have reached the rung so far, and stopped unless it is in the better third; a
stopped job is never resumed. Hyperparameters are sampled at random. The service documents neither the reduction factor
nor how jobs are assigned to brackets: 3 and Hyperband's own shares are this platform's choice.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from local_test.errors import BadRequest
from local_test.tuning.search_space import Numeric, Range

NAMES = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")  # what the service infers MaxResource from
_MAX_EPOCHS = 20_000  # epochs
_FACTOR = 3


class SuccessiveHalving:
    """A Pruner. Resources are epochs: each value of the objective is one. `stops`: whether to stop a job that reaches
    `max_resource`; otherwise it ends by itself, with its model."""

    def __init__(self, min_resource: int, max_resource: int, stops: bool, seed: int | None) -> None:
        self._max_resource, self._stops, self._rng = max_resource, stops, random.Random(seed)  # noqa: S311 - nothing secret
        self._brackets = brackets(min_resource, max_resource)
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
        if epochs >= self._max_resource:
            return self._stops
        if epochs not in self._brackets[bracket]:
            return False
        losses = self._reached.setdefault((bracket, epochs), [])
        losses.append(loss)
        better = len(losses) // _FACTOR
        return better > 0 and loss > sorted(losses)[better - 1]

    def on_end(self, name: str, counts: bool) -> None:  # noqa: ARG002 - what reached a rung has counted there
        del self._jobs[name]


def brackets(min_resource: int, max_resource: int) -> list[list[int]]:
    """The epochs of each bracket's rungs: the first bracket halves earliest, the last never."""
    rungs = []
    while min_resource < max_resource:
        rungs.append(min_resource)
        min_resource *= _FACTOR
    return [rungs[n:] for n in range(len(rungs) + 1)]


def make_pruner(config: Mapping[str, Any], static: Mapping[str, str], ranges: Sequence[Range]) -> SuccessiveHalving:
    """The pruner of HyperParameterTuningJobConfig and one definition. BadRequest for what the service refuses."""
    if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
        raise BadRequest(
            "TrainingJobEarlyStoppingType must be Off for Strategy Hyperband, which has its own. "
            f"Received: {config['TrainingJobEarlyStoppingType']}"
        )
    hyperband = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    inferred = [static[name] for name in NAMES if name in static]
    min_resource = hyperband.get("MinResource", 1)
    max_resource = hyperband.get("MaxResource") or _infer_epochs(inferred)
    if not min_resource <= max_resource <= _MAX_EPOCHS:
        raise BadRequest(
            f"Hyperband needs MinResource <= MaxResource <= {_MAX_EPOCHS}. "
            f"Received: MinResource {min_resource}, MaxResource {max_resource}"
        )
    own = [int(text) for text in inferred if text.isdecimal()]
    own += [int(item.high) for item in ranges if item.name in NAMES and isinstance(item, Numeric)]
    return SuccessiveHalving(min_resource, max_resource, not own or own[0] > max_resource, config.get("RandomSeed"))


def _infer_epochs(inferred: Sequence[str]) -> int:
    if not inferred or not inferred[0].isdecimal() or int(inferred[0]) < 1:
        raise BadRequest(
            "MaxResource of HyperbandStrategyConfig can't be inferred. "
            f"Received: {inferred[0] if inferred else 'no number of epochs'} in StaticHyperParameters. "
            f"Give it, or one of {', '.join(NAMES)}"
        )
    return int(inferred[0])
