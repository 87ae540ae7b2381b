"""Which file is which example: paths → splits, classes, labels. Pure: it sees names only."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset.errors import DatasetError
from dataset.sources.decode import is_picture

_VALIDATION = ("validation", "val", "test")  # the first that is there is taken
_EXPECTED = "Expected train/<class>/<pictures> and validation/<class>/<pictures> (or val/, or test/)"
_SHOWN = 5

Path = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """files[split][i] is the number of the path that is example i of the split, labels[split][i] its class's number."""

    classes: tuple[str, ...]
    files: dict[str, NDArray[np.int64]]
    labels: dict[str, NDArray[np.int64]]
    ignored: tuple[str, ...]


def arrange(paths: Sequence[str], name: str) -> Layout:
    """Reads `[top/]train/<class>/**/picture` and the same for validation, val or test. `name` is for messages.

    A class is the first folder below the split; pictures may lie deeper. Labels follow the classes' alphabetical order.
    Raises DatasetError if a split is missing, there are fewer than two classes, or a class is in one split only.
    """
    pictures = {i: tuple(path.split("/")) for i, path in enumerate(paths) if _is_picture_path(path)}
    top = _top(pictures.values(), name)
    found = {
        i: parts[len(top) :] for i, parts in pictures.items() if parts[: len(top)] == top and len(parts) > len(top) + 2
    }
    by_split = {
        split: {i: parts[1] for i, parts in found.items() if parts[0].lower() == folder}
        for split, folder in _splits({parts[0].lower() for parts in found.values()}, name).items()
    }
    classes = _classes({split: set(files.values()) for split, files in by_split.items()}, name)
    number = {label: n for n, label in enumerate(classes)}
    used = set().union(*by_split.values())
    return Layout(
        classes,
        {split: np.array(list(files), np.int64) for split, files in by_split.items()},
        {split: np.array([number[label] for label in files.values()], np.int64) for split, files in by_split.items()},
        tuple(path for i, path in enumerate(paths) if i not in used),
    )


def _is_picture_path(path: str) -> bool:
    """Not hidden (.DS_Store, ._cat.jpg, .git/…), not macOS' second copy, no way out of the archive, and a picture."""
    parts = path.split("/")
    return is_picture(path) and not any(not part or part.startswith(".") or part == "__MACOSX" for part in parts)


def _top(pictures: Collection[Path], name: str) -> Path:
    """The folder that everything lies below, (): none. Archives often hold one folder that holds the rest, or names
    from the root on."""
    common = _common(pictures)
    with_train = {parts[:n] for parts in pictures for n in range(len(common) + 2) if _is_train(parts[n:])}
    nearest = min(map(len, with_train), default=0)
    with_train = {top for top in with_train if len(top) == nearest}
    if len(with_train) > 1:
        tops = sorted("/".join(top) for top in with_train)
        raise DatasetError(f"{name} holds several data sets. Received: {_some(tops)}. Expected one: name its folder")
    if not with_train:
        folders = sorted({parts[0] for parts in pictures if len(parts) > 1})
        raise DatasetError(f"{name} has no train split. Received: {_some(folders) or 'no pictures'}. {_EXPECTED}")
    return with_train.pop()


def _common(pictures: Collection[Path]) -> Path:
    """The folders that all pictures lie below."""
    folders = [parts[:-1] for parts in pictures]
    first, last = min(folders, default=()), max(folders, default=())  # what these two share, all between them do
    same = [one == other for one, other in zip(first, last, strict=False)]
    return first[: [*same, False].index(False)]


def _is_train(parts: Path) -> bool:
    return len(parts) > 2 and parts[0].lower() == "train"


def _splits(folders: set[str], name: str) -> dict[str, str]:
    """Our splits and the folders (in lower case) that hold them."""
    for validation in _VALIDATION:
        if validation in folders:
            return {"train": "train", "validation": validation}
    raise DatasetError(f"{name} has no validation split. Received: {_some(sorted(folders))}. {_EXPECTED}")


def _classes(found: dict[str, set[str]], name: str) -> tuple[str, ...]:
    train, validation = found["train"], found["validation"]
    for split, lonely in (("train", train - validation), ("validation", validation - train)):
        if lonely:
            raise DatasetError(
                f"{name} has classes in its {split} split only. Received: {_some(sorted(lonely))}. "
                "Expected the same in both"
            )
    if len(train) < 2:
        raise DatasetError(f"{name} has fewer than two classes. Received: {_some(sorted(train))}. {_EXPECTED}")
    return tuple(sorted(train))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
