"""Epochs in Pipe mode beside epochs over batches that are in memory as tensors, same model, turn by turn."""

import argparse
from collections.abc import Callable, Iterable

import keras

from benchmarks.data import read_dataset_info
from benchmarks.measure import feed_fifos, make_parser, print_figures, run_rounds
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
    arguments = build_parser().parse_args()
    hparams = Hyperparameters(model=arguments.model, batch_size=arguments.batch_size)
    info, examples = read_dataset_info(arguments.data)
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

    with feed_fifos(arguments.data / "train") as folder:
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
        figures = run_rounds(candidates, arguments.rounds)
    title = f"Training {hparams.model}, {examples:,} pictures, batch {hparams.batch_size}, epochs"
    print_figures(title, ["input", "seconds an epoch", "of in-memory"], figures, "in memory", ".1f", ".3f")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = make_parser(__doc__, 15, data=True)
    parser.add_argument("--model", default="tutorial", choices=("tutorial", "lab"))
    parser.add_argument("--batch-size", type=int, default=128)
    return parser


if __name__ == "__main__":
    main()
