"""`tf.train.Example` → picture and label, without a Python step for each record.

Records of one program have one layout: the same bytes except for the pixels and the label. The first record of a layout
is parsed field by field; records that equal it outside those two fields are then read as array slices. Any other record
is parsed field by field again, so a layout never changes what a record means.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from train.errors import DataError
from train.input_pipeline.batch_ring import Batch
from train.input_pipeline.image_decoder import CONVERT, EncodedImage, image_format, is_complete, name_format
from train.records import native
from train.records.stream_buffer import RecordBlock

_VARINT_BYTES, _SHORT_BYTES = 10, 5  # of a varint, of one that has to fit into 32 bits: a key, a length
_MOST_LAYOUTS = 16  # kept per record length; feature maps have no fixed order, two features give a handful


@dataclass(frozen=True)
class _Field:
    """A feature's value inside a record."""

    kind: str  # bytes_list, float_list or int64_list
    values: tuple[tuple[int, int], ...]  # start and end of each value

    def merge(self, kind: str, values: Iterable[tuple[int, int]]) -> "_Field":
        """The field with a later list of it."""
        return _Field(kind, (*(self.values if self.kind == kind else ()), *values))


class _Layout:
    """Where records of one layout have picture and label, and the bytes that are the same in all of them."""

    def __init__(self, record: np.ndarray, image: tuple[int, int], label: tuple[int, int]) -> None:
        self.image, self.label = slice(*image), slice(*label)
        edges = sorted([image, label])
        gaps = [(0, edges[0][0]), (edges[0][1], edges[1][0]), (edges[1][1], record.size)]
        self._model, self._gaps = record.copy(), np.array(gaps, np.int64)

    def match_all(self, rows: np.ndarray) -> np.ndarray | None:
        """(n,) int64 labels if all rows (n, length) have this layout, else None."""
        labels = native.match_layout(rows, self._model, self._gaps, self.label)
        if labels is None:
            return self.read_labels(rows) if self.match(rows).all() else None
        return labels if len(labels) == len(rows) else None

    def match(self, rows: np.ndarray) -> np.ndarray:
        """(n,) bool: the rows (n, length) that equal the layout's record outside picture and label."""
        fit = np.ones(len(rows), bool)
        for start, end in self._gaps:
            fit &= (rows[:, start:end] == self._model[start:end]).all(axis=1)
        label = rows[:, self.label]
        fit &= (label[:, :-1] >= 0x80).all(axis=1) & (label[:, -1] < 0x80)  # one varint, and of this length
        if label.shape[1] == _VARINT_BYTES:
            fit &= label[:, -1] <= 1  # the 64th bit
        return fit

    def read_labels(self, rows: np.ndarray) -> np.ndarray:
        """(n,) int64 of the rows' label varints."""
        groups = rows[:, self.label].astype(np.uint64) & np.uint64(0x7F)
        shifts = np.arange(0, 7 * groups.shape[1], 7, dtype=np.uint64)
        return np.bitwise_or.reduce(groups << shifts, axis=1).astype(np.int64)


class ExampleDecoder:
    """Rows of a block → pictures (n, height × width × channels) uint8 and labels (n,) int64, checked."""

    def __init__(self, image_bytes: int, classes: int) -> None:
        self._image_bytes, self._classes = image_bytes, classes
        self._layouts: dict[int, list[_Layout]] = {}
        self._has_files: bool | None = None  # None: not known yet

    def decode(self, block: RecordBlock) -> Batch:
        """DataError, naming the record, for a missing or wrong feature or a label out of range."""
        layouts = self._layouts.setdefault(block.rows.shape[1], [])
        if layouts and (labels := layouts[0].match_all(block.rows)) is not None:  # the usual case: no copy
            self._check_labels(block, labels)
            return block.rows[:, layouts[0].image], labels
        images = np.empty((len(block.rows), self._image_bytes), np.uint8)
        labels = np.empty(len(block.rows), np.int64)
        left = np.ones(len(block.rows), bool)
        for layout in self._find_layouts(block, layouts, left):
            fit = np.flatnonzero(left & layout.match(block.rows))
            images[fit] = block.rows[fit, layout.image]
            labels[fit] = layout.read_labels(block.rows[fit])
            left[fit] = False
        self._check_labels(block, labels)
        return images, labels

    def has_files(self, block: RecordBlock) -> bool:
        """Whether images are JPEG or PNG files rather than pixels: the channel's first record decides."""
        if self._has_files is None:
            self._has_files = self._has_file(block)
        return self._has_files

    def _has_file(self, block: RecordBlock) -> bool:
        (start, end), _ = find_image_and_label(block.rows[0], block.location(0))
        data = block.rows[0, start:end].tobytes()
        return is_complete(data) or (end - start != self._image_bytes and image_format(data) is not None)

    def parse_file(self, record: bytes, location: str) -> EncodedImage:
        """A record whose image is a file. DataError as for `decode`."""
        row = np.frombuffer(record, np.uint8)
        (start, end), label = find_image_and_label(row, location)
        value = read_int64(row, label)
        if not 0 <= value < self._classes:
            raise self._out_of_range(location, value)
        return EncodedImage(record[start:end], value, location)

    def _find_layouts(self, block: RecordBlock, layouts: list[_Layout], left: np.ndarray) -> Iterator[_Layout]:
        """The known layouts, then new ones, each learned from the first row that is left."""
        yield from list(layouts)
        while left.any():
            layout = self._learn(block, int(np.argmax(left)))
            layouts.append(layout)
            del layouts[:-_MOST_LAYOUTS]
            yield layout

    def _check_labels(self, block: RecordBlock, labels: np.ndarray) -> None:
        if labels.size and not 0 <= labels.min() <= labels.max() < self._classes:
            row = int(np.flatnonzero((labels < 0) | (labels >= self._classes))[0])
            raise self._out_of_range(block.location(row), int(labels[row]))

    def _out_of_range(self, location: str, label: int) -> DataError:
        return DataError(f"{location}: label out of range. Received: {label}. Expected: 0 to {self._classes - 1}.")

    def _learn(self, block: RecordBlock, row: int) -> _Layout:
        image, label = find_image_and_label(block.rows[row], block.location(row))
        if image[1] - image[0] != self._image_bytes:
            if name := name_format(block.rows[row, slice(*image)].tobytes()):
                raise DataError(
                    f"{block.location(row)}: image is a file. Received: {name}. Expected: JPEG or PNG files in all "
                    f"records, or pixels in all, {self._image_bytes} bytes each. {CONVERT}."
                )
            raise DataError(
                f"{block.location(row)}: image has the wrong size. Received: {image[1] - image[0]} bytes. Expected: "
                f"{self._image_bytes}, height × width × channels of uint8. Does image-shape fit the data?"
            )
        return _Layout(block.rows[row], image, label)


def find_image_and_label(record: np.ndarray, location: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Start and end of the features `image`, bytes, and `label`, a varint, in a record; DataError if one is missing."""
    try:
        features = parse(record.tobytes())
    except (IndexError, ValueError) as error:
        raise DataError(f"{location} is not a tf.train.Example: {error}.") from None
    image = _find_value(features, "image", "bytes_list", location)
    return image, _find_value(features, "label", "int64_list", location)


def _find_value(features: dict[str, _Field], name: str, kind: str, location: str) -> tuple[int, int]:
    if name not in features:
        received = ", ".join(sorted(features)) or "no feature"
        raise DataError(f"{location}: feature {name} is missing. Received: {received}.")
    field = features[name]
    if field.kind != kind or len(field.values) != 1:
        received = f"{field.kind} of {len(field.values)}"
        raise DataError(f"{location}: feature {name} is a {received}. Expected: {kind} of 1.")
    return field.values[0]


def read_int64(record: np.ndarray, place: tuple[int, int]) -> int:
    """The varint at a place (start, end), as int64."""
    value, _ = _read_varint(record[slice(*place)].tobytes(), 0, place[1] - place[0])
    return value - (1 << 64) if value >= 1 << 63 else value


def parse(record: bytes) -> dict[str, _Field]:
    """The features of a serialised tf.train.Example. ValueError or IndexError where the bytes are not one."""
    features: dict[str, _Field] = {}
    for number, start, end in _iter_messages(record, 0, len(record)):
        if number == 1:  # Example.features
            for entry, entry_start, entry_end in _iter_messages(record, start, end):
                if entry == 1:  # one entry of the map Features.feature
                    name, field = _parse_entry(record, entry_start, entry_end)
                    features[name] = field
    return features


def _parse_entry(record: bytes, start: int, end: int) -> tuple[str, _Field]:
    """Refuses other fields than key and value: protocol buffers' parsers don't agree what such an entry means."""
    name, parts = "", []
    for number, value_start, value_end, wire in _iter_fields(record, start, end):
        if wire != 2 or number not in (1, 2):
            raise ValueError(f"field {number} of an entry of the features at byte {start}")
        if number == 1:
            name = record[value_start:value_end].decode()
        else:
            parts.append((value_start, value_end))
    return name, _parse_feature(record, parts)


def _parse_feature(record: bytes, parts: list[tuple[int, int]]) -> _Field:
    """Feature: a oneof of bytes_list = 1, float_list = 2, int64_list = 3; each a list `value = 1`.

    Several parts, and repeated lists of one kind, are merged; a list of another kind replaces the earlier one.
    """
    field = _Field("nothing", ())
    for start, end in parts:
        for number, list_start, list_end in _iter_messages(record, start, end):
            if number == 1:
                values = [part[1:] for part in _iter_messages(record, list_start, list_end) if part[0] == 1]
                field = field.merge("bytes_list", values)
            elif number == 2:
                field = field.merge("float_list", _find_floats(record, list_start, list_end))
            elif number == 3:
                field = field.merge("int64_list", _find_varints(record, list_start, list_end))
    return field


def _find_floats(record: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Places of a FloatList's values, packed (as all writers do today) or one by one."""
    for number, value_start, value_end, wire in _iter_fields(record, start, end):
        if number == 1 and wire == 5:
            yield value_start, value_end
        elif number == 1 and wire == 2:
            if (value_end - value_start) % 4:
                raise ValueError(f"{value_end - value_start} bytes of float32 at byte {value_start}")
            for position in range(value_start, value_end, 4):
                yield position, position + 4


def _find_varints(record: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Places of an Int64List's values, packed (as all writers do today) or one by one."""
    for number, value_start, value_end, wire in _iter_fields(record, start, end):
        if number == 1 and wire == 0:
            yield value_start, value_end
        elif number == 1 and wire == 2:
            position = value_start
            while position < value_end:
                _, after = _read_varint(record, position, value_end)
                yield position, after
                position = after


def _iter_messages(record: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, start, end) of each length-delimited field."""
    for number, value_start, value_end, wire in _iter_fields(record, start, end):
        if wire == 2:
            yield number, value_start, value_end


def _iter_fields(record: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, value start, value end, wire type) of each field of a protocol buffer message."""
    position = start
    while position < end:
        begun = position
        key, position = _read_varint(record, position, end, _SHORT_BYTES)
        if not 8 <= key < 1 << 32:
            raise ValueError(f"field number {key >> 3} at byte {begun}")
        wire = key & 7
        if wire == 0:
            _, after = _read_varint(record, position, end)
        elif wire == 1:
            after = position + 8
        elif wire == 2:
            length, position = _read_varint(record, position, end, _SHORT_BYTES)
            after = position + length
        elif wire == 5:
            after = position + 4
        else:
            raise ValueError(f"wire type {wire} at byte {position}")
        if after > end:
            raise ValueError(f"a field at byte {position} runs {after - end} bytes over its end")
        yield key >> 3, position, after, wire
        position = after


def _read_varint(record: bytes, start: int, end: int, most: int = _VARINT_BYTES) -> tuple[int, int]:
    """(value, position after it). ValueError for more than `most` bytes or 64 bits."""
    value = shift = 0
    for position in range(start, min(end, start + most)):
        value |= (record[position] & 0x7F) << shift
        if record[position] < 0x80:
            if value >= 1 << 64:
                break
            return value, position + 1
        shift += 7
    raise ValueError(f"a number without an end at byte {start}")
