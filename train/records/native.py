"""Calls of the compiled library (native.c), if there is one: the image's build and `make` put it into the environment.

A function returns None (or nothing found) where the library can't be used; its caller then does the same in NumPy.
CV_KERAS_NATIVE=0 turns the library off. ctypes releases Python's lock during a call.

Each array is checked before C sees its address. TypeError: wrong dtype. ValueError: wrong shape, not C-contiguous, or a
number out of range.
"""

import ctypes
import os
import sysconfig
from pathlib import Path
from typing import NamedTuple

import numpy as np

from train.records.tfrecord_format import HEAD, TAIL

LIBRARY = Path(sysconfig.get_path("purelib")) / "train_native.so"
ABI_VERSION = 1  # as in native.c; a library of another version is not used
_NUMBER, _POINTER, _FLAG = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int
_SIGNATURES = {
    "count_valid_frames": [_POINTER, _NUMBER, _NUMBER, _FLAG],
    "find_frames": [_POINTER, _NUMBER, _FLAG, _NUMBER, _NUMBER, _POINTER, _POINTER],
    "match_layout": [_POINTER, *[_NUMBER] * 3, _POINTER, _POINTER, *[_NUMBER] * 3, _POINTER],
    "scatter": [_POINTER, *[_NUMBER] * 3, *[_POINTER] * 4, *[_NUMBER] * 4],
}
_BYTE, _INT64 = np.dtype(np.uint8), np.dtype(np.int64)
_VARINT_BYTES = 10  # at most


class BatchLayout(NamedTuple):
    """A batch in memory: `slots` pictures of `width` bytes, and from `labels_at` on as many labels of 8 bytes."""

    width: int
    slots: int
    labels_at: int
    length: int  # bytes of a batch


def _load(path: Path) -> ctypes.CDLL | None:
    """None if the file is missing, no library for this machine, of another version, or if the CPU has no CRC."""
    if os.environ.get("CV_KERAS_NATIVE") == "0" or not path.exists():
        return None
    try:
        library = ctypes.CDLL(str(path))
        if library.abi_version() != ABI_VERSION or not library.is_supported():
            return None
    except (OSError, AttributeError):  # AttributeError: built before there were versions
        return None
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, _NUMBER
    return library


library = _load(LIBRARY)


def count_valid_frames(frames: np.ndarray, check_data: bool) -> int | None:
    """How many TFRecord frames (n, stride) uint8, from the first on, have its head and, if asked, a right data CRC."""
    if library is None:
        return None
    count, stride = frames.shape
    if stride < HEAD + TAIL:
        raise ValueError(f"Frames are too short. Received: {stride} bytes. Expected: at least {HEAD + TAIL}.")
    return library.count_valid_frames(_address(frames, _BYTE, frames.shape), stride, count, check_data)


def find_frames(data: np.ndarray, check: int, limit: int, most: int) -> tuple[list[int], list[int]]:
    """Starts and lengths of the data of whole TFRecords at the start of `data` (n,) uint8, at most `most`.

    Stops before a record that is longer than `limit`, not whole, or has a wrong CRC: `check` 0 looks at none, 1 at the
    length's, 2 at the data's, too. Finds nothing without the library.
    """
    if library is None:
        return [], []
    if limit < 0 or most < 0:
        raise ValueError(f"A limit is negative. Received: limit {limit}, most {most}. Expected: 0 or more.")
    starts, lengths = np.empty(most, np.int64), np.empty(most, np.int64)
    count = library.find_frames(
        _address(data, _BYTE, (data.size,)), data.size, check, limit, most, _data(starts), _data(lengths)
    )
    return starts[:count].tolist(), lengths[:count].tolist()


def match_layout(rows: np.ndarray, model: np.ndarray, gaps: np.ndarray, label: slice) -> np.ndarray | None:
    """(n,) int64 labels of those rows (m, length) uint8, from the first on, that equal `model` (length,) in `gaps`.

    `gaps` (k, 2) int64 are starts and ends; a label is the one varint at `label`.
    """
    if library is None or rows.strides[1] != 1:
        return None
    count, length = rows.shape
    if not 0 <= label.start < label.stop <= length or label.stop - label.start > _VARINT_BYTES:
        raise ValueError(f"The label's place is wrong. Received: {label}. Expected: a varint within {length} bytes.")
    labels = np.empty(count, np.int64)
    matched = library.match_layout(
        _row_address(rows), rows.strides[0], length, count, _address(model, _BYTE, (length,)),
        _address(gaps, _INT64, (len(gaps), 2)), len(gaps), label.start, label.stop - label.start, _data(labels),
    )  # fmt: skip
    if matched < 0:
        raise ValueError(f"A gap is wrong. Received: {gaps.tolist()}. Expected: start ≤ end, within {length} bytes.")
    return labels[:matched]


def scatter(
    images: np.ndarray,
    labels: np.ndarray,
    batches: np.ndarray,
    slots: np.ndarray,
    memory: np.ndarray,
    layout: BatchLayout,
) -> bool:
    """Copy pictures (n, width) uint8 and labels (n,) int64 to the slots of batches, (n,) int64 each, in `memory`.

    False if the library can't. IndexError for a batch or slot that doesn't exist.
    """
    if library is None or images.strides[1] != 1:
        return False
    count, width = images.shape
    if width != layout.width:
        raise ValueError(f"The pictures are of a wrong size. Received: {width} bytes. Expected: {layout.width}.")
    batch_count = memory.size // layout.length
    copied = library.scatter(
        _row_address(images), images.strides[0], width, count, _address(labels, _INT64, (count,)),
        _address(batches, _INT64, (count,)), _address(slots, _INT64, (count,)),
        _address(memory, _BYTE, (memory.size,)), layout.length, layout.labels_at, batch_count, layout.slots,
    )  # fmt: skip
    if copied < count:
        raise IndexError(
            f"A record's place is wrong. Received: batch {batches[copied]}, slot {slots[copied]}. Expected: below "
            f"{batch_count} and {layout.slots}."
        )
    return True


def _address(array: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> int:
    if array.dtype != dtype:
        raise TypeError(f"An array's type is wrong. Received: {array.dtype}. Expected: {dtype}.")
    if array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(
            f"An array is laid out wrong. Received: shape {array.shape}, strides {array.strides}. Expected: shape "
            f"{shape}, C-contiguous."
        )
    return _data(array)


def _row_address(rows: np.ndarray) -> int:
    """Of a matrix whose rows are each in one piece, but may lie apart."""
    if rows.dtype != _BYTE:
        raise TypeError(f"The rows' type is wrong. Received: {rows.dtype}. Expected: {_BYTE}.")
    return _data(rows)


def _data(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
