"""Which file is which example: paths → splits, classes, labels. Pure: it sees names only."""

import math
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset.errors import DatasetError
from dataset.sources.decode import is_picture

_TRAIN = ("train", "training")
_VALIDATION = ("validation", "valid", "val", "test", "testing")  # the first that is there is taken
_EXPECTED = (
    "Expected train/<class>/<pictures> and validation/<class>/<pictures> (or valid/, val/, or test/); or "
    "<class>/<pictures> and --validation-split 0.1, which takes a tenth of them to validate"
)
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
    pictures = _split_paths(paths, name)
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


def arrange_unsplit(paths: Sequence[str], name: str) -> Layout:
    """Reads `[top/]<class>/**/picture`, or the same below train/ where there is no other split: all are train examples.

    Raises DatasetError if there are splits, or fewer than two classes.
    """
    pictures = _split_paths(paths, name)
    top = _common(pictures.values())
    folders = {parts[len(top)].lower() for parts in pictures.values() if len(parts) > len(top) + 2}
    if (train := folders & set(_TRAIN)) and (others := folders & set(_VALIDATION)):
        raise DatasetError(
            f"{name} has splits already. Received: {', '.join(sorted(train | others))}. "
            "Leave --validation-split out, or name one of the folders"
        )
    found = {i: parts[len(top)] for i, parts in pictures.items() if len(parts) > len(top) + 1}
    classes = _classes({split: set(found.values()) for split in ("train", "validation")}, name)
    labels = np.array([classes.index(label) for label in found.values()], np.int64)
    ignored = tuple(path for i, path in enumerate(paths) if i not in found)
    return Layout(classes, {"train": np.array(list(found), np.int64)}, {"train": labels}, ignored)


def hold_out(layout: Layout, places: NDArray[np.float64], share: float, name: str) -> Layout:
    """The layout with those train examples to validate whose place in [0, 1) is below `share`.

    A picture's side depends on its place alone, so that it never changes when others come or go: of each class about
    `share` are taken, not exactly. Raises DatasetError if a class would be in one split only.
    """
    files, labels = layout.files["train"], layout.labels["train"]
    sides = {"train": places >= share, "validation": places < share}
    for split, side in sides.items():
        if missing := sorted(set(range(len(layout.classes))) - set(labels[side].tolist())):
            raise DatasetError(
                f"{name}: --validation-split {share:g} leaves classes without a {split} picture. Received: "
                f"{_some(layout.classes[label] for label in missing)}. {_advise(layout, places, share)}"
            )
    return Layout(
        layout.classes,
        {split: files[side] for split, side in sides.items()},
        {split: labels[side] for split, side in sides.items()},
        layout.ignored,
    )


def leave_out(layout: Layout, numbers: Collection[int]) -> Layout:
    """The layout without the files of these numbers."""
    whole = {split: ~np.isin(files, list(numbers)) for split, files in layout.files.items()}
    return Layout(
        layout.classes,
        {split: layout.files[split][kept] for split, kept in whole.items()},
        {split: layout.labels[split][kept] for split, kept in whole.items()},
        layout.ignored,
    )


def _advise(layout: Layout, places: NDArray[np.float64], share: float) -> str:
    """What gives every class pictures of both kinds: a share that does, the nearest one, if there is any."""
    of_classes = [places[layout.labels["train"] == label] for label in range(len(layout.classes))]
    least = max(float(own.min()) for own in of_classes)  # above it every class has one to validate
    most = min(float(own.max()) for own in of_classes)  # up to it every class has one to train on
    near = math.ceil(least * 100 + 1e-9) / 100 if share <= least else math.floor(most * 100) / 100
    if least < near <= most:
        return f"--validation-split {near:g} leaves none out; so may another --seed, or more pictures"
    return "Expected more pictures of each class; another --seed may do, too"


def _split_paths(paths: Sequence[str], name: str) -> dict[int, Path]:
    """Number → folders and name of each picture. DatasetError if there is none. NFC: a Mac writes é as e and ´."""
    if not any(map(_is_picture_path, paths)):
        raise DatasetError(f"{name} has no pictures. Received: {_some(sorted(paths)) or 'no files'}. {_EXPECTED}")
    normal = ((i, unicodedata.normalize("NFC", path)) for i, path in enumerate(paths) if _is_picture_path(path))
    return {i: tuple(path.split("/")) for i, path in normal}


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
        received = _some(folders) or "pictures without a folder"
        raise DatasetError(f"{name} has no train split. Received: {received}. {_EXPECTED}")
    return with_train.pop()


def _common(pictures: Collection[Path]) -> Path:
    """The folders that all pictures lie below."""
    folders = [parts[:-1] for parts in pictures]
    first, last = min(folders, default=()), max(folders, default=())  # what these two share, all between them do
    same = [one == other for one, other in zip(first, last, strict=False)]
    return first[: [*same, False].index(False)]


def _is_train(parts: Path) -> bool:
    return len(parts) > 2 and parts[0].lower() in _TRAIN


def _splits(folders: set[str], name: str) -> dict[str, str]:
    """Our splits and the folders (in lower case) that hold them."""
    train = next(name for name in _TRAIN if name in folders)
    for validation in _VALIDATION:
        if validation in folders:
            return {"train": train, "validation": validation}
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
