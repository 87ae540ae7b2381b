"""How many pictures a second the FIFO reader delivers as (uint8 batch, label), beside a FIFO that is only emptied."""

import argparse
import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks import measure
from benchmarks.data import prepared
from train import pipeline
from train.environment import Channel
from train.fifo import FifoSource


def main() -> None:
    """Print the table."""
    arguments = parser().parse_args()
    pictures, examples = prepared(arguments.data)
    with measure.fed(arguments.data / "train") as folder:
        source = FifoSource(Channel("train", "Pipe", folder))

        def batches(size: int, buffer: int) -> Callable[[], float]:
            def run() -> float:
                began = time.perf_counter()
                passed = pipeline.for_training(source, pictures, size, buffer, 0, 0)
                seen = sum(int(labels.shape[0]) for _, labels in passed)
                assert seen == examples, (seen, examples)
                return seen / (time.perf_counter() - began)

            return run

        def emptied() -> float:
            began, buffer, size = time.perf_counter(), memoryview(bytearray(1 << 20)), 0
            for stream in source.streams():
                with closing(stream):
                    while count := stream.readinto(buffer):
                        size += count
            assert size > examples * pictures.bytes
            return examples / (time.perf_counter() - began)

        candidates = {"FIFO, only emptied": emptied}
        candidates |= {f"shuffled batches of {size}": batches(size, 10_000) for size in (128, 256, 1024)}
        emptied()  # the files into the page cache
        figures = measure.rounds(candidates, arguments.rounds)
    baseline = figures["FIFO, only emptied"]
    rows = [
        [name, measure.spread(taken), measure.spread(measure.ratios(taken, baseline), ".2f")]
        for name, taken in figures.items()
    ]
    title = f"FIFO reader, {pictures.shape} uint8, full CRC; median of {arguments.rounds} (range); {measure.machine()}"
    measure.table(title, ["path", "pictures/s", "of the FIFO's rate"], rows)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--data", type=Path, default=measure.ROOT / "data", help="prepared shards (default: data)")
    made.add_argument("--rounds", type=int, default=7)
    return made


if __name__ == "__main__":
    main()
