"""The compiled helper (native.c), where it is: the image's builder and `make` put it into the environment.

Each function says None where the helper can't serve, and its caller does the same in NumPy. CV_KERAS_NATIVE=0 turns it
off. ctypes lets other threads run while a call lasts.
"""

import ctypes
import os
import sysconfig
from pathlib import Path

import numpy as np

LIBRARY = Path(sysconfig.get_path("purelib")) / "train_native.so"
_NUMBER, _POINTER = ctypes.c_int64, ctypes.c_void_p


def _load(path: Path) -> ctypes.CDLL | None:
    """None if it is not there, is of another machine, or lacks the CRC instruction."""
    if os.environ.get("CV_KERAS_NATIVE") == "0" or not path.exists():
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    if not library.usable():
        return None
    library.sound.restype = library.alike.restype = _NUMBER
    library.sound.argtypes = [_POINTER, _NUMBER, _NUMBER, ctypes.c_int]
    library.alike.argtypes = [_POINTER, _NUMBER, _NUMBER, _POINTER, _POINTER, _NUMBER, _NUMBER, _NUMBER, _POINTER]
    library.frames.restype = _NUMBER
    library.frames.argtypes = [_POINTER, _NUMBER, ctypes.c_int, _NUMBER, _NUMBER, _POINTER, _POINTER]
    library.scatter.restype = None
    pointers = [_POINTER] * 4
    library.scatter.argtypes = [_POINTER, _NUMBER, _NUMBER, _NUMBER, *pointers, _NUMBER, _NUMBER]
    return library


library = _load(LIBRARY)


def sound(frames: np.ndarray, check_data: bool) -> int | None:
    """How many TFRecord frames (n, stride) uint8, from the first on, have its head and, if asked, a right CRC."""
    if library is None:
        return None
    count, stride = frames.shape
    return library.sound(_address(frames), stride, count, check_data)


def frames(data: np.ndarray, check: int, limit: int, most: int) -> tuple[list[int], list[int]]:
    """Starts and lengths of the data of whole TFRecords in `data` (n,) uint8, from its start on, `most` at the most.

    They end before a record that is longer than `limit`, not whole, or has a wrong CRC: `check` 0 looks at none, 1 at
    the lengths', 2 at the data's, too. Nothing without the helper.
    """
    if library is None:
        return [], []
    starts, lengths = np.empty(most, np.int64), np.empty(most, np.int64)
    count = library.frames(_address(data), data.size, check, limit, most, _address(starts), _address(lengths))
    return starts[:count].tolist(), lengths[:count].tolist()


def alike(rows: np.ndarray, model: np.ndarray, gaps: np.ndarray, label: slice) -> np.ndarray | None:
    """(n,) int64 labels of those rows (m, length) uint8, from the first on, that equal `model` (length,) in `gaps`.

    `gaps` (k, 2) int64 are starts and ends; a label is the one varint at `label`.
    """
    if library is None or rows.strides[1] != 1:
        return None
    labels = np.empty(len(rows), np.int64)
    count = library.alike(
        _address(rows), rows.strides[0], len(rows), _address(model), _address(gaps), len(gaps), label.start,
        label.stop - label.start, _address(labels),
    )  # fmt: skip
    return labels[:count]


def scatter(
    images: np.ndarray,
    labels: np.ndarray,
    batches: np.ndarray,
    slots: np.ndarray,
    memory: np.ndarray,
    places: tuple[int, int, int],
) -> bool:
    """Copy pictures (n, width) uint8 and labels (n,) int64 to the slots of batches, (n,) int64 each, in `memory`.

    `places`: the bytes of a batch, where in it its labels begin, and `width`. False if the helper can't.
    """
    if library is None or images.strides[1] != 1:
        return False
    length, labels_at, width = places
    library.scatter(
        _address(images), images.strides[0], width, len(images), _address(labels), _address(batches), _address(slots),
        _address(memory), length, labels_at,
    )  # fmt: skip
    return True


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
