"""Which running training jobs of a tuning job are not worth more of its time. Losses: lower is better."""

import statistics
from itertools import accumulate
from typing import Protocol


class Pruner(Protocol):
    """Watches the training jobs of one definition. For one thread."""

    def on_start(self, name: str) -> None:
        """The training job is made."""
        ...

    def report(self, name: str, loss: float) -> bool:
        """It has measured its objective once more, which counts as an epoch: whether to stop it."""
        ...

    def on_end(self, name: str, counts: bool) -> None:
        """It is over. `counts`: it has an objective, which others may be compared with."""
        ...


class MedianStoppingRule:
    """TrainingJobEarlyStoppingType Auto, as the developer guide words it: a job is stopped when its objective is worse
    than the median of the running averages, up to the same epoch, of the jobs before it.

    Before it are all that are over, whether they ended by themselves or were stopped by this; one that had ended by
    then counts with what it had: were it left out, the median would be that of the better half, and rise every epoch.
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
