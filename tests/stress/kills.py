"""`python -m tests.stress.kills [N]`: N random SIGKILLs in a row on a job in Pipe mode.

Its weights are then compared with a quiet run's.

A run after each kill goes on from the last checkpoint. Exits with 0 if the final weights are the same to the bit.
"""

import argparse
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.opt_ml import job_folder
from tests.support.shards import channel_bytes, examples, serialized, write_shard
from tests.support.streams import Feeder
from tests.support.train_jobs import TrainJob, read_weights

HYPERPARAMETERS = {"shuffle-buffer": "200", "augment": "true", "checkpoint-every": "3"}
SECONDS = (0.0, 3.0)  # a kill comes so long after the program's first line


def main() -> int:
    """0 if the weights are equal."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.kills", description=__doc__)
    parser.add_argument("kills", nargs="?", type=int, default=50)
    parser.add_argument("--seed", type=int, help="of the moments (default: another each time)")
    parser.add_argument("--epochs", type=int, default=500)
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        return _compare(Path(folder), arguments.kills, arguments.epochs, random.Random(seed))


def _compare(folder: Path, kills: int, epochs: int, moments: random.Random) -> int:
    data = _shards(folder / "data")
    hyperparameters = HYPERPARAMETERS | {"epochs": str(epochs)}
    quiet = _run(folder / "quiet", hyperparameters, data, None, None)
    state, resumed = None, 0
    for number in range(1, kills + 1):
        root = folder / f"run-{number}"
        job = _run(root, hyperparameters, data, state, moments.uniform(*SECONDS))
        if job.process.returncode != -signal.SIGKILL:
            sys.exit(f"run {number} ended before its kill: give more --epochs")
        resumed += any("Resumed from " in line for line in job.lines)
        newest = sorted(path.name for path in (root / "checkpoints").glob("checkpoint-*.npz"))[-1:]
        print(f"kill {number}: checkpoint {''.join(newest) or 'none'}", flush=True)
        state = _kept(root, folder / "state")
    last = _run(folder / "last", hyperparameters, data, state, None)
    ours, theirs = read_weights(last.root), read_weights(quiet.root)
    different = [name for name in theirs if ours[name].tobytes() != theirs[name].tobytes()]
    print(
        f"{kills} kills, {resumed} runs resumed; {len(theirs)} variables, different: {', '.join(different) or 'none'}"
    )
    return 1 if different or ours.keys() != theirs.keys() else 0


def _shards(folder: Path) -> dict[str, bytes]:
    for name, count, seed in (("train", 300, 1), ("validation", 60, 2)):
        images, labels = examples(count, seed)
        write_shard(
            folder / name / "0", [serialized(image, label) for image, label in zip(images, labels, strict=True)]
        )
    return {name: channel_bytes(folder, name) for name in ("train", "validation")}


def _run(root: Path, hyperparameters: dict, data: dict[str, bytes], state: Path | None, kill: float | None) -> TrainJob:
    """A run that has ended, or was killed `kill` seconds after it began to print."""
    job_folder(root, "Pipe", hyperparameters)
    if state is not None and state.exists():
        shutil.copytree(state, root / "checkpoints")
    feeders = [Feeder(root / "input/data", name, lambda _turn, name=name: data[name]) for name in data]
    job = TrainJob(root)
    try:
        if kill is None:
            if job.wait(900):
                sys.exit("\n".join(job.lines))
        else:
            job.until(" host=algo-1")
            with contextlib.suppress(subprocess.TimeoutExpired):
                job.process.wait(kill)
    finally:
        job.process.kill()
        job.wait()
        for feeder in feeders:
            feeder.close()
    return job


def _kept(root: Path, state: Path) -> Path:
    """What the service would have: the folder as the kill left it, half-written files and all."""
    if (root / "checkpoints").exists():
        shutil.rmtree(state, ignore_errors=True)
        (root / "checkpoints").rename(state)
    shutil.rmtree(root)
    return state


if __name__ == "__main__":
    sys.exit(main())
