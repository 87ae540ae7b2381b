"""Pictures of two kinds, and their shards, for tests that train for real."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.served import ROOT

SIDE = 20  # pixels; the tutorial model takes 18 at least


def draw_pictures(folder: Path, train: int, validation: int) -> Path:
    """`folder` with so many pictures of each kind: train/<class>/*.png, validation/<class>/*.png."""
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("validation", validation)):
        for label, name in enumerate(("dark", "light")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 60, (SIDE, SIDE, 3)) + 180 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number}.png")
    return folder


def prepare_shards(folder: Path, train: int, validation: int) -> Path:
    """Two train shards of such pictures, and what else `python -m dataset prepare` makes."""
    source, out = draw_pictures(folder / "pictures", train, validation), folder / "data"
    command = [sys.executable, "-m", "dataset", "prepare", "--source", str(source), "--out", str(out), "--shards", "2"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    return out
