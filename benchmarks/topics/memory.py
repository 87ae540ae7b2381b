"""Memory: of a channel that streams, and of a tutorial job in Pipe mode.

What the process holds after 5 % of the bytes, and at most until the end: a bounded reader does not grow. The job is a
whole one — the toolkit's command, real FIFOs, training, validation, export, report — over the prepared shards, once and
several times over, beside importing, the model and one training step alone.
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
    describe_machine,
    feed_fifos,
    make_parser,
    print_figures,
    print_table,
    run_rounds,
    training_environment,
    write_job,
)
from train.input_pipeline import pipeline
from train.records.channels import FifoSource
from train.runtime.environment import Channel

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


BATCH, SHUFFLED = 256, 10_000


def main() -> None:
    """Print the tables."""
    arguments = build_parser().parse_args()
    stream(arguments.data, arguments.gigabytes)
    _, examples = read_dataset_info(arguments.data)
    candidates: dict[str, Callable[[], float]] = {"import, model, one step": alone}
    for times in arguments.times:
        candidates[f"job, {examples * times:,} pictures"] = partial(job, arguments.data, times)
    peaks = run_rounds(candidates, arguments.rounds)
    print_figures("Peak memory of a tutorial job in Pipe mode", ["", "MB", "ratio"], peaks, "import, model, one step")


def stream(data: Path, gigabytes: float) -> None:
    """Print the table of a stream that is read and not trained on."""
    pictures, examples = read_dataset_info(data)
    repeats = max(20, round(gigabytes * 1e9 / (examples * pictures.bytes)))
    seen, early, most = 0, 0.0, 0.0
    with feed_fifos(data / "train", repeats) as folder:
        source = FifoSource(Channel("train", "Pipe", folder))
        for number, (_, labels) in enumerate(pipeline.for_training(source, pictures, BATCH, SHUFFLED, 0, 0)):
            seen += labels.numpy().size
            if number % 100 == 0:
                most = max(most, resident())
                early = early if seen > 0.05 * repeats * examples else most
    assert seen == repeats * examples
    row = [f"{seen * pictures.bytes / 1e9:.1f}", f"{early:,.0f}", f"{most:,.0f}", f"{most / early:.2f}"]
    title = f"Memory while streaming, {SHUFFLED:,} pictures shuffled; {describe_machine()}"
    print_table(title, ["GB streamed", "MB resident after 5 %", "MB at most", "ratio"], [row])


def resident() -> float:
    """MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


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
    parser.add_argument("--gigabytes", type=float, default=5, help="to stream through one FIFO (default: 5)")
    return parser


if __name__ == "__main__":
    main()
