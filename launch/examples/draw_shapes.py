"""Draws pictures to try the example with: `python launch/examples/draw_shapes.py FOLDER`.

It makes FOLDER/train/<class>/*.png and FOLDER/validation/<class>/*.png, 64×64 circles, squares and triangles of random
positions, sizes and colours. A folder of your own pictures has the same layout.
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
    options = parser.parse_args(arguments)
    for split, count in (("train", options.train), ("validation", options.validation)):
        for name, corners in CORNERS.items():
            folder = options.folder / split / name
            folder.mkdir(parents=True, exist_ok=True)
            generator = random.Random(f"{split} {name}")  # noqa: S311 - the same pictures every time
            for number in range(count):
                draw(generator, corners).save(folder / f"{number:05d}.png")


def draw(generator: random.Random, corners: int) -> Image.Image:
    """A polygon of so many corners (0: a circle) on a darker background."""
    ground = tuple(generator.randrange(100) for _ in range(3))
    colour = tuple(generator.randrange(150, 256) for _ in range(3))
    picture = Image.new("RGB", (SIDE, SIDE), ground)
    radius = generator.uniform(0.16, 0.38) * SIDE
    x, y = (generator.uniform(radius, SIDE - radius) for _ in range(2))
    pen = ImageDraw.Draw(picture)
    if corners:
        pen.regular_polygon((x, y, radius), corners, rotation=math.floor(generator.uniform(0, 360)), fill=colour)
    else:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return picture


if __name__ == "__main__":
    main()
