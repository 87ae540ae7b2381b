"""A request against botocore's own model of the service: type, required, min, max, pattern, enum, unknown members.

botocore's ParamValidator stops short of max, pattern and enum, which the service itself checks; so the model is walked
here. The wording is the service's ("1 validation error detected: Value '…' at '…' failed to satisfy constraint: …").
The one extension: an S3 URI may be a file:// URI, which is how local folders enter a request.
"""

import difflib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape

from local_test.errors import BadRequest
from local_test.util.atomic_files import FILE_SCHEME
from local_test.util.threads import cached_once

_TYPES: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list, tuple),
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (float, int),
    "double": (float, int),
    "boolean": (bool,),
    "timestamp": (int, float, datetime),  # JSON 1.1: epoch seconds; a description has datetimes
}
# what JSON holds besides, and neither the service nor Python's times and floats do; a time is in seconds
_RANGES: Mapping[str, tuple[float, float]] = {
    "integer": (-(1 << 31), (1 << 31) - 1),
    "long": (-(1 << 63), (1 << 63) - 1),
    **dict.fromkeys(("float", "double"), (-sys.float_info.max, sys.float_info.max)),
    "timestamp": (-62135596800, 253402300799),  # of the years 1 to 9999
}
# what Java's regular expressions have and Python lacks, widened where Python has no equal
_JAVA = {
    r"\p{Alnum}": "A-Za-z0-9",
    **dict.fromkeys((r"\p{L}", r"\p{M}"), r"\w"),
    **dict.fromkeys((r"\p{P}", r"\p{S}"), r"\W"),
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",  # pairs of surrogates
    **dict.fromkeys((")${1,128}", ")${1,256}"), ")"),  # an end, repeated; the shape has the lengths
}

_TOLD = 1000  # characters of a value
_SHOWN = 10  # problems of a request: an empty skeleton of the AWS CLI has 60
_NUMBERS = ("float", "double", "string")
# types of a value → the shapes that it may be a value of, where that is more than its own
_FITS: Mapping[str | None, tuple[str, ...]] = {
    "integer": ("integer", "long", *_NUMBERS),
    "long": ("integer", "long", *_NUMBERS),
    "float": _NUMBERS,
    "double": _NUMBERS,
    "boolean": ("boolean", "string"),
}


@dataclass(frozen=True)
class Unknown:
    """Stands in a request for a value that is known only later: it has a type, and no other constraint to fail.

    `type`: integer, float, string, boolean, structure, list, …, as in the service's model; None: any. A number or a
    boolean may stand for a text."""

    text: str
    type: str | None = None

    def __str__(self) -> str:
        return self.text

    def fits(self, shape: Shape) -> bool:
        """Whether it may be a value of that shape."""
        return self.type is None or shape.type_name in _FITS.get(self.type, (self.type,))


@cached_once
def service_model(service: str = "sagemaker") -> ServiceModel:
    """botocore's model of SageMaker, or of the part of it that is a service of its own; read from disk once, never
    changed."""
    return botocore.session.Session().get_service_model(service)


def validate(request: Any, operation: str = "CreateTrainingJob", service: str = "sagemaker") -> None:
    """Raise BadRequest with the constraints of the operation's input that `request` fails, in one line."""
    problems = list(_check(request, service_model(service).operation_model(operation).input_shape, ""))
    if problems:
        plural, more = "" if len(problems) == 1 else "s", len(problems) - _SHOWN
        shown = [*problems[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]
        raise BadRequest(f"{len(problems)} validation error{plural} detected: {'; '.join(shown)}")


def _check(value: Any, shape: Shape, at: str) -> Iterator[str]:
    if isinstance(value, Unknown):
        yield from () if value.fits(shape) else [_describe_type(value, shape, at, str(value.type))]
        return
    types = _TYPES.get(shape.type_name)
    if types and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
        yield _describe_type(value, shape, at, _json_type(value))
        return
    if shape.type_name == "structure":
        yield from _check_structure(value, shape, at)
    elif shape.type_name == "map":
        yield from _check_size(len(value), value, shape, at, "length")
        for key, item in value.items():
            yield from _check(key, shape.key, f"{at}.key")
            yield from _check(item, shape.value, f"{at}.{key}")
    elif shape.type_name == "list":
        yield from _check_list(value, shape, at)
    elif shape.type_name == "string":
        yield from _check_string(value, shape, at)
    elif shape.type_name in _RANGES and not isinstance(value, datetime):
        low, high = _RANGES[shape.type_name]
        if not low <= value <= high:
            yield _describe_failure(value, at, f"Member must be {_with_article(shape.type_name)} from {low} to {high}")
        yield from _check_size(value, value, shape, at, "value")


def _check_list(value: Sequence[Any], shape: Shape, at: str) -> Iterator[str]:
    yield from _check_size(len(value), value, shape, at, "length")
    for index, item in enumerate(value, 1):
        yield from _check(item, shape.member, f"{at}.{index}.member")
    if shape.name == "TagList":
        yield from _check_tags(value)


def _describe_type(value: Any, shape: Shape, at: str, received: str) -> str:
    return _describe_failure(value, at, f"Member must be {_with_article(shape.type_name)}, not {received}")


def _check_structure(value: Mapping[str, Any], shape: Shape, at: str) -> Iterator[str]:
    for name in shape.required_members:
        if name not in value:
            yield _describe_failure(None, _join(at, name), "Member must not be null")
    for name, item in value.items():
        if name in shape.members:
            yield from _check(item, shape.members[name], _join(at, name))
    near = {name: difflib.get_close_matches(str(name), shape.members, 1) for name in value if name not in shape.members}
    for name, found in near.items():
        if found:
            yield f"Unknown member '{name}' in '{at or 'request'}': did you mean {found[0]}?"
    if unknown := [f"'{name}'" for name, found in near.items() if not found]:
        members = f"Unknown member{'' if len(unknown) == 1 else 's'} {', '.join(unknown)}"
        yield f"{members} in '{at or 'request'}': known members: {', '.join(shape.members)}"


def _check_tags(tags: Sequence[Any]) -> Iterator[str]:
    """In the service's words."""
    keys = Counter(str(tag.get("Key")) for tag in tags if isinstance(tag, Mapping))
    yield from (f"Duplicate tag key. Received: {key}" for key, times in keys.items() if times > 1)
    own = (key for key in keys if key.lower().startswith("aws:"))
    yield from (f"aws: prefixed tag key names are not allowed for external use. Received: {key}" for key in own)


def _check_string(value: str, shape: Shape, at: str) -> Iterator[str]:
    yield from _check_size(len(value), value, shape, at, "length")
    if "\0" in value:  # no name of a file, no argument and no variable of a process can hold one
        yield _describe_failure(value.replace("\0", "\\0"), at, "Member must not contain the character U+0000")
        return
    limits = shape.metadata
    if "enum" in limits and value not in limits["enum"]:
        yield _describe_failure(value, at, f"Member must satisfy enum value set: [{', '.join(limits['enum'])}]")
    pattern = limits.get("pattern")
    local = shape.name == "S3Uri" and value.startswith(f"{FILE_SCHEME}/")
    if pattern and not local and not _compile(pattern).fullmatch(value):
        yield _describe_failure(value, at, f"Member must satisfy regular expression pattern: {pattern}")


def _check_size(size: float, value: Any, shape: Shape, at: str, what: str) -> Iterator[str]:
    limits = shape.metadata
    if "min" in limits and size < limits["min"]:
        yield _describe_failure(value, at, f"Member must have {what} greater than or equal to {limits['min']}")
    if "max" in limits and size > limits["max"]:
        yield _describe_failure(value, at, f"Member must have {what} less than or equal to {limits['max']}")


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    for java, python in _JAVA.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern)


def _describe_failure(value: Any, at: str, constraint: str) -> str:
    text = str(value)
    received = "null" if value is None else f"'{text}'" if len(text) <= _TOLD else f"'{text[:_TOLD]}…'"
    return f"Value {received} at '{at or 'request'}' failed to satisfy constraint: {constraint}"


def _join(at: str, name: str) -> str:
    """The service writes members as trainingJobName, inputDataConfig.1.member.channelName."""
    name = name[:1].lower() + name[1:]
    return f"{at}.{name}" if at else name


def _json_type(value: Any) -> str:
    names = {dict: "structure", list: "list", str: "string", bool: "boolean", int: "integer", float: "double"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _with_article(noun: str) -> str:
    return f"{'an' if noun.startswith('i') else 'a'} {noun}"
