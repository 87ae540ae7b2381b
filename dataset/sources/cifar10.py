"""The official CIFAR-10 archive: six pickles of a batch each, and their names."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset.errors import DatasetError
from dataset.sources import inert_pickle
from dataset.sources.archives import Member, Store
from dataset.sources.decode import encode, pixels
from dataset.sources.download import Remote

ARCHIVE = Remote(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    name="cifar-10-python.tar.gz",
    md5="c58f30108f718f92721af3b95e74349a",  # from the same page
)
SIDE = 32
_BATCHES = {"train": [f"data_batch_{n}" for n in range(1, 6)], "validation": ["test_batch"]}
_NAMES = "batches.meta"
_ROW = 3 * SIDE * SIDE


class Cifar10:
    """A Source. Holds the pictures as they come, 180 MB."""

    def __init__(self, store: Store, members: list[Member], image_size: int | None, encoding: str = "raw") -> None:
        side = image_size or SIDE
        batches = _batches(members)
        self._name = store.path.name
        self._encoding = encoding
        self.image_shape = (side, side, 3)
        self.classes = _class_names(store, batches[_NAMES])
        self.labels: dict[str, NDArray[np.int64]] = {}
        self._rows: dict[str, NDArray[np.uint8]] = {}
        for split, names in _BATCHES.items():
            parts = [_batch(store, batches[name], len(self.classes)) for name in names]
            self._rows[split] = np.concatenate([rows for rows, _ in parts])
            self.labels[split] = np.concatenate([labels for _, labels in parts])

    def images(self, split: str, order: NDArray[np.int64]) -> Iterator[bytes]:
        size = self.image_shape[:2]
        for index in order:
            # a row is the red plane, the green, the blue
            picture = self._rows[split][index].reshape(3, SIDE, SIDE).transpose(1, 2, 0)
            raw = (
                picture.tobytes()
                if size == (SIDE, SIDE)
                else pixels(Image.fromarray(np.ascontiguousarray(picture)), size)
            )
            yield encode(raw, size, self._encoding)

    def drop_damaged(self) -> list[str]:
        return []

    def description(self) -> dict[str, Any]:
        side = self.image_shape[0]
        note = None if side == SIDE else f"scaled from {SIDE}×{SIDE} to {side}×{side} pixels"
        return {"kind": "cifar10", "name": self._name, "note": note}


def is_cifar10(members: list[Member]) -> bool:
    return any(PurePosixPath(member.path).name == "data_batch_1" for member in members)


def cache_folder(environment: dict[str, str] | os._Environ[str] = os.environ) -> Path:
    """$XDG_CACHE_HOME, or ~/.cache (XDG Base Directory Specification: a relative one does not count)."""
    base = Path(environment.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        base = Path(environment.get("HOME") or tempfile.gettempdir()) / ".cache"
    return base / "cv-keras-cifar10"


def _batches(members: list[Member]) -> dict[str, Member]:
    found = {PurePosixPath(member.path).name: member for member in members}
    for name in (_NAMES, *(name for names in _BATCHES.values() for name in names)):
        if name not in found:
            raise DatasetError(f"not all of CIFAR-10: {name} is missing. Expected the official python archive")
    return found


def _class_names(store: Store, member: Member) -> tuple[str, ...]:
    names = _unpickle(store, member).get(b"label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise _not_a_batch(store, member, "label_names")
    return tuple(name.decode("ascii", "replace") for name in names)


def _batch(store: Store, member: Member, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures [n, 3072] and labels [n] of one pickle."""
    content = _unpickle(store, member)
    rows, labels = inert_pickle.to_pixels(content.get(b"data"), _ROW), content.get(b"labels")
    if rows is None:
        raise _not_a_batch(store, member, f"data of uint8 × {_ROW}")
    if (
        not isinstance(labels, list)
        or len(labels) != len(rows)
        or not all(isinstance(label, int) and 0 <= label < classes for label in labels)
    ):
        raise _not_a_batch(store, member, f"{len(rows)} labels from 0 to {classes - 1}")
    return rows, np.array(labels, np.int64)


def _not_a_batch(store: Store, member: Member, expected: str) -> DatasetError:
    return DatasetError(f"{store.path}: {member.path} is not a batch of CIFAR-10. Expected {expected}")


def _unpickle(store: Store, member: Member) -> dict[bytes, Any]:
    try:
        content = inert_pickle.load(store.read(member))
    except DatasetError:
        raise
    except Exception as error:  # damage in the middle makes nearly any opcode of nearly any other
        raise DatasetError(f"{store.path}: {member.path} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise _not_a_batch(store, member, "a dictionary")
    return content
