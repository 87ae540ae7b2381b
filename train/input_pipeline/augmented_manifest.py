"""An augmented manifest's channel: for each of its lines one RecordIO record an attribute, in their order.

`rio(picture) rio("1") rio(picture) rio("0")`: the records of one line belong together.
"""

import json
from collections.abc import Iterator

from train.errors import DataError
from train.input_pipeline.image_decoder import Encoded
from train.records.stream_buffer import Run
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.environment import Channel

REFERENCE = "-ref"  # how an attribute's name ends whose record is an object's content


def tuples(runs: Iterator[Run], attributes: tuple[str, ...]) -> Iterator[tuple[list[bytes], str]]:
    """The records of one line after the other, and where the first of them is. DataError if the last line is cut."""
    line: list[bytes] = []
    where = ""
    for run in runs:
        for row in range(len(run.rows)):
            where = where if line else run.where(row)
            line.append(run.rows[row].tobytes())
            if len(line) == len(attributes):
                yield line, where
                line = []
    if line:
        raise DataError(
            f"{where} begins a line that is not whole. Received: {len(line)} records. Expected: {len(attributes)}, one "
            f"for each of {', '.join(attributes)}."
        )


def pictures_of(runs: Iterator[Run], channel: Channel, pictures: ImageDatasetInfo) -> Iterator[Encoded]:
    """The lines of a channel whose two attributes are a picture and its label, a class's number or name."""
    attributes = channel.attributes
    if len(attributes) != 2 or sum(name.endswith(REFERENCE) for name in attributes) != 1:
        raise DataError(
            f"Channel {channel.name}: which attribute is the picture, which the label? Received: AttributeNames "
            f"{', '.join(attributes)}. Expected: two, of which the picture's ends in {REFERENCE}."
        )
    picture = 0 if attributes[0].endswith(REFERENCE) else 1
    for line, where in tuples(runs, attributes):
        yield Encoded(line[picture], _label(line[1 - picture], pictures, where), where)


def _label(text: bytes, pictures: ImageDatasetInfo, where: str) -> int:
    try:
        value = json.loads(text)
    except ValueError:
        value = text.decode(errors="replace")  # a name that is not in quotes
    if isinstance(value, str):
        value = pictures.classes.index(value) if value in pictures.classes else int(value) if value.isdecimal() else -1
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(pictures.classes):
        raise DataError(
            f"{where}: its line's label can't be used. Received: {text[:60]!r}. Expected: a number from 0 to "
            f"{len(pictures.classes) - 1}, or a class's name."
        )
    return value
