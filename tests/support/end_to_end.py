"""The commands of a person: shards of small pictures prepared, a job over them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
IMAGE = os.environ.get("IMAGE", "cv-keras-cifar10:local")


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=250, **options
    )


def prepare_zoo(folder: Path) -> Path:
    """Shards of 20×20 pictures of three kinds in `folder`/data, by the project's own command, from `folder`/zoo."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 200), ("validation", 40)):
        for label, name in enumerate(("dark", "light", "striped")):
            (folder / "zoo" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 60, (20, 20, 3))
                pixels += 180 if label == 1 else 0
                pixels[::2] += 150 if label == 2 else 0
                Image.fromarray(pixels.astype(np.uint8)).save(folder / "zoo" / split / name / f"{number}.png")
    out = folder / "data"
    prepared = run("dataset", "prepare", "--source", str(folder / "zoo"), "--out", str(out), "--shards", "4")
    assert prepared.returncode == 0, prepared.stderr
    return out


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
