"""Ten classes of drawn colour shapes: a stand-in that trains like photographs where there are none.

A shape's class is its outline alone. Place, size, angle, both colours, the background's shading, noise and two strewn
specks vary freely, so that no pixel by itself says anything: a linear model stays near guessing, a small CNN learns it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset.sources.decode import encode

Floats = NDArray[np.floating]
Outline = Callable[[Floats, Floats], Floats]

TRAIN, VALIDATION = 20_000, 4_000
SIZE = 32  # pixels a side
_SPLITS = {"train": 0, "validation": 1}
_BATCH = 500  # pictures drawn at once; 500 × 32 × 32 floats stay in a core's cache better than more
_CONTRAST = 0.60  # least distance between shape and background in one channel, of 1
_NOISE = 0.01, 0.04  # standard deviation, of 1
_RADIUS = 0.34, 0.44  # of a side
_ANGLE = -np.pi / 9, np.pi / 9  # 20° to either side
_CHANCES = 24  # random numbers a picture has at most


class Synthetic:
    """A Source: `counts` pictures a split, classes in turn. Picture i of a split is always the same."""

    def __init__(
        self,
        seed: int,
        image_size: int | None = None,
        counts: tuple[int, int] = (TRAIN, VALIDATION),
        note: str | None = None,
        encoding: str = "raw",
    ) -> None:
        self._seed = seed
        self._size = image_size or SIZE
        self._note = note
        self._encoding = encoding
        self.image_shape = (self._size, self._size, 3)
        self.classes = tuple(OUTLINES)
        self.labels = {
            split: np.arange(count, dtype=np.int64) % len(OUTLINES)
            for split, count in zip(_SPLITS, counts, strict=True)
        }

    def images(self, split: str, order: NDArray[np.int64]) -> Iterator[bytes]:
        for start in range(0, len(order), _BATCH):
            for picture in self.draw(split, order[start : start + _BATCH]):
                yield encode(picture.tobytes(), (self._size, self._size), self._encoding)

    def draw(self, split: str, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 [len(indices), size, size, 3]."""
        chances = np.empty((len(indices), _CHANCES), np.float32)
        noise = np.empty((len(indices), self._size, self._size, 3), np.float32)
        for row, index in enumerate(indices):
            # a generator each, so that a picture does not depend on how pictures are dealt to shards
            random = np.random.default_rng((self._seed, _SPLITS[split], int(index)))
            chances[row] = random.random(_CHANCES, np.float32)
            random.standard_normal(out=noise[row], dtype=np.float32)
        return _paint(self.labels[split][indices], chances, noise)

    def drop_damaged(self) -> list[str]:
        return []

    def description(self) -> dict[str, Any]:
        return {"kind": "synthetic", "name": "synthetic", "note": self._note}


def _paint(labels: NDArray[np.int64], chances: Floats, noise: Floats) -> NDArray[np.uint8]:
    """Pictures [n, size, size, 3] from class numbers [n], chances in [0, 1) [n, _CHANCES] and normal noise."""
    size = noise.shape[1]
    chance = iter(chances.T[:, :, None, None])  # each [n, 1, 1]
    y, x = (np.mgrid[0:size, 0:size].astype(np.float32) + 0.5) / size - 0.5  # [size, size], the middle is 0
    shape, background = _colours(chances[:, -6:])
    shade = 0.5 * ((next(chance) - 0.5) * x + (next(chance) - 0.5) * y)  # [n, size, size]
    picture = background[:, None, None, :] + shade[..., None]
    for _ in range(2):
        speck = np.hypot(x - next(chance) + 0.5, y - next(chance) + 0.5) - (0.02 + 0.05 * next(chance))
        picture = _cover(picture, shape, _coverage(speck, size))
    picture = _cover(picture, shape, _coverage(_shapes(labels, x, y, chance), size))
    picture += noise * _between(_NOISE, next(chance))[..., None]
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _shapes(labels: NDArray[np.int64], x: Floats, y: Floats, chance: Iterator[Floats]) -> Floats:
    """How far outside of its shape each pixel is [n, size, size], in sides; negative inside."""
    radius, angle = _between(_RADIUS, next(chance)), _between(_ANGLE, next(chance))
    room = 0.5 - 0.9 * radius  # how far the middle may be from the picture's
    x, y = x - room * (2 * next(chance) - 1), y - room * (2 * next(chance) - 1)
    across = (np.cos(angle) * x + np.sin(angle) * y) / radius
    along = (np.cos(angle) * y - np.sin(angle) * x) / radius
    distance = np.empty_like(across)
    for label, outline in enumerate(OUTLINES.values()):
        rows = labels == label
        distance[rows] = outline(across[rows], along[rows])
    return distance * radius


def _colours(chances: Floats) -> tuple[Floats, Floats]:
    """Shape's and background's colour [n, 3], at least _CONTRAST apart in the channel where they differ most."""
    shape, background = chances[:, :3], chances[:, 3:].copy()
    rows = np.arange(len(chances))
    channel = np.abs(shape - background).argmax(1)
    one, other = shape[rows, channel], background[rows, channel]
    apart = np.where(one > 0.5, one - _CONTRAST, one + _CONTRAST)
    background[rows, channel] = np.where(np.abs(one - other) < _CONTRAST, apart, other)
    return shape, background


def _cover(picture: Floats, colour: Floats, coverage: Floats) -> Floats:
    return picture + coverage[..., None] * (colour[:, None, None, :] - picture)


def _coverage(distance: Floats, size: int) -> Floats:
    """How much of a pixel is inside, 0 to 1: edges are smooth."""
    return (0.5 - distance * size).clip(0, 1)


def _between(limits: tuple[float, float], chance: Floats) -> Floats:
    return limits[0] + (limits[1] - limits[0]) * chance


def _box(x: Floats, y: Floats, width: float, height: float) -> Floats:
    return np.maximum(np.abs(x) - width, np.abs(y) - height)


def _star(x: Floats, y: Floats) -> Floats:
    """Five points at 1, five hollows at 0.42: one edge, folded ten times."""
    part = np.pi / 5
    angle = np.abs((np.arctan2(y, x) + part) % (2 * part) - part)
    radius = np.hypot(x, y)
    tip, hollow = np.array((1, 0)), 0.42 * np.array((np.cos(part), np.sin(part)))
    normal = np.array((hollow[1] - tip[1], tip[0] - hollow[0])) / np.hypot(*(tip - hollow))
    return (radius * (np.cos(angle) * normal[0] + np.sin(angle) * normal[1]) - normal @ tip).astype(np.float32)


def _triangle(x: Floats, y: Floats) -> Floats:
    sides = [np.cos(a) * x + np.sin(a) * y for a in (np.pi / 2, np.pi * 7 / 6, np.pi * 11 / 6)]
    return np.maximum.reduce(sides) - np.float32(0.5)


# each fills about the circle of radius 1; distances need to be right only near the edge
OUTLINES: dict[str, Outline] = {
    "bar": lambda x, y: _box(x, y, 1.0, 0.24),
    "corner": lambda x, y: np.minimum(_box(x + 0.55, y, 0.25, 0.8), _box(x, y + 0.55, 0.8, 0.25)),
    "crescent": lambda x, y: np.maximum(np.hypot(x, y) - 0.95, 0.8 - np.hypot(x - 0.5, y)),
    "cross": lambda x, y: np.minimum(_box(x, y, 0.95, 0.25), _box(x, y, 0.25, 0.95)),
    "disc": lambda x, y: np.hypot(x, y) - 0.8,
    "pair": lambda x, y: np.minimum(np.hypot(x - 0.6, y), np.hypot(x + 0.6, y)) - 0.38,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.72) - 0.2,
    "square": lambda x, y: _box(x, y, 0.72, 0.72),
    "star": _star,
    "triangle": _triangle,
}
