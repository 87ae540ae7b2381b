"""Pruners: which running training jobs to stop early. Losses: lower is better."""

import statistics
from itertools import accumulate
from typing import Protocol


class Pruner(Protocol):
    """Watches the training jobs of one definition. For one thread."""

    def on_start(self, name: str) -> None:
        """A training job was created."""

    def report(self, name: str, loss: float) -> bool:
        """The training job has a new value of its objective, which counts as an epoch: whether to stop the job."""

    def on_end(self, name: str, counts: bool) -> None:
        """The training job has ended. `counts`: it has an objective, which others are compared with."""


class MedianStoppingRule:
    """TrainingJobEarlyStoppingType Auto, as the developer guide words it: a job is stopped when its objective is worse
    than the median of the running averages of earlier jobs, up to the same epoch.

    Earlier jobs are all that have ended, by themselves or stopped by this rule. One that ended before that epoch counts
    with its last average: without it, the median would be that of the better half, and rise with every epoch.
    """

    def __init__(self) -> None:
        self._losses: dict[str, list[float]] = {}
        self._averages: list[list[float]] = []  # a job that is over each: its running average after every epoch

    def on_start(self, name: str) -> None:
        self._losses[name] = []

    def report(self, name: str, loss: float) -> bool:
        losses = self._losses[name]
        losses.append(loss)
        before = [averages[min(len(losses), len(averages)) - 1] for averages in self._averages]
        return bool(before) and loss > statistics.median(before)

    def on_end(self, name: str, counts: bool) -> None:
        losses = self._losses.pop(name)
        if counts and losses:
            self._averages.append([total / (index + 1) for index, total in enumerate(accumulate(losses))])
