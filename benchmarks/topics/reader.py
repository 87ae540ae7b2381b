"""Pictures a second as (uint8 batch, label): this reader, a FIFO that is only emptied, File mode, the official reader.

All in one run and in turns. The official reader needs an interpreter that has it (Python 3.10, `pip install
sagemaker-tensorflow==2.14.0.1.20.0 'tensorflow-cpu==2.14.*' 'numpy<2'`): --peer-python, or else it is left out.
"""

import argparse
import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import tensorflow as tf

from benchmarks.data import read_dataset_info
from benchmarks.measure import (
    describe_rounds,
    feed_fifos,
    format_spread,
    make_parser,
    print_table,
    ratios,
    run_rounds,
    time_drain,
    time_pass,
)
from train.input_pipeline import pipeline
from train.records.channels import FifoSource
from train.records.tfrecord import Crc
from train.runtime.environment import Channel

REPEATS = 8  # times the train channel in one pass: a pass of 50,000 would be over in a twentieth of a second
SHUFFLED = 10_000
FEATURES = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
RAW, BEST, LAB = "official reader, raw records", "official reader, best parsing", "official reader, as in the lab"
EMPTIED = "FIFO, only emptied"
CHECKS: tuple[tuple[int, Crc], ...] = ((128, "full"), (256, "full"), (256, "header"), (256, "off"), (1024, "full"))


def main() -> None:
    """Print the table."""
    arguments = build_parser().parse_args()
    pictures, examples = read_dataset_info(arguments.data)
    many = examples * REPEATS
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(feed_fifos(arguments.data / "train", REPEATS))
        source = FifoSource(Channel("train", "Pipe", folder))

        def ours(size: int, crc: Crc) -> Callable[[], float]:
            order = size, SHUFFLED, 0, 0
            return lambda: many / time_pass(pipeline.for_training(source, pictures, *order, crc), many)

        candidates = {EMPTIED: lambda: many / time_drain(source)}
        for size, crc in CHECKS:
            candidates[f"this reader, batch {size}, CRC {crc}"] = ours(size, crc)
        candidates["File mode, TFRecordDataset, batch 256"] = lambda: (
            examples / time_pass(files(arguments.data), examples)
        )
        if arguments.peer_python:
            candidates |= stack.enter_context(official(arguments.peer_python, arguments.data))
        time_drain(source)  # the files into the page cache
        figures = run_rounds(candidates, arguments.rounds)
    rows = [row(name, taken, figures) for name, taken in figures.items()]
    print_table(
        f"FIFO reader, {pictures.shape} uint8; {describe_rounds(figures)}",
        ["path", "pictures/s", "of the FIFO's rate", *(["times the official best"] if arguments.peer_python else [])],
        rows,
    )


def row(name: str, taken: list[float], figures: dict[str, list[float]]) -> list[str]:
    """Figures, share of the emptied FIFO's rate, and how many times the official reader's best."""
    cells = [name, format_spread(taken), format_spread(ratios(taken, figures[EMPTIED]), ".2f")]
    return [*cells, format_spread(ratios(taken, figures[BEST]), ".1f")] if BEST in figures else cells


def files(data: Path) -> tf.data.Dataset:
    """The same batches as TensorFlow reads them from files, at its best."""

    def parsed(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        examples = tf.io.parse_example(records, FEATURES)
        return tf.reshape(tf.io.decode_raw(examples["image"], tf.uint8), (-1, 32, 32, 3)), examples["label"]

    names = [str(path) for path in sorted((data / "train").iterdir())]
    dataset = tf.data.TFRecordDataset(names).shuffle(SHUFFLED).batch(256)
    return dataset.map(parsed, num_parallel_calls=tf.data.AUTOTUNE).prefetch(4)


@contextlib.contextmanager
def official(python: str, data: Path) -> Iterator[dict[str, Callable[[], float]]]:
    """Passes of the official reader, in a process that stays, over FIFOs of its own."""
    with feed_fifos(data / "train") as folder:
        command = [python, str(Path(__file__).parents[1] / "peer.py"), str(folder)]
        peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert peer.stdout
            answers = peer.stdout
            assert answers.readline() == "ready\n", f"{python} has no official reader"

            def rate(kind: str) -> Callable[[], float]:
                def run() -> float:
                    print(kind, 256, file=peer.stdin, flush=True)
                    seen, seconds = answers.readline().split()
                    return int(seen) / float(seconds)

                return run

            yield {RAW: rate("raw"), BEST: rate("parsed"), LAB: rate("lab")}
        finally:
            peer.communicate(timeout=60)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = make_parser(__doc__, 7, data=True)
    parser.add_argument(
        "--peer-python", default=os.environ.get("PEER_PYTHON"), help="interpreter with the official one"
    )
    return parser


if __name__ == "__main__":
    main()
