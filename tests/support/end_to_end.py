"""The commands of a person: a job over shards of small pictures."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IMAGE = os.environ.get("IMAGE", "cv-keras-cifar10:local")


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=250, **options
    )


def channels(data: Path) -> list[str]:
    words = ["dataset=" + str(data / "dataset.json")]
    words += [f"{name}={data / name}" for name in ("train", "validation")]
    return [word for channel in words for word in ("--channel", channel)]


def hyperparameters(**values: str) -> list[str]:
    return [word for name, value in values.items() for word in ("--hyperparameter", f"{name}={value}")]


def job(data: Path, out: Path, runner: str, *more: str, **own: str) -> list[str]:
    """The words of `train`; `own`: hyperparameters."""
    values = {"model": "tutorial", "epochs": "2", "batch-size": "32", **own}
    return [
        "local_test", "train", "--runner", runner, "--image", IMAGE, "--out", str(out), "--name", "end-to-end",
        *channels(data), *hyperparameters(**values), *more,
    ]  # fmt: skip
