"""Interleaved rounds, medians and spreads, tables."""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from train.records.channels import FifoSource

ROOT = Path(__file__).resolve().parent.parent
TRAIN = Path(sys.executable).with_name("train")  # the toolkit's command


def make_parser(description: str | None, rounds: int, data: bool = False) -> argparse.ArgumentParser:
    """A topic's command line; `data`: it reads prepared shards."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N", help=f"that count (default: {rounds})")
    if data:
        parser.add_argument("--data", type=Path, default=ROOT / "data", help="prepared shards (default: data)")
    return parser


def run_rounds(candidates: Mapping[str, Callable[[], float]], count: int, warm: bool = False) -> dict[str, list[float]]:
    """`count` figures of each candidate, taken in turns, so that a slow minute meets all of them. `warm`: after one of
    each that does not count."""
    if warm:
        run_rounds(candidates, 1)
    figures: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(count):
        for name, measure in candidates.items():
            show_progress(f"round {number + 1} of {count}: {name}")
            figures[name].append(measure())
    show_progress("")
    return figures


def ratios(figures: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Each figure over the baseline's of the same round."""
    return [figure / base for figure, base in zip(figures, baseline, strict=True)]


def format_spread(figures: Sequence[float], form: str = ",.0f") -> str:
    """`median (lowest–highest)`."""
    return f"{statistics.median(figures):{form}} ({min(figures):{form}}–{max(figures):{form}})"


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    print(f"\n### {title}\n")
    for row in [head, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    sys.stdout.flush()


def print_figures(
    title: str,
    head: Sequence[str],
    figures: Mapping[str, Sequence[float]],
    base: str,
    form: str = ",.0f",
    share: str = ".2f",
) -> None:
    """Print a table of rounds: each candidate's spread, and its ratio to that of `base`."""
    rows = [
        [name, format_spread(taken, form), format_spread(ratios(taken, figures[base]), share)]
        for name, taken in figures.items()
    ]
    print_table(f"{title}; {describe_rounds(figures)}", head, rows)


def describe_rounds(figures: Mapping[str, Sequence[float]]) -> str:
    """How many rounds the figures are of, and the machine."""
    return f"median of {len(next(iter(figures.values())))} (range); {describe_machine()}"


def describe_machine() -> str:
    """What the figures were taken on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{len(os.sched_getaffinity(0))} cores, {cpu}, Python {platform.python_version()}"


def show_progress(text: str) -> None:
    """A line of progress on a terminal, nothing in a log."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def feed_fifos(objects: Path, repeats: int = 1, channel: str = "train") -> Iterator[Path]:
    """A folder in which a process of its own feeds `<channel>_0`, `<channel>_1`, … with all `objects`."""
    with tempfile.TemporaryDirectory() as folder:
        names = [str(path) for path in sorted(objects.iterdir())]
        command = [sys.executable, "-m", "benchmarks.writer", folder, channel, str(repeats), *names]
        writer = subprocess.Popen(command, cwd=ROOT)
        try:
            yield Path(folder)
        finally:
            writer.terminate()
            writer.wait(30)


def write_job(
    root: Path,
    channels: Mapping[str, Mapping[str, str]],
    settings: Mapping[str, str],
    host: str = "algo-1",
    hosts: Sequence[str] = ("algo-1",),
) -> None:
    """`input/config` of a job below `root`, and an empty `input/data`."""
    (root / "input/config").mkdir(parents=True)
    (root / "input/data").mkdir()
    resources = {"current_host": host, "hosts": hosts, "network_interface_name": "eth0"}
    files = {"inputdataconfig": channels, "hyperparameters": settings, "resourceconfig": resources}
    for name, value in files.items():
        (root / f"input/config/{name}.json").write_text(json.dumps(value))


def training_environment(root: Path) -> dict[str, str]:
    """For TRAIN: the training program on the job below `root`."""
    program = {"SAGEMAKER_BASE_DIR": str(root), "SAGEMAKER_TRAINING_MODULE": "train.entrypoint:main"}
    return os.environ | program | {"PYTHONPATH": str(ROOT)}


def run_together(calls: Iterable[Callable[[], object]]) -> None:
    """All at once, each in a thread, to their ends."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def time_drain(source: FifoSource) -> float:
    """Seconds to empty the next FIFO: what no reader can be faster than."""
    began, buffer = time.perf_counter(), memoryview(bytearray(1 << 20))
    for stream in source.streams():
        while stream.readinto(buffer):
            pass
    return time.perf_counter() - began


def time_pass(batches: Iterable[tuple[Any, Any]], examples: int) -> float:
    """Seconds for a whole pass of so many examples."""
    began = time.perf_counter()
    seen = sum(labels.numpy().size for _, labels in batches)
    assert seen == examples, (seen, examples)
    return time.perf_counter() - began
