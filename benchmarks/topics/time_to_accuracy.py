"""Seconds of training to a validation accuracy: a model laid out for each of the accuracies, beside lab.

Each is trained and validated as the job does it, until it is there for the first time; lab has the optimizer of its
lab, Adam at 0.001, and no schedule. Compiling, which is the same however long one trains, is told apart. Seeds take
turns.
"""

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras

from benchmarks.data import read_dataset_info
from benchmarks.measure import ROOT, describe_machine, format_spread, print_table, ratios
from train.input_pipeline import pipeline
from train.input_pipeline.pipeline import TensorBatch
from train.modeling.augmentation import make_augmentation
from train.modeling.builtin import apply_tta, build_model, build_optimizer
from train.records.channels import FileSource
from train.runtime import hardware
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.environment import Channel
from train.runtime.hyperparameters import Hyperparameters, parse
from train.trainer.progress import Progress
from train.trainer.schedules import make_lr_schedule, make_size_schedule
from train.trainer.train_step import TrainStep
from train.trainer.trainer import Trainer

# a schedule ends where its accuracy is wanted
_FAST = {"model": "fast", "precision": "auto", "tta": "mirror"}
LAYOUTS = {
    0.70: {**_FAST, "epochs": "1", "initial-scale": "0.88"},
    0.80: {**_FAST, "epochs": "4", "initial-scale": "0.88"},
    0.85: {
        **_FAST,
        "epochs": "15",
        "initial-scale": "0.65",
        "batch-size": "256",
        "learning-rate": "0.04",
        "alternate-flips": "true",
    },
    0.90: {"model": "airbench"},
}
SHORT = list(LAYOUTS)[:-1]  # the last takes a quarter of an hour a seed on two cores
LAB, LAB_EPOCHS = 0.70, 12


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="prepared shards (default: data)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--targets",
        type=float,
        nargs="*",
        default=SHORT,
        help=f"of {', '.join(map(str, LAYOUTS))} (default: all but the last)",
    )
    arguments = parser.parse_args()
    info, _ = read_dataset_info(arguments.data)
    wanted = [({"model": "lab", "epochs": str(LAB_EPOCHS)}, LAB), *((LAYOUTS[one], one) for one in arguments.targets)]
    trained = [(f"{layout['model']}, {target:.0%}", layout, target) for layout, target in wanted]
    figures: dict[str, list[tuple[float, float, float]]] = {name: [] for name, _, _ in trained}
    for seed in range(arguments.seeds):
        for name, hyperparameters, target in trained:
            hparams = parse({**hyperparameters, "seed": str(seed)})
            with contextlib.redirect_stdout(sys.stderr):  # stdout is for the table
                figures[name].append(train_until(hparams, info, arguments.data, target))
    base = [seconds for seconds, _, _ in next(iter(figures.values()))]
    rows = []
    for name, hyperparameters, _ in trained:
        seconds, accuracies, compiling = zip(*figures[name], strict=True)
        rows.append([
            name,
            " ".join(f"{key}={value}" for key, value in hyperparameters.items() if key != "model"),
            format_spread(seconds, ".0f"),
            format_spread(ratios(seconds, base), ".3f"),
            format_spread(accuracies, ".1%"),
            format_spread(compiling, ".1f"),
        ])  # fmt: skip
    title = f"Time to an accuracy, validation included; median of {arguments.seeds} seeds (range); {describe_machine()}"
    head = ["model, accuracy", "hyperparameters", "seconds", "of lab's", "accuracy then", "compiling, s"]
    print_table(title, head, rows)


def train_until(
    hparams: Hyperparameters, info: ImageDatasetInfo, data: Path, target: float
) -> tuple[float, float, float]:
    """Seconds of epochs and validations until the accuracy is there, what it then is, and seconds of compiling before.

    inf if it never is.
    """
    hparams = replace(hparams, precision=hardware.choose_precision(hparams.precision))
    keras.utils.set_random_seed(hparams.seed)
    model = build_model(hparams, info)
    examples = info.train_examples or hparams.train_examples
    size = make_size_schedule(hparams, examples, info.shape)
    train_step = TrainStep(
        model, build_optimizer(hparams), augment=make_augmentation(hparams), label_smoothing=hparams.label_smoothing,
        seed=hparams.seed,
    )  # fmt: skip
    trainer = Trainer(
        train_step, lr_schedule=make_lr_schedule(hparams, examples), size_schedule=size,
        eval_model=apply_tta(model, hparams.tta),
    )  # fmt: skip
    training, validation = (FileSource(Channel(name, "File", data)) for name in ("train", "validation"))
    began = time.perf_counter()
    trainer.compile(map(size, every_step(hparams, examples)) if size else ())
    compiling = time.perf_counter() - began
    progress, seconds, accuracy = Progress(), 0.0, 0.0
    for _ in range(hparams.epochs):
        began = time.perf_counter()
        trainer.train_epoch(batches(training, info, hparams, progress.epoch), progress)
        _, accuracy = trainer.evaluate(pipeline.for_validation(validation, info, hparams.batch_size))
        seconds += time.perf_counter() - began
        progress.epoch += 1
        progress.step_in_epoch = 0
        told = f"{hparams.model}, seed {hparams.seed}: {accuracy:.1%} after {progress.epoch} epochs, {seconds:.0f} s"
        print(told, file=sys.stderr, flush=True)
        if accuracy >= target:
            return seconds, accuracy, compiling
    return float("inf"), accuracy, compiling


def every_step(hparams: Hyperparameters, examples: int) -> Iterator[Progress]:
    """Before each step of the training."""
    steps = math.ceil(examples / hparams.batch_size)
    for epoch in range(hparams.epochs):
        for step in range(steps):
            yield Progress(epoch=epoch, step=epoch * steps + step, step_in_epoch=step)


def batches(source: FileSource, info: ImageDatasetInfo, hparams: Hyperparameters, epoch: int) -> Iterator[TensorBatch]:
    """The epoch's, as the job has them."""
    order = hparams.batch_size, hparams.shuffle_buffer, hparams.seed, epoch
    return iter(pipeline.for_training(source, info, *order))


if __name__ == "__main__":
    main()
