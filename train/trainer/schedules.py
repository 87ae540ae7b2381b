"""Learning rate and image size of each step, from what a checkpoint holds: a resumed job continues as it would have."""

import math
from collections.abc import Callable

from train.runtime.hyperparameters import Hyperparameters
from train.trainer.progress import Progress

WARM_UP = 0.15  # share of the training
FULL_SIZE = 0.9  # share of the training after which images have their own size
GROWTHS = 3  # of the images until then: each size is compiled separately
SIDE_STEP, SMALLEST = 4, 16  # pixels: sides are multiples of the one, and not made smaller than the other

LrSchedule = Callable[[Progress], float]
SizeSchedule = Callable[[Progress], tuple[int, int]]  # height, width in pixels


def make_lr_schedule(hparams: Hyperparameters, examples: float) -> LrSchedule:
    """Progress before a step → its learning rate. `examples` is the expected length of the first epoch.

    Later epochs are expected to have as many steps as those before them.
    """
    if hparams.schedule == "constant":
        return lambda _: hparams.learning_rate
    done = _make_fraction_done(hparams, examples)
    share = {"one-cycle": one_cycle, "linear": linear}[hparams.schedule]
    return lambda progress: hparams.learning_rate * share(done(progress))


def make_size_schedule(hparams: Hyperparameters, examples: float, shape: tuple[int, ...]) -> SizeSchedule | None:
    """Progress before a step → the size it is trained at, of pictures of `shape`; None: always their own."""
    if hparams.initial_scale == 1:
        return None
    done = _make_fraction_done(hparams, examples)
    return lambda progress: _scaled(shape, image_scale(hparams.initial_scale, done(progress)))


def list_sizes(hparams: Hyperparameters, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Those that pictures of `shape` are trained at, the smallest first."""
    scales = [_scale(hparams.initial_scale, growths) for growths in range(GROWTHS + 1)]
    return list(dict.fromkeys(_scaled(shape, scale) for scale in scales))


def _make_fraction_done(hparams: Hyperparameters, examples: float) -> Callable[[Progress], float]:
    """Progress before a step → the share of the training that is done in its middle."""
    expected = math.ceil(examples / hparams.batch_size)

    def done(progress: Progress) -> float:
        steps = progress.steps_per_epoch or expected
        epochs = progress.epoch + min(1.0, (progress.step_in_epoch + 0.5) / max(1.0, steps))
        return epochs / hparams.epochs

    return done


def one_cycle(done: float) -> float:
    """Share of the highest rate when the share `done` of the training is done: up from 0, then down to 0, in lines."""
    return max(0.0, min(done / WARM_UP, (1 - done) / (1 - WARM_UP)))


def linear(done: float) -> float:
    """Share of the highest rate when the share `done` of the training is done: down to 0, in a line."""
    return max(0.0, 1 - done)


def image_scale(initial: float, done: float) -> float:
    """Scale of the pictures' sides when the share `done` of the training is done: small for long, at the end 1."""
    growths = int(GROWTHS * min(1.0, done / FULL_SIZE) ** 2 + 1e-9)
    return _scale(initial, growths)


def _scale(initial: float, growths: int) -> float:
    return 1 - (1 - initial) * (GROWTHS - growths) / GROWTHS  # exactly 1 at the end


def _scaled(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    height, width = (_side(side, scale) for side in shape[:2])
    return height, width


def _side(side: int, scale: float) -> int:
    return min(side, max(SMALLEST, int(side * scale + 1e-6) // SIDE_STEP * SIDE_STEP)) if scale < 1 else side
