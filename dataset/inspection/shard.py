"""One shard read from front to back: what is counted, what is wrong, and a few pictures to look at."""

import hashlib
import io
import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset.errors import DatasetError, describe_error
from dataset.inspection.records import Record, Shard
from dataset.inspection.storage import Place, Storage

NAMED = 20  # problems of a shard that are named; all are counted
_MOST_LABELS = 65_536  # distinct ones that are counted, where no dataset.json says how many there may be
_SIDE = 96  # pixels of a picture on the contact sheet
_PIXELATED = 48  # up to this a picture is kept without loss
_FILES = {b"\xff\xd8\xff": ("JPEG", b"\xff\xd9"), b"\x89PNG\r\n\x1a\n": ("PNG", b"IEND\xaeB`\x82")}


@dataclass(frozen=True)
class Thumbnail:
    """A picture's file, small; width and height are those to be shown."""

    label: int
    kind: str  # png or jpeg
    data: bytes
    where: str


@dataclass
class Facts:
    """Of one shard. keys[i] is the content of record numbers[i], labels[i] its label."""

    place: Place
    size: int = 0
    sha256: str = ""
    examples: int = 0  # records, damaged ones as well
    counts: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)  # such as "raw 3,072 bytes" or "JPEG 32×32"
    problem_count: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    thumbnails: list[Thumbnail] = field(default_factory=list)
    keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    numbers: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True)
class Inspector:
    """What a process holds. shape (height, width, channels) and classes are None where nothing says them; `shown`:
    pictures of each class that a shard gives."""

    storage: Storage
    shape: tuple[int, int, int] | None
    classes: int | None
    shown: int

    def __call__(self, place: Place) -> Facts:
        """Raises DatasetError if the shard can't be read at all."""
        facts = Facts(place)
        keys, numbers, labels = [], [], []
        with self.storage.open(place.path) as file:
            shard = Shard(file)
            for record in shard:
                facts.examples += 1
                problem, key = (record.problem, 0) if record.problem else self._look(record, facts)
                if problem:
                    facts.problem_count += 1
                    if len(facts.problems) < NAMED:
                        facts.problems.append((record.number, problem))
                    continue
                keys.append(key)
                numbers.append(record.number)
                labels.append(record.label)
        facts.size, facts.sha256 = shard.size, shard.sha256
        facts.keys, facts.numbers = np.array(keys, np.uint64), np.array(numbers, np.uint32)
        facts.labels = np.array(labels, np.int64)
        return facts

    def _look(self, record: Record, facts: Facts) -> tuple[str, int]:
        """What is wrong with it, or nothing and its content's key. Counts it."""
        label = record.label
        if self.classes is not None and not 0 <= label < self.classes:
            return f"label {label}. Expected: 0 to {self.classes - 1}", 0
        try:
            kind, pixels = self._decode(record.image)
        except DatasetError as error:
            return str(error), 0
        facts.kinds[kind] += 1
        if label in facts.counts or len(facts.counts) < _MOST_LABELS:
            facts.counts[label] += 1
            if facts.counts[label] <= self.shown and (thumbnail := self._shrink(record, pixels, facts.place)):
                facts.thumbnails.append(thumbnail)
        data = pixels if isinstance(pixels, bytes) else pixels.tobytes()
        return "", int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")

    def _decode(self, data: bytes) -> tuple[str, bytes | Image.Image]:
        """What it is, and its pixels: raw, or an image. Files are decoded: damage shows nowhere else."""
        magic = next((magic for magic in _FILES if data.startswith(magic)), None)
        size = self.shape and self.shape[0] * self.shape[1] * self.shape[2]
        if not magic or (len(data) == size and _FILES[magic][1] not in data[-16:]):
            if self.shape and len(data) != size:
                expected = f"{'×'.join(map(str, self.shape))} = {size:,}, or a JPEG or PNG file"
                raise DatasetError(f"its picture has {len(data):,} bytes. Expected: {expected}")
            return f"raw {'×'.join(map(str, self.shape)) if self.shape else f'{len(data):,} bytes'}", data
        name = _FILES[magic][0]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data), formats=[name]) as image:
                    if self.shape and (image.height, image.width) != self.shape[:2]:
                        expected = f"{self.shape[0]}×{self.shape[1]}"
                        raise DatasetError(f"its {name} is {image.height}×{image.width}. Expected: {expected}")
                    return f"{name} {image.height}×{image.width}", image.convert("RGB")
        except DatasetError:
            raise
        except Exception as error:  # damaged files make Pillow raise nearly anything
            raise DatasetError(f"its {name} cannot be decoded: {describe_error(error)}") from None

    def _shrink(self, record: Record, pixels: bytes | Image.Image, place: Place) -> Thumbnail | None:
        if isinstance(pixels, bytes):
            if not self.shape or self.shape[2] not in (1, 3):
                return None  # nothing says what they are
            height, width, channels = self.shape
            pixels = Image.frombytes("L" if channels == 1 else "RGB", (width, height), pixels)
        small, file = pixels.copy(), io.BytesIO()
        small.thumbnail((_SIDE, _SIDE))
        kind = "png" if max(small.size) <= _PIXELATED else "jpeg"
        small.save(file, kind.upper())
        return Thumbnail(record.label, kind, file.getvalue(), f"{place.path}, record {record.number}")
