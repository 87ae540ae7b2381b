"""What feeding a FIFO costs: the platform's feeder, from files and from S3, beside a plain `cat` into the same FIFO."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.local_api import BUCKET, build_job, run_server
from benchmarks.measure import (
    ROOT,
    describe_rounds,
    format_spread,
    make_parser,
    print_table,
    ratios,
    run_rounds,
    time_drain,
)
from train.records.channels import FifoSource
from train.runtime.environment import Channel

CAT = "cat"
REPEATS = 4  # passes a figure: one is over in a tenth of a second


def main() -> None:
    """Print the table."""
    arguments = make_parser(__doc__, 7, data=True).parse_args()
    shards = (arguments.data / "train").absolute()
    size = sum(path.stat().st_size for path in shards.iterdir()) / 1e6
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sources = {
            CAT: stack.enter_context(feed_by_cat(scratch, shards)),
            "feeder, files": stack.enter_context(feed_by_feeder(scratch, shards)),
            "local API, objects of its own S3": stack.enter_context(feed_by_api(scratch, shards)),
        }

        def rate(source: FifoSource) -> Callable[[], float]:
            return lambda: size * REPEATS / sum(time_drain(source) for _ in range(REPEATS))

        candidates = {name: rate(source) for name, source in sources.items()}
        figures = run_rounds(candidates, arguments.rounds, warm=True)
    rows = [
        [name, format_spread(taken), format_spread(ratios(figures[CAT], taken), ".2f")]
        for name, taken in figures.items()
    ]
    title = f"Feeding {size:.0f} MB in Pipe mode; {describe_rounds(figures)}"
    print_table(title, ["writer", "MB/s", "time, of cat's"], rows)


@contextlib.contextmanager
def feed_by_cat(scratch: Path, shards: Path) -> Iterator[FifoSource]:
    """FIFOs that a shell makes and `cat` fills."""
    folder = scratch / "cat"
    folder.mkdir()
    loop = 'n=0; while mkfifo "$1/train_$n"; do cat "$2"/* > "$1/train_$n"; rm "$1/train_$n"; n=$((n + 1)); done'
    writer = subprocess.Popen(["sh", "-c", loop, "sh", str(folder), str(shards)], start_new_session=True)
    try:
        yield FifoSource(Channel("train", "Pipe", folder))
    finally:
        os.killpg(writer.pid, 9)
        writer.wait(30)


@contextlib.contextmanager
def feed_by_feeder(scratch: Path, shards: Path) -> Iterator[FifoSource]:
    """FIFOs of `python -m local_test feed`, which feeds as a job's own feeder does."""
    folder = scratch / "feeder"
    folder.mkdir()
    command = [sys.executable, "-m", "local_test", "feed", str(shards), str(folder / "train")]
    writer = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield FifoSource(Channel("train", "Pipe", folder))
    finally:
        writer.terminate()
        writer.wait(30)


@contextlib.contextmanager
def feed_by_api(scratch: Path, shards: Path) -> Iterator[FifoSource]:
    """FIFOs of a job that the local API runs, whose container sleeps: they are read here in its place."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train/"}
    channels = [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}]
    with run_server(scratch / "api") as client:
        s3 = client("s3")
        for path in sorted(shards.iterdir()):
            s3.upload_file(str(path), BUCKET, f"train/{path.name}")
        sleeping = build_job("sleeping", "trap 'exit' TERM; sleep 3600 & wait", "Pipe", InputDataConfig=channels)
        client("sagemaker").create_training_job(**sleeping)
        yield FifoSource(Channel("train", "Pipe", scratch / "api/training/sleeping/algo-1/opt/ml/input/data"))


if __name__ == "__main__":
    main()
