"""Epochs in Pipe mode beside epochs over batches that are in memory as tensors, same model, turn by turn."""

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

from benchmarks import measure
from benchmarks.data import prepared
from train.input_pipeline import pipeline
from train.input_pipeline.pipeline import TensorBatch
from train.modeling.builtin import build_model, build_optimizer
from train.records.channels import FifoSource, FileSource
from train.runtime.environment import Channel
from train.runtime.hyperparameters import Hyperparameters
from train.trainer.progress import Progress
from train.trainer.train_step import TrainStep
from train.trainer.trainer import Trainer


def main() -> None:
    """Print the table."""
    arguments = parser().parse_args()
    hparams = Hyperparameters(model=arguments.model, batch_size=arguments.batch_size)
    info, examples = prepared(arguments.data)
    keras.utils.set_random_seed(0)
    trainer = Trainer(TrainStep(build_model(hparams, info), build_optimizer(hparams)))
    progress = Progress(step=1)  # not the first step: nothing to announce

    def seconds(batches: Callable[[], Iterable[TensorBatch]]) -> Callable[[], float]:
        def epoch() -> float:
            progress.seconds, progress.examples_seen = 0.0, 0
            trainer.train_epoch(batches(), progress)
            assert progress.examples_seen == examples
            return progress.seconds

        return epoch

    with measure.fed(arguments.data / "train") as folder:
        fifos = FifoSource(Channel("train", "Pipe", folder))
        files = FileSource(Channel("train", "File", arguments.data))
        in_memory = list(pipeline.for_training(files, info, hparams.batch_size, hparams.shuffle_buffer, 0, 0))
        candidates = {
            "in memory": seconds(lambda: in_memory),
            "Pipe mode": seconds(
                lambda: pipeline.for_training(
                    fifos, info, hparams.batch_size, hparams.shuffle_buffer, 0, fifos.next_index
                )
            ),
        }
        trainer.train_epoch(in_memory[:20], Progress(step=1))  # compilation is neither's
        figures = measure.rounds(candidates, arguments.rounds)
    rows = [
        [name, measure.spread(taken, ".1f"), measure.spread(measure.ratios(taken, figures["in memory"]), ".3f")]
        for name, taken in figures.items()
    ]
    title = (
        f"Training {hparams.model}, {examples:,} pictures, batch {hparams.batch_size}; "
        f"median of {arguments.rounds} epochs (range); {measure.machine()}"
    )
    measure.table(title, ["input", "seconds an epoch", "of in-memory"], rows)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--data", type=Path, default=measure.ROOT / "data", help="prepared shards (default: data)")
    made.add_argument("--model", default="tutorial", choices=("tutorial", "lab"))
    made.add_argument("--batch-size", type=int, default=128)
    made.add_argument("--rounds", type=int, default=15)
    return made


if __name__ == "__main__":
    main()
