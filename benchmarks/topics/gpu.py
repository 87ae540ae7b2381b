"""Training steps on the device that is there: with and without XLA, one or several a call, in 32 and in 16 bits.

A batch lies on the device already, so that the step alone is measured; the first call compiles. For what feeds the
steps: `python -m benchmarks reader`.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from benchmarks.measure import describe_machine, format_spread, make_parser, print_table, ratios, run_rounds
from train.modeling.augmentation import make_augmentation
from train.modeling.builtin import build_model, build_optimizer
from train.runtime import hardware
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import parse
from train.trainer.train_step import TrainStep

SECONDS = 2.0  # of steps in a round
SHAPE = (32, 32, 3)


def main() -> None:
    """Print the table."""
    parser = make_parser(__doc__, 5)
    parser.add_argument(
        "--settings",
        nargs="+",
        metavar="'KEY=VALUE …'",
        help="hyperparameters of each row",
    )
    arguments = parser.parse_args()
    hardware.limit_threads()
    hardware.share_gpus()
    first: dict[str, float] = {}
    candidates = {settings: prepare(settings, first) for settings in arguments.settings or default_settings()}
    figures = run_rounds(candidates, arguments.rounds)
    base = next(iter(figures.values()))
    rows = [
        [settings, format_spread(taken), format_spread(ratios(taken, base), ".2f"), f"{first[settings]:.1f}"]
        for settings, taken in figures.items()
    ]
    device = f"GPU: {hardware.describe_gpus()}; " if hardware.count_gpus() else ""
    title = f"Training steps; median of {arguments.rounds} (range); {device}{describe_machine()}"
    print_table(title, ["hyperparameters", "pictures/s", "of the first", "first call, s"], rows)


def default_settings() -> list[str]:
    """Several steps a call on a GPU alone: XLA's loops on a processor are slow. So is airbench there."""
    gpus = hardware.count_gpus()
    ways = [f"jit={jit} steps-per-execution={steps}" for jit in ("off", "on") for steps in ((1, 16) if gpus else (1,))]
    models = [
        f"batch-size={size} precision={precision}"
        for size in (128, 1024)
        for precision in ("float32", "mixed_bfloat16")
    ]
    return [f"{model} {way}" for model in [*models, *(["model=airbench"] if gpus else [])] for way in ways]


def prepare(settings: str, first: dict[str, float]) -> Callable[[], float]:
    """→ pictures a second of one round. Sets `first` to the seconds of the call that compiles.

    Without jit and steps-per-execution they are those of a processor.
    """
    hparams = parse(dict(setting.split("=", 1) for setting in settings.split()))
    hparams = replace(hparams, precision=hardware.choose_precision(hparams.precision))
    size, steps = hparams.batch_size, hparams.steps_per_execution or 1
    jit = "off" if hparams.jit == "auto" else hparams.jit
    info = ImageDatasetInfo(SHAPE, hparams.class_names)
    keras.utils.set_random_seed(0)
    step = TrainStep(
        build_model(hparams, info), build_optimizer(hparams), augment=make_augmentation(hparams),
        label_smoothing=hparams.label_smoothing, batch_size=size, jit=jit, steps=steps,
    )  # fmt: skip
    generator = np.random.default_rng(0)
    images = tf.identity(generator.integers(0, 256, (size, *SHAPE)).astype(np.uint8))
    labels = tf.identity(generator.integers(0, len(info.classes), size))
    call = [(images, labels, size)] * steps, [hparams.learning_rate] * steps
    began = time.perf_counter()
    step(*call)
    step.check_finite()  # waits for the device
    first[settings] = time.perf_counter() - began

    def measure() -> float:
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            for _ in range(5):
                step(*call)
            step.check_finite()
            count += 5 * steps * size
        return count / (time.perf_counter() - began)

    return measure


if __name__ == "__main__":
    main()
