"""One job on two hosts beside one host, each host pinned to a core of its own: images a second, and identical weights.

Hosts are processes with the toolkit's command, real FIFOs and the connections of real hosts, on this machine's first
two cores. On two hosts the train channel is ShardedByS3Key: every other object for each. The batch size is a host's.
"""

import argparse
import csv
import functools
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.data import read_dataset_info
from benchmarks.measure import ROOT, TRAIN, make_parser, print_figures, run_rounds, training_environment, write_job

LIMIT_S = 1200
EPOCHS = 3  # the first includes the graph's compilation and does not count


def main() -> None:
    """Print the table."""
    arguments = build_parser().parse_args()
    read_dataset_info(arguments.data)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit(f"two cores are needed. Received: {len(cores)}")
    objects = sorted((arguments.data / "train").glob("*.tfrecord"))[: arguments.objects]
    if not objects or len(objects) % 2:
        sys.exit(f"an even number of shards is needed, half for each host. Received: {len(objects)}")
    candidates = {
        f"{count} host{'s' * (count > 1)}": lambda count=count: job(arguments, objects, cores[:count])
        for count in (1, 2)
    }
    speeds = run_rounds(candidates, arguments.rounds)
    title = f"Hosts of a core each, model {arguments.model}, batch {arguments.batch_size} a host, weights of both equal"
    print_figures(title, ["", "images/s", "of one host"], speeds, "1 host")


def job(arguments: argparse.Namespace, objects: list[Path], cores: list[int]) -> float:
    """Images a second of the job's epochs but the first, on as many hosts as there are cores."""
    hosts = [f"algo-{number}" for number in range(1, len(cores) + 1)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        running = [
            stack.enter_context(host(arguments, Path(folder), hosts, index, core, objects[index :: len(cores)]))
            for index, core in enumerate(cores)
        ]
        logs = [Path(folder) / f"{name}.log" for name in hosts]
        for process, log in zip(running, logs, strict=True):
            if process.wait(LIMIT_S):
                sys.exit(log.read_text())
        check_weights([log.read_text() for log in logs])
        history = (Path(folder) / "algo-1/output/data/history.csv").read_text()
    speeds = [float(row["images_per_second"]) for row in csv.DictReader(history.splitlines())][1:]
    return sum(speeds) / len(speeds)


@contextmanager
def host(
    arguments: argparse.Namespace, folder: Path, hosts: list[str], index: int, core: int, objects: list[Path]
) -> Iterator[subprocess.Popen[bytes]]:
    """A started host, ended at last."""
    root = folder / hosts[index]
    inputs = {
        "train": {"TrainingInputMode": "Pipe", "S3DistributionType": "ShardedByS3Key"},
        "validation": {"TrainingInputMode": "Pipe", "S3DistributionType": "FullyReplicated"},
    }
    settings = {"model": arguments.model, "epochs": str(EPOCHS), "batch-size": str(arguments.batch_size)}
    write_job(root, inputs, settings, hosts[index], hosts)
    with ExitStack() as stack:
        validation = [arguments.data / "validation"]
        for channel, paths in (("train", objects), ("validation", validation)):
            files = [path for one in paths for path in (sorted(one.iterdir()) if one.is_dir() else [one])]
            command = [sys.executable, "-m", "benchmarks.writer", str(root / "input/data"), channel, "1"]
            writer = subprocess.Popen([*command, *map(str, files)], cwd=ROOT)
            stack.callback(writer.wait)
            stack.callback(writer.terminate)
        environment = training_environment(root) | {"TRAIN_HOST_ADDRESSES": _addresses(hosts)}
        command = ["taskset", "--cpu-list", str(core), str(TRAIN)]
        log = stack.enter_context((folder / f"{hosts[index]}.log").open("wb"))
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield process


def check_weights(logs: list[str]) -> None:
    """Each host says after each epoch what its weights are: all the same, or there is no figure."""
    said = [[line.split()[-1] for line in log.splitlines() if "weights of all hosts: sha256 " in line] for log in logs]
    expected = EPOCHS if len(logs) > 1 else 0
    if any(len(one) != expected or one != said[0] for one in said):
        sys.exit(f"the hosts' weights differ. Received: {said}")


@functools.cache
def _first_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _addresses(hosts: list[str]) -> str:
    return ",".join(f"{name}=127.0.0.1:{_first_port() + 2 * number}" for number, name in enumerate(hosts))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = make_parser(__doc__, 3, data=True)
    parser.add_argument("--model", default="fast", choices=("fast", "tutorial", "lab"))
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--objects", type=int, default=4, help="shards of the train channel (default: 4)")
    return parser


if __name__ == "__main__":
    main()
