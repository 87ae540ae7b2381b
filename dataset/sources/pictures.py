"""A folder, zip or tar of pictures of any size, one folder a class."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset.console import progress_bar, say
from dataset.sources.archives import Member, Store
from dataset.sources.decode import Decoder, Places, Size, Task
from dataset.sources.layout import Layout, arrange, arrange_unsplit, hold_out, leave_out
from dataset.workers import Workers, cores

DEFAULT_SIZE = 32  # pixels a side, where pictures differ in size: what CIFAR-10 has
_BATCH = 64  # pictures a task
_BATCH_BYTES = 4 << 20  # of pixels a task: large pictures go in smaller batches, which keeps memory flat
_UNREAD = (".heic", ".heif", ".svg", ".psd", ".dng", ".cr2", ".nef", ".arw")  # what telephones, cameras, artists leave
_FEW = 256  # pictures are decoded sooner than processes start


@contextmanager
def open_pictures(
    store: Store,
    members: list[Member],
    image_size: int | None,
    encoding: str = "raw",
    validation_split: float | None = None,
    seed: int = 0,
) -> Iterator["Pictures"]:
    """The Source of a store's pictures, with processes that decode while it is open. Raises DatasetError.

    With a `validation_split` the pictures have no splits yet: that share of each class, drawn by seed, validates.
    """
    paths, name = [member.path for member in members], str(store.path)
    layout = arrange_unsplit(paths, name) if validation_split else arrange(paths, name)
    _report_ignored(layout.ignored)
    _report_twins(layout.classes)
    count = sum(map(len, layout.files.values()))
    with Workers(Decoder(store, members), cores() if count > _FEW else 0) as workers:
        if validation_split:
            places = _find_places(workers, layout.files["train"], seed)
            layout = hold_out(layout, places, validation_split, name)
        size = (image_size, image_size) if image_size else _find_size(workers, layout.files)
        yield Pictures(store, layout, workers, size, encoding, validation_split)


class Pictures:
    """A Source."""

    def __init__(
        self, store: Store, layout: Layout, workers: Workers, size: Size, encoding: str, validation_split: float | None
    ) -> None:
        self.image_shape = (*size, 3)
        self.classes = layout.classes
        self.labels = layout.labels
        self._store = store
        self._layout = layout
        self._workers = workers
        self._size = size
        self._encoding = encoding
        self._validation_split = validation_split
        self._resized = self._kept = self._dropped = 0
        self._damaged: dict[int, str] = {}

    def images(self, split: str, order: NDArray[np.int64]) -> Iterator[bytes]:
        batch = max(1, min(_BATCH, _BATCH_BYTES // (self._size[0] * self._size[1] * 3)))
        for decoded in self._workers.map(_tasks(self._layout.files[split][order], batch, self._size, self._encoding)):
            self._resized += decoded.resized
            self._kept += decoded.kept
            self._damaged |= decoded.damaged
            yield from decoded.images

    def drop_damaged(self) -> list[str]:
        lines = [self._damaged[index] for index in sorted(self._damaged)]  # by path
        self._layout = leave_out(self._layout, set(self._damaged))
        self.labels = self._layout.labels
        self._dropped += len(lines)
        self._resized, self._kept, self._damaged = 0, 0, {}
        return lines

    def description(self) -> dict[str, Any]:
        height, width = self._size
        notes = []
        if self._resized:
            notes.append(
                f"{self._resized:,} pictures of another size were scaled to cover {height}×{width} pixels and cropped"
            )
        if self._dropped:
            notes.append(f"{self._dropped:,} damaged pictures were left out")
        source: dict[str, Any] = {"kind": self._store.kind, "name": self._store.path.resolve().name}
        source |= {"note": "; ".join(notes) or None, "resized": self._resized, "ignored": len(self._layout.ignored)}
        if self._dropped:
            source["damaged"] = self._dropped
        if self._encoding == "jpeg":
            source["kept"] = self._kept
        if self._validation_split:
            source["validation_split"] = self._validation_split
        return source


def _tasks(files: NDArray[np.int64], batch: int, size: Size | None, encoding: str = "raw") -> Iterator[Task]:
    for start in range(0, len(files), batch):
        yield Task(files[start : start + batch].tolist(), size, encoding)


def _find_places(workers: Workers, files: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Of each file's content, in [0, 1)."""
    tasks = (Places(files[start : start + _BATCH].tolist(), seed) for start in range(0, len(files), _BATCH))
    places: list[float] = []
    with progress_bar(len(files), "read pictures", "picture") as done:
        for found in workers.map(tasks):
            places += found
            done.update(len(found))
    return np.array(places)


def _find_size(workers: Workers, files: Mapping[str, NDArray[np.int64]]) -> Size:
    """The pictures' size if they all have one, else DEFAULT_SIZE: looks at headers until two differ."""
    everything = np.concatenate(list(files.values()))
    sizes: set[Size] = set()
    with progress_bar(len(everything), "look at pictures", "picture") as done:
        for found in workers.map(_tasks(everything, _BATCH, None)):
            sizes.update(size for size in found if size)
            done.update(len(found))
            if len(sizes) > 1:
                break
    if len(sizes) == 1:
        return sizes.pop()
    if sizes:  # else all are damaged
        say(f"pictures differ in size: resized to {DEFAULT_SIZE}×{DEFAULT_SIZE} (--image-size N for another)")
    return DEFAULT_SIZE, DEFAULT_SIZE


def _report_twins(classes: tuple[str, ...]) -> None:
    names: dict[str, list[str]] = {}
    for name in classes:
        names.setdefault(name.casefold().strip(), []).append(name)
    for alike in names.values():
        if len(alike) > 1:
            say(f"NOTE: {' and '.join(map(repr, alike))} are classes of their own: one, spelt in several ways?")


def _report_ignored(ignored: tuple[str, ...]) -> None:
    if unread := [path for path in ignored if path.lower().endswith(_UNREAD)]:
        say(f"{len(unread):,} pictures can't be read ({', '.join(_UNREAD)}), the first: {unread[0]!r}. Convert to JPEG")
    if ignored:
        say(f"{len(ignored):,} files are no pictures of a class: left out (the first: {ignored[0]!r})")
