"""Draws pictures to try the example with: `python launch/examples/draw_shapes.py FOLDER`.

It makes FOLDER/train/<class>/*.png and FOLDER/validation/<class>/*.png, 64×64 circles, squares and triangles of random
places, sizes and colours.

A folder of one's own pictures looks the same.
"""

import argparse
import math
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

SIDE = 64
CORNERS = {"circle": 0, "square": 4, "triangle": 3}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=1000, help="pictures of each class (default: 1000)")
    parser.add_argument("--validation", type=int, default=200, help="pictures of each class (default: 200)")
    given = parser.parse_args(arguments)
    for split, count in (("train", given.train), ("validation", given.validation)):
        for name, corners in CORNERS.items():
            folder = given.folder / split / name
            folder.mkdir(parents=True, exist_ok=True)
            drawing = random.Random(f"{split} {name}")  # noqa: S311 - the same pictures every time
            for number in range(count):
                picture(drawing, corners).save(folder / f"{number:05d}.png")


def picture(drawing: random.Random, corners: int) -> Image.Image:
    """A figure of so many corners (0: round) on a darker ground."""
    ground = tuple(drawing.randrange(100) for _ in range(3))
    colour = tuple(drawing.randrange(150, 256) for _ in range(3))
    made = Image.new("RGB", (SIDE, SIDE), ground)
    radius = drawing.uniform(0.16, 0.38) * SIDE
    x, y = (drawing.uniform(radius, SIDE - radius) for _ in range(2))
    pen = ImageDraw.Draw(made)
    if corners:
        pen.regular_polygon((x, y, radius), corners, rotation=math.floor(drawing.uniform(0, 360)), fill=colour)
    else:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return made


if __name__ == "__main__":
    main()
