"""The reader over record sizes, and over one and two channels at once; beside a FIFO that is only emptied."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import (
    describe_rounds,
    feed_fifos,
    format_spread,
    make_parser,
    print_table,
    ratios,
    run_rounds,
    run_together,
    time_drain,
    time_pass,
)
from dataset.shards import write
from train.input_pipeline import pipeline
from train.records.channels import FifoSource
from train.records.tfrecord import Crc
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.environment import Channel

PASS_BYTES = 600_000_000
SIZES = {"300 B": (10, 10, 3), "3 KB": (32, 32, 3), "100 KB": (184, 184, 3)}
BATCH, BUFFER_BYTES = 256, 30_000_000
CLASSES = tuple("0123456789")


class RecordSize:
    """One record size: shards of it, and passes over them."""

    def __init__(self, shape: tuple[int, int, int], scratch: Path, stack: ExitStack) -> None:
        self.pictures = ImageDatasetInfo(shape, CLASSES)
        count = min(20_000, 60_000_000 // self.pictures.bytes)
        generator = np.random.default_rng(0)
        folder = scratch / "x".join(map(str, shape))
        folder.mkdir()
        made = ((generator.bytes(self.pictures.bytes), number % len(CLASSES)) for number in range(count))
        write(folder / "train-00000.tfrecord", made)
        repeats = max(1, PASS_BYTES // (count * self.pictures.bytes))
        self.examples = count * repeats
        self.sources = [
            FifoSource(Channel("train", "Pipe", stack.enter_context(feed_fifos(folder, repeats)))) for _ in range(2)
        ]

    def drain(self) -> float:
        """Megabytes of pictures a second."""
        return self._megabytes(1) / time_drain(self.sources[0])

    def read(self, crc: Crc, channels: int = 1) -> Callable[[], float]:
        """The same for shuffled batches of one channel, or of both at once."""
        buffer = max(BATCH, BUFFER_BYTES // self.pictures.bytes)

        def one(source: FifoSource) -> None:
            time_pass(pipeline.for_training(source, self.pictures, BATCH, buffer, 0, 0, crc), self.examples)

        def run() -> float:
            began = time.perf_counter()
            run_together(partial(one, source) for source in self.sources[:channels])
            return self._megabytes(channels) / (time.perf_counter() - began)

        return run

    def _megabytes(self, channels: int) -> float:
        return channels * self.examples * self.pictures.bytes / 1e6


def main() -> None:
    """Print the table."""
    rounds = make_parser(__doc__, 5).parse_args().rounds
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, shape in SIZES.items():
            with ExitStack() as stack:
                size = RecordSize(shape, Path(scratch), stack)
                candidates = {
                    "FIFO, only emptied": size.drain,
                    "CRC full": size.read("full"),
                    "CRC header": size.read("header"),
                    "CRC full, two channels at once": size.read("full", 2),
                }
                figures = run_rounds(candidates, rounds)
            base = figures["FIFO, only emptied"]
            for path, taken in figures.items():
                per_second = [megabytes * 1e6 / size.pictures.bytes for megabytes in taken]
                ratio = format_spread(ratios(taken, base), ".2f")
                rows.append([name, path, format_spread(per_second), format_spread(taken), ratio])
    title = f"Record sizes, batch {BATCH}; {describe_rounds(figures)}"
    print_table(title, ["record", "path", "records/s", "MB/s", "of the FIFO's rate"], rows)


if __name__ == "__main__":
    main()
