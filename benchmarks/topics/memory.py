"""Peak memory of a tutorial job in Pipe mode, beside that of importing, the model and one training step alone.

The job is a whole one — the toolkit's command, real FIFOs, training, validation, export, report — over the prepared
shards, once and several times over: with the reader's memory bounded, the size of the data must not show.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.data import read_dataset_info
from benchmarks.measure import (
    ROOT,
    TRAIN,
    feed_fifos,
    make_parser,
    print_figures,
    run_rounds,
    training_environment,
    write_job,
)

ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import tensorflow as tf
from train.modeling.builtin import build_model, build_optimizer
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import RECIPES, Hyperparameters
from train.trainer import job
from train.trainer.progress import Progress
from train.trainer.train_step import TrainStep
from train.trainer.trainer import Trainer
hparams = Hyperparameters(**{"model": "tutorial", **RECIPES["tutorial"]})
info = ImageDatasetInfo((32, 32, 3), hparams.class_names)
trainer = Trainer(TrainStep(build_model(hparams, info), build_optimizer(hparams)))
size = hparams.batch_size
batch = tf.constant(np.zeros((size, *info.shape), np.uint8)), tf.constant(np.zeros(size, np.int64))
trainer.train_epoch([batch], Progress(step=1))
"""


def main() -> None:
    """Print the table."""
    arguments = build_parser().parse_args()
    _, examples = read_dataset_info(arguments.data)
    candidates: dict[str, Callable[[], float]] = {"import, model, one step": alone}
    for times in arguments.times:
        candidates[f"job, {examples * times:,} pictures"] = partial(job, arguments.data, times)
    peaks = run_rounds(candidates, arguments.rounds)
    print_figures("Peak memory of a tutorial job in Pipe mode", ["", "MB", "ratio"], peaks, "import, model, one step")


def alone() -> float:
    """MB."""
    return _peak([sys.executable, "-c", ALONE, str(ROOT)], dict(os.environ))


def job(data: Path, times: int) -> float:
    """MB, of a job of one epoch whose train channel is `data`'s so many times over."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        inputs = {channel: {"TrainingInputMode": "Pipe"} for channel in ("train", "validation")}
        write_job(root, inputs, {"model": "tutorial", "epochs": "1"})
        for channel, repeats in (("train", times), ("validation", 1)):
            fifos = stack.enter_context(feed_fifos(data / channel, repeats, channel))
            for number in range(2):  # one to train on, two to validate on
                (root / f"input/data/{channel}_{number}").symlink_to(fifos / f"{channel}_{number}")
        return _peak([str(TRAIN)], training_environment(root))


def _peak(command: list[str], environment: dict[str, str]) -> float:
    """MB that the process had at most (ru_maxrss)."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            sys.exit(log.read().decode())
    return usage.ru_maxrss / 1024


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = make_parser(__doc__, 3, data=True)
    parser.add_argument(
        "--times", type=int, nargs="+", default=[1, 4], help="the data so many times over (default: 1 4)"
    )
    return parser


if __name__ == "__main__":
    main()
