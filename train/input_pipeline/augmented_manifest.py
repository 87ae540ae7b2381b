"""An augmented manifest's channel: one RecordIO record for each attribute of each of its lines, in order.

`rio(picture) rio("1") rio(picture) rio("0")`: the records of a line belong together.
"""

import json
from collections.abc import Iterator

from train.errors import DataError
from train.input_pipeline.image_decoder import EncodedImage
from train.records.stream_buffer import RecordBlock
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.environment import Channel

REFERENCE = "-ref"  # suffix of an attribute whose record is an object's content


def read_manifest_lines(
    blocks: Iterator[RecordBlock], attributes: tuple[str, ...]
) -> Iterator[tuple[list[bytes], str]]:
    """The records of each line, and the location of the first one. DataError if the last line is incomplete."""
    line: list[bytes] = []
    location = ""
    for block in blocks:
        for row in range(len(block.rows)):
            location = location if line else block.location(row)
            line.append(block.rows[row].tobytes())
            if len(line) == len(attributes):
                yield line, location
                line = []
    if line:
        raise DataError(
            f"{location} begins a line that is not whole. Received: {len(line)} records. Expected: {len(attributes)}, "
            f"one for each of {', '.join(attributes)}."
        )


def read_images(blocks: Iterator[RecordBlock], channel: Channel, pictures: ImageDatasetInfo) -> Iterator[EncodedImage]:
    """The lines of a channel with two attributes: a picture and its label, which is a class's number or name."""
    attributes = channel.attributes
    if len(attributes) != 2 or sum(name.endswith(REFERENCE) for name in attributes) != 1:
        raise DataError(
            f"Channel {channel.name}: which attribute is the picture, which the label? Received: AttributeNames "
            f"{', '.join(attributes)}. Expected: two, of which the picture's ends in {REFERENCE}."
        )
    picture = 0 if attributes[0].endswith(REFERENCE) else 1
    for line, location in read_manifest_lines(blocks, attributes):
        yield EncodedImage(line[picture], _parse_label(line[1 - picture], pictures, location), location)


def _parse_label(text: bytes, pictures: ImageDatasetInfo, location: str) -> int:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text.decode(errors="replace")  # a name without quotes
    if isinstance(value, str):
        value = pictures.classes.index(value) if value in pictures.classes else _int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(pictures.classes):
        raise DataError(
            f"{location}: its line's label can't be used. Received: {text[:60]!r}. Expected: a number from 0 to "
            f"{len(pictures.classes) - 1}, or a class's name."
        )
    return value


def _int(text: str) -> int:
    try:
        return int(text) if text.isdecimal() else -1
    except ValueError:  # thousands of digits
        return -1
