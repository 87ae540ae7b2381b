"""JPEG and PNG pictures in records → pixels, decoded on every core, in the order of the records."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from train.errors import DataError
from train.pictures import Pictures

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_KINDS: dict[bytes, tuple[str, bytes, Callable[..., tf.Tensor]]] = {
    _JPEG: ("JPEG", b"\xff\xd9", tf.io.decode_jpeg),
    _PNG: ("PNG", b"IEND\xaeB`\x82", tf.io.decode_png),
}
_TOGETHER = 32  # pictures that leave together
_AHEAD = 3  # such groups being decoded


@dataclass(frozen=True)
class Encoded:
    """A picture as its record holds it, and where the record is, for messages."""

    data: bytes
    label: int
    where: str


def kind(data: bytes) -> str | None:
    """JPEG or PNG if the bytes begin as such a file does, else None."""
    return next((found[0] for magic, found in _KINDS.items() if data.startswith(magic)), None)


def is_whole(data: bytes) -> bool:
    """Whether the bytes begin and end as such a file does: raw pixels of the right number might begin so by chance."""
    return any(data.startswith(magic) and found[1] in data[-16:] for magic, found in _KINDS.items())


def decoded(arriving: Iterator[Encoded], pictures: Pictures) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures (n, bytes) uint8 and labels (n,) int64, n up to 32. DataError, naming the record, for a picture that
    can't be decoded, or has another size than `pictures` says; its colours are converted.
    """
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores, thread_name_prefix="decode") as pool:
        groups: deque[tuple[np.ndarray, np.ndarray, list[Future[None]]]] = deque()
        for group in _grouped(arriving):
            images = np.empty((len(group), pictures.bytes), np.uint8)
            jobs = [pool.submit(_decode, item, pictures, images[row]) for row, item in enumerate(group)]
            groups.append((images, np.array([item.label for item in group], np.int64), jobs))
            if len(groups) == _AHEAD:
                yield _done(*groups.popleft())
        while groups:
            yield _done(*groups.popleft())


def _grouped(arriving: Iterator[Encoded]) -> Iterator[list[Encoded]]:
    group: list[Encoded] = []
    for item in arriving:
        group.append(item)
        if len(group) == _TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _done(images: np.ndarray, labels: np.ndarray, jobs: list[Future[None]]) -> tuple[np.ndarray, np.ndarray]:
    for job in jobs:
        job.result()
    return images, labels


def _decode(item: Encoded, pictures: Pictures, into: np.ndarray) -> None:
    found = next((found for magic, found in _KINDS.items() if item.data.startswith(magic)), None)
    if found is None:
        raise DataError(
            f"{item.where}: image is neither JPEG nor PNG. Received: {item.data[:8].hex(' ') or 'nothing'}. Expected: "
            "what the channel's first record is."
        )
    name, _, decode = found
    height, width, channels = pictures.shape
    try:
        with tf.device("CPU:0"):
            image = decode(item.data, channels=channels)
    except tf.errors.InvalidArgumentError as error:
        raise DataError(f"{item.where}: the {name} can't be decoded: {str(error.message).splitlines()[0]}.") from None
    if image.shape != pictures.shape:
        raise DataError(
            f"{item.where}: the {name} has another size. Received: {image.shape[0]}×{image.shape[1]}. Expected: "
            f"{height}×{width} pixels. Does image-shape fit the data? `python -m dataset prepare` makes pictures equal."
        )
    into[:] = image.numpy().reshape(-1)
