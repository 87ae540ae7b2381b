"""`tf.train.Example` → picture and label, without a Python step per record.

Records written by one program are laid out alike: the same bytes but for the pixels and the label. The first record of
a layout is parsed field by field; all that equal it outside those two fields are then taken as array slices. Whatever
does not fit is parsed field by field in turn, so a layout never decides what a record means.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from train.errors import DataError
from train.input_pipeline.image_decoder import Encoded, is_whole, kind
from train.records import native
from train.records.stream_buffer import Run

_VARINT_BYTES, _SHORT_BYTES = 10, 5  # of a varint, of one that has to fit into 32 bits: a key, a length
_MOST_LAYOUTS = 16  # kept per record length; feature maps have no fixed order, two features give a handful


@dataclass(frozen=True)
class _Field:
    """A feature's value inside a record."""

    kind: str  # bytes_list, float_list or int64_list
    values: tuple[tuple[int, int], ...]  # start and end of each value

    def merged(self, kind: str, values: Iterable[tuple[int, int]]) -> "_Field":
        """With a list that comes later."""
        return _Field(kind, (*(self.values if self.kind == kind else ()), *values))


class _Layout:
    """Where a record of one shape keeps its picture and label, and the bytes all its kind share."""

    def __init__(self, record: np.ndarray, image: tuple[int, int], label: tuple[int, int]) -> None:
        self.image, self.label = slice(*image), slice(*label)
        edges = sorted([image, label])
        gaps = [(0, edges[0][0]), (edges[0][1], edges[1][0]), (edges[1][1], record.size)]
        self._model, self._gaps = record.copy(), np.array(gaps, np.int64)

    def taken(self, rows: np.ndarray) -> np.ndarray | None:
        """(n,) int64 labels if all the rows fit."""
        labels = native.alike(rows, self._model, self._gaps, self.label)
        if labels is None:
            return self.labels(rows) if self.fits(rows).all() else None
        return labels if len(labels) == len(rows) else None

    def fits(self, rows: np.ndarray) -> np.ndarray:
        """(n,) bool: rows (n, length) that equal the layout's record outside picture and label."""
        fit = np.ones(len(rows), bool)
        for start, end in self._gaps:
            fit &= (rows[:, start:end] == self._model[start:end]).all(axis=1)
        label = rows[:, self.label]
        fit &= (label[:, :-1] >= 0x80).all(axis=1) & (label[:, -1] < 0x80)  # one varint, and of this length
        if label.shape[1] == _VARINT_BYTES:
            fit &= label[:, -1] <= 1  # the 64th bit
        return fit

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """(n,) int64 of the rows' label varints."""
        groups = rows[:, self.label].astype(np.uint64) & np.uint64(0x7F)
        shifts = np.arange(0, 7 * groups.shape[1], 7, dtype=np.uint64)
        return np.bitwise_or.reduce(groups << shifts, axis=1).astype(np.int64)


class ExampleDecoder:
    """Rows of one run → pictures (n, height × width × channels) uint8 and labels (n,) int64, checked."""

    def __init__(self, image_bytes: int, classes: int) -> None:
        self._image_bytes, self._classes = image_bytes, classes
        self._layouts: dict[int, list[_Layout]] = {}
        self._files: bool | None = None  # not yet known

    def decode(self, run: Run) -> tuple[np.ndarray, np.ndarray]:
        """DataError, naming the record, for a missing or wrong feature or a label out of range."""
        layouts = self._layouts.setdefault(run.rows.shape[1], [])
        if layouts and (labels := layouts[0].taken(run.rows)) is not None:  # the usual case: no copy
            self._check_labels(run, labels)
            return run.rows[:, layouts[0].image], labels
        images = np.empty((len(run.rows), self._image_bytes), np.uint8)
        labels = np.empty(len(run.rows), np.int64)
        left = np.ones(len(run.rows), bool)
        for layout in self._matching(run, layouts, left):
            fit = np.flatnonzero(left & layout.fits(run.rows))
            images[fit] = run.rows[fit, layout.image]
            labels[fit] = layout.labels(run.rows[fit])
            left[fit] = False
        self._check_labels(run, labels)
        return images, labels

    def holds_files(self, run: Run) -> bool:
        """Whether images are JPEG or PNG files rather than pixels: what the first record of all has decides."""
        if self._files is None:
            self._files = self._holds_file(run)
        return self._files

    def _holds_file(self, run: Run) -> bool:
        (start, end), _ = places(run.rows[0], run.where(0))
        data = run.rows[0, start:end].tobytes()
        return is_whole(data) or (end - start != self._image_bytes and kind(data) is not None)

    def file(self, record: bytes, where: str) -> Encoded:
        """A record whose image is a file."""
        row = np.frombuffer(record, np.uint8)
        (start, end), label = places(row, where)
        value = number(row, label)
        if not 0 <= value < self._classes:
            raise self._out_of_range(where, value)
        return Encoded(record[start:end], value, where)

    def _matching(self, run: Run, layouts: list[_Layout], left: np.ndarray) -> Iterator[_Layout]:
        """The known layouts, then one learned from the first row that none of them fits, while any is left."""
        yield from list(layouts)
        while left.any():
            layout = self._learn(run, int(np.argmax(left)))
            layouts.append(layout)
            del layouts[:-_MOST_LAYOUTS]
            yield layout

    def _check_labels(self, run: Run, labels: np.ndarray) -> None:
        if labels.size and not 0 <= labels.min() <= labels.max() < self._classes:
            row = int(np.flatnonzero((labels < 0) | (labels >= self._classes))[0])
            raise self._out_of_range(run.where(row), int(labels[row]))

    def _out_of_range(self, where: str, label: int) -> DataError:
        return DataError(f"{where}: label out of range. Received: {label}. Expected: 0 to {self._classes - 1}.")

    def _learn(self, run: Run, row: int) -> _Layout:
        image, label = places(run.rows[row], run.where(row))
        if image[1] - image[0] != self._image_bytes:
            raise DataError(
                f"{run.where(row)}: image has the wrong size. Received: {image[1] - image[0]} bytes. Expected: "
                f"{self._image_bytes}, height × width × channels of uint8. Does image-shape fit the data?"
            )
        return _Layout(run.rows[row], image, label)


def places(record: np.ndarray, where: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Start and end of the features `image`, bytes, and `label`, a varint, in a record; DataError if they lack."""
    try:
        features = parse(record.tobytes())
    except (IndexError, ValueError) as error:
        raise DataError(f"{where} is not a tf.train.Example: {error}.") from None
    return _one(features, "image", "bytes_list", where), _one(features, "label", "int64_list", where)


def _one(features: dict[str, _Field], name: str, kind: str, where: str) -> tuple[int, int]:
    if name not in features:
        received = ", ".join(sorted(features)) or "no feature"
        raise DataError(f"{where}: feature {name} is missing. Received: {received}.")
    field = features[name]
    if field.kind != kind or len(field.values) != 1:
        received = f"{field.kind} of {len(field.values)}"
        raise DataError(f"{where}: feature {name} is a {received}. Expected: {kind} of 1.")
    return field.values[0]


def number(record: np.ndarray, place: tuple[int, int]) -> int:
    """The varint at a place, as int64."""
    value, _ = _varint(record[slice(*place)].tobytes(), 0, place[1] - place[0])
    return value - (1 << 64) if value >= 1 << 63 else value


def parse(record: bytes) -> dict[str, _Field]:
    """The features of a serialised tf.train.Example. ValueError or IndexError where the bytes are not one."""
    features: dict[str, _Field] = {}
    for number, start, end in _messages(record, 0, len(record)):
        if number == 1:  # Example.features
            for entry, entry_start, entry_end in _messages(record, start, end):
                if entry == 1:  # one entry of the map Features.feature
                    name, field = _entry(record, entry_start, entry_end)
                    features[name] = field
    return features


def _entry(record: bytes, start: int, end: int) -> tuple[str, _Field]:
    """An entry with other fields than key and value is none: protocol buffers' parsers don't agree about what it is."""
    name, parts = "", []
    for number, value_start, value_end, wire in _fields(record, start, end):
        if wire != 2 or number not in (1, 2):
            raise ValueError(f"field {number} of an entry of the features at byte {start}")
        if number == 1:
            name = record[value_start:value_end].decode()
        else:
            parts.append((value_start, value_end))
    return name, _feature(record, parts)


def _feature(record: bytes, parts: list[tuple[int, int]]) -> _Field:
    """Feature: a oneof of bytes_list = 1, float_list = 2, int64_list = 3; each a list `value = 1`.

    What comes in several parts, and a list that comes again, is merged; one of another kind replaces what was there.
    """
    field = _Field("nothing", ())
    for start, end in parts:
        for number, list_start, list_end in _messages(record, start, end):
            if number == 1:
                values = [part[1:] for part in _messages(record, list_start, list_end) if part[0] == 1]
                field = field.merged("bytes_list", values)
            elif number == 2:
                field = field.merged("float_list", _floats(record, list_start, list_end))
            elif number == 3:
                field = field.merged("int64_list", _varints(record, list_start, list_end))
    return field


def _floats(record: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Places of a FloatList's values, packed (as every writer does today) or one by one."""
    for number, value_start, value_end, wire in _fields(record, start, end):
        if number == 1 and wire == 5:
            yield value_start, value_end
        elif number == 1 and wire == 2:
            if (value_end - value_start) % 4:
                raise ValueError(f"{value_end - value_start} bytes of float32 at byte {value_start}")
            for position in range(value_start, value_end, 4):
                yield position, position + 4


def _varints(record: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Places of an Int64List's values, packed (as every writer does today) or one by one."""
    for number, value_start, value_end, wire in _fields(record, start, end):
        if number == 1 and wire == 0:
            yield value_start, value_end
        elif number == 1 and wire == 2:
            position = value_start
            while position < value_end:
                _, after = _varint(record, position, value_end)
                yield position, after
                position = after


def _messages(record: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, start, end) of each length-delimited field."""
    for number, value_start, value_end, wire in _fields(record, start, end):
        if wire == 2:
            yield number, value_start, value_end


def _fields(record: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, value start, value end, wire type) of each field of a protocol buffer message."""
    position = start
    while position < end:
        begun = position
        key, position = _varint(record, position, end, _SHORT_BYTES)
        if not 8 <= key < 1 << 32:
            raise ValueError(f"field number {key >> 3} at byte {begun}")
        wire = key & 7
        if wire == 0:
            _, after = _varint(record, position, end)
        elif wire == 1:
            after = position + 8
        elif wire == 2:
            length, position = _varint(record, position, end, _SHORT_BYTES)
            after = position + length
        elif wire == 5:
            after = position + 4
        else:
            raise ValueError(f"wire type {wire} at byte {position}")
        if after > end:
            raise ValueError(f"a field at byte {position} runs {after - end} bytes over its end")
        yield key >> 3, position, after, wire
        position = after


def _varint(record: bytes, start: int, end: int, most: int = _VARINT_BYTES) -> tuple[int, int]:
    """(value, position after it). ValueError for one of more than `most` bytes, or more than 64 bits."""
    value = shift = 0
    for position in range(start, min(end, start + most)):
        value |= (record[position] & 0x7F) << shift
        if record[position] < 0x80:
            if value >= 1 << 64:
                break
            return value, position + 1
        shift += 7
    raise ValueError(f"a number without an end at byte {start}")
