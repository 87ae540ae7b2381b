"""Pictures of two or three kinds, and their shards, for tests that train for real."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.served import ROOT

SIDE = 20  # pixels; the tutorial model takes 18 at least


KINDS = ("dark", "light", "striped")


def draw_pictures(folder: Path, train: int, validation: int, kinds: int = 2) -> Path:
    """`folder` with so many pictures of each kind: train/<class>/*.png, validation/<class>/*.png."""
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("validation", validation)):
        for name in KINDS[:kinds]:
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 60, (SIDE, SIDE, 3)) + 180 * (name == "light")
                pixels[::2] += 150 * (name == "striped")
                Image.fromarray(pixels.astype(np.uint8)).save(folder / split / name / f"{number}.png")
    return folder


def prepare_shards(folder: Path, train: int, validation: int, shards: int = 2, kinds: int = 2) -> Path:
    """So many train shards of such pictures, and what else `python -m dataset prepare` makes: `folder`/data, from
    `folder`/pictures."""
    source, out = draw_pictures(folder / "pictures", train, validation, kinds), folder / "data"
    words = ["--source", str(source), "--out", str(out), "--shards", str(shards)]
    command = [sys.executable, "-m", "dataset", "prepare", *words]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=200)
    return out
