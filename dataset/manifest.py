"""dataset.json: what a prepared data set holds. Written last, read by training, upload and the next `prepare`."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset.errors import DatasetError, describe_error

FILE = "dataset.json"
SPLITS = ("train", "validation")
ENCODINGS = ("raw", "jpeg", "png")  # of the records' pictures
SHARD_NAME = re.compile(r"(train|validation)-\d{5}-of-\d{5}\.tfrecord")


@dataclass(frozen=True)
class Shard:
    """One file of records. `bytes` and `sha256` are the file's."""

    name: str
    examples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The content of dataset.json. image_shape: height, width, channels; classes in label order; encoding: one of
    ENCODINGS, of which `jpeg` has PNG files where those are smaller."""

    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    seed: int
    source: Mapping[str, Any]
    splits: Mapping[str, tuple[Shard, ...]]
    encoding: str = ENCODINGS[0]

    def examples(self, split: str) -> int:
        return sum(shard.examples for shard in self.splits[split])

    def files(self) -> list[tuple[str, Shard]]:
        """Every shard with its path below the data set's folder, `train/train-00000-of-00016.tfrecord`."""
        return [(f"{split}/{shard.name}", shard) for split in SPLITS for shard in self.splits[split]]


def shard_name(split: str, number: int, count: int) -> str:
    return f"{split}-{number:05d}-of-{count:05d}.tfrecord"


def to_json(manifest: Manifest) -> str:
    splits = {
        split: {"examples": manifest.examples(split), "shards": [vars(shard) for shard in shards]}
        for split, shards in manifest.splits.items()
    }
    document = {
        "format": "tfrecord",
        # raw pixels go without saying, as they did before there were others
        **({"encoding": manifest.encoding} if manifest.encoding != ENCODINGS[0] else {}),
        "image_shape": list(manifest.image_shape),
        "classes": list(manifest.classes),
        "seed": manifest.seed,
        "source": dict(manifest.source),
        "splits": splits,
    }
    return json.dumps(document, indent=2) + "\n"


def from_json(text: str) -> Manifest:
    """Raises ValueError for anything that `to_json` does not write."""
    try:
        document = json.loads(text)
        if document["format"] != "tfrecord":
            raise ValueError(f"format is not tfrecord. Received: {document['format']!r}")
        if (encoding := document.get("encoding", ENCODINGS[0])) not in ENCODINGS:
            raise ValueError(f"encoding is none of {', '.join(ENCODINGS)}. Received: {encoding!r}")
        height, width, channels = document["image_shape"]
        return Manifest(
            (int(height), int(width), int(channels)),
            tuple(str(name) for name in document["classes"]),
            int(document["seed"]),
            {"kind": document["source"]["kind"], "name": "", "note": None, **document["source"]},
            {split: _shards(split, document["splits"][split]) for split in SPLITS},
            encoding,
        )
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _shards(split: str, document: dict[str, Any]) -> tuple[Shard, ...]:
    shards = tuple(
        Shard(str(s["name"]), int(s["examples"]), int(s["bytes"]), str(s["sha256"])) for s in document["shards"]
    )
    for shard in shards:
        # the name becomes a path: nothing but the form that we write may come in
        if not SHARD_NAME.fullmatch(shard.name) or not shard.name.startswith(split):
            raise ValueError(f"not the name of a {split} shard. Received: {shard.name!r}")
    return shards


def write(manifest: Manifest, folder: Path) -> None:
    with (folder / FILE).open("x", encoding="utf-8") as file:
        file.write(to_json(manifest))
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> Manifest:
    """The manifest of a prepared folder. Raises DatasetError if there is none, or not one of ours."""
    try:
        if (folder / FILE).exists() and not (folder / FILE).is_file():  # a FIFO would be waited for
            raise DatasetError(f"{folder / FILE} is not a file")
        return from_json((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(f"no data prepared in {folder}: run `python -m dataset prepare --out {folder}`") from None
    except OSError as error:
        raise DatasetError(f"{folder / FILE} cannot be read: {describe_error(error)}") from None
    except ValueError as error:
        raise DatasetError(f"{folder / FILE} is not a data set's description: {error}") from None


def find_damage(manifest: Manifest, folder: Path) -> str | None:
    """What keeps the folder from being what its manifest says, by names and sizes; None if nothing does."""
    for name, shard in manifest.files():
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            return f"{folder / name}: {describe_error(error)}"
        if size != shard.bytes:
            return f"{folder / name} has {size:,} bytes, {FILE} says {shard.bytes:,}"
    return None
