"""What feeding a FIFO costs: the platform's feeder, from files and from S3, beside a plain `cat` into the same FIFO."""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import boto3

from benchmarks import measure
from train.environment import Channel
from train.fifo import FifoSource

CAT = "cat"
BUCKET = "bench"
REPEATS = 4  # passes a figure: one is over in a tenth of a second


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=measure.ROOT / "data", help="prepared shards (default: data)")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    shards = (arguments.data / "train").absolute()
    size = sum(path.stat().st_size for path in shards.iterdir()) / 1e6
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = stack.enter_context(served(scratch, shards))
        sources = {
            CAT: stack.enter_context(by_cat(scratch, shards)),
            "feeder, files": stack.enter_context(by_feeder(scratch, "files", str(shards), os.environ)),
            "feeder, S3 of the local API": stack.enter_context(
                by_feeder(scratch, "objects", f"s3://{BUCKET}/train/", environment)
            ),
        }

        def rate(source: FifoSource) -> Callable[[], float]:
            return lambda: size * REPEATS / sum(measure.emptied(source) for _ in range(REPEATS))

        candidates = {name: rate(source) for name, source in sources.items()}
        for warm in candidates.values():
            warm()
        figures = measure.rounds(candidates, arguments.rounds)
    rows = [
        [name, measure.spread(taken), measure.spread(measure.ratios(figures[CAT], taken), ".2f")]
        for name, taken in figures.items()
    ]
    title = f"Feeding {size:.0f} MB in Pipe mode; median of {arguments.rounds} (range); {measure.machine()}"
    measure.table(title, ["writer", "MB/s", "time, of cat's"], rows)


@contextlib.contextmanager
def by_cat(scratch: Path, shards: Path) -> Iterator[FifoSource]:
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
def by_feeder(scratch: Path, name: str, source: str, environment: Mapping[str, str]) -> Iterator[FifoSource]:
    """FIFOs of `python -m local_test feed`, which feeds as a job's own feeder does."""
    folder = scratch / name
    folder.mkdir()
    command = [sys.executable, "-m", "local_test", "feed", source, str(folder / "train")]
    writer = subprocess.Popen(command, cwd=measure.ROOT, env=dict(environment), stderr=subprocess.DEVNULL)
    try:
        yield FifoSource(Channel("train", "Pipe", folder))
    finally:
        writer.terminate()
        writer.wait(30)


@contextlib.contextmanager
def served(scratch: Path, shards: Path) -> Iterator[dict[str, str]]:
    """The local API with the shards in its S3; the environment that finds it."""
    options = ["--runner", "process", "--port", "0", "--root", str(scratch / "api")]
    command = [sys.executable, "-m", "local_test", "serve", *options]
    server = subprocess.Popen(command, cwd=measure.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        lines = [server.stdout.readline() for _ in range(4)]
        exports = dict(line.removeprefix("export ").strip().split("=") for line in lines)
        environment = {**os.environ, **exports}
        s3 = boto3.session.Session(
            exports["AWS_ACCESS_KEY_ID"], exports["AWS_SECRET_ACCESS_KEY"], region_name=exports["AWS_DEFAULT_REGION"]
        ).client("s3", endpoint_url=exports["AWS_ENDPOINT_URL"])
        s3.create_bucket(Bucket=BUCKET)
        for path in sorted(shards.iterdir()):
            s3.upload_file(str(path), BUCKET, f"train/{path.name}")
        yield environment
    finally:
        server.terminate()
        server.wait(60)


if __name__ == "__main__":
    main()
