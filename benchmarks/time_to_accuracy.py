"""Seconds of training to a validation accuracy: model fast, laid out for each of the accuracies, beside lab.

Each is trained and validated as the job does it, from batches in memory, until it is there for the first time; lab has
the optimizer of its lab, Adam at 0.001, and no schedule. Seeds take turns.
"""

import argparse
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

from benchmarks import measure
from benchmarks.data import prepared
from train import model, pipeline
from train.augmentation import changes
from train.checkpoint import Progress, as_arrays, restore, variables_of
from train.environment import Channel
from train.fifo import FileSource
from train.loop import Loop
from train.pictures import Pictures
from train.schedule import schedule
from train.settings import Settings, parse

EPOCHS = {0.70: 1, 0.80: 4, 0.85: 16}  # of fast: a schedule ends where its accuracy is wanted
LAB, LAB_EPOCHS = 0.70, 12


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=measure.ROOT / "data", help="prepared shards (default: data)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--targets", type=float, nargs="*", default=list(EPOCHS), help="accuracies (default: all)")
    arguments = parser.parse_args()
    pictures, _ = prepared(arguments.data)
    names = [f"fast, {target:.0%}" for target in arguments.targets]
    figures: dict[str, list[float]] = {f"lab, {LAB:.0%}": [], **{name: [] for name in names}}
    ends: dict[str, list[float]] = {name: [] for name in figures}
    for seed in range(arguments.seeds):
        for name, hyperparameters, target in [
            (f"lab, {LAB:.0%}", {"model": "lab", "epochs": str(LAB_EPOCHS)}, LAB),
            *(
                (name, {"epochs": str(EPOCHS[target])}, target)
                for name, target in zip(names, arguments.targets, strict=True)
            ),
        ]:
            seconds, accuracy = until(parse({**hyperparameters, "seed": str(seed)}), pictures, arguments.data, target)
            figures[name].append(seconds)
            ends[name].append(accuracy)
    base = figures[f"lab, {LAB:.0%}"]
    rows = [
        [
            name,
            measure.spread(taken, ".0f"),
            measure.spread(measure.ratios(taken, base), ".3f"),
            measure.spread(ends[name], ".1%"),
        ]
        for name, taken in figures.items()
    ]
    title = f"Time to an accuracy; median of {arguments.seeds} seeds (range); {measure.machine()}"
    measure.table(title, ["model, accuracy", "seconds", "of lab's", "accuracy then"], rows)


def until(settings: Settings, pictures: Pictures, data: Path, target: float) -> tuple[float, float]:
    """Seconds of epochs and validations until the accuracy is there, and what it then is; inf if it never is."""
    keras.utils.set_random_seed(settings.seed)
    net = model.build(settings, pictures)
    loop = Loop(
        net, model.optimizer(settings), change=changes(settings), smoothing=settings.label_smoothing,
        rate=schedule(settings, pictures.train_examples or settings.train_examples), seed=settings.seed,
    )  # fmt: skip
    variables = variables_of(net, loop.optimizer)
    untrained = as_arrays(variables)
    training, validation = (FileSource(Channel(name, "File", data)) for name in ("train", "validation"))
    loop.train_epoch(itertools.islice(batches(training, pictures, settings, 0), 3), Progress(step=1))  # compiles
    loop.evaluate(itertools.islice(pipeline.for_validation(validation, pictures, settings.batch_size), 3))
    restore(variables, untrained, Path("untrained"))
    progress, seconds, accuracy = Progress(), 0.0, 0.0
    for _ in range(settings.epochs):
        began = time.perf_counter()
        loop.train_epoch(batches(training, pictures, settings, progress.epoch), progress)
        _, accuracy = loop.evaluate(pipeline.for_validation(validation, pictures, settings.batch_size))
        seconds += time.perf_counter() - began
        progress.epoch += 1
        progress.step_in_epoch = 0
        measure.show(f"{settings.model}, seed {settings.seed}: {accuracy:.1%} after {progress.epoch} epochs")
        if accuracy >= target:
            return seconds, accuracy
    return float("inf"), accuracy


def batches(source: FileSource, pictures: Pictures, settings: Settings, epoch: int) -> Iterator:
    """The epoch's, as the job has them."""
    order = settings.batch_size, settings.shuffle_buffer, settings.seed, epoch
    return iter(pipeline.for_training(source, pictures, *order))


if __name__ == "__main__":
    main()
