"""Memory while a channel streams: what the process holds after 5 % of the bytes, and at most until the end."""

import argparse
from pathlib import Path

from benchmarks.data import read_dataset_info
from benchmarks.measure import ROOT, describe_machine, feed_fifos, print_table
from train.input_pipeline import pipeline
from train.records.channels import FifoSource
from train.runtime.environment import Channel

BATCH, SHUFFLED = 256, 10_000


def resident() -> float:
    """Megabytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="prepared shards (default: data)")
    parser.add_argument("--gigabytes", type=float, default=5, help="to stream through one FIFO (default: 5)")
    arguments = parser.parse_args()
    pictures, examples = read_dataset_info(arguments.data)
    repeats = max(20, round(arguments.gigabytes * 1e9 / (examples * pictures.bytes)))
    seen, early, most = 0, 0.0, 0.0
    with feed_fifos(arguments.data / "train", repeats) as folder:
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


if __name__ == "__main__":
    main()
