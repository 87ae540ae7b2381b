"""The learning rate of each step. It depends on what checkpoints hold: a resumed job goes on at the same rate."""

import math
from collections.abc import Callable

from train.checkpoint import Progress
from train.settings import Settings

WARM_UP = 0.15  # of the training

Schedule = Callable[[Progress], float]


def schedule(settings: Settings, examples: int) -> Schedule:
    """Progress before a step → its learning rate. `examples` of an epoch: what the first one is laid out for.

    The later epochs are laid out for as many steps as those before them had.
    """
    if settings.schedule == "constant":
        return lambda _: settings.learning_rate
    expected = math.ceil(examples / settings.batch_size)

    def rate(progress: Progress) -> float:
        steps = (progress.step - progress.step_in_epoch) / progress.epoch if progress.epoch else expected
        epochs = progress.epoch + min(1.0, (progress.step_in_epoch + 0.5) / max(1.0, steps))
        return settings.learning_rate * one_cycle(epochs / settings.epochs)

    return rate


def one_cycle(done: float) -> float:
    """Share of the highest rate when the share `done` of the training is done: up from 0, then down to 0, in lines."""
    return max(0.0, min(done / WARM_UP, (1 - done) / (1 - WARM_UP)))
