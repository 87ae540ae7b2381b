"""JSON 1.1 as the service speaks it: timestamps are epoch numbers, errors HTTP 400 {"__type": …, "message": …}."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.model import Shape

from local_test.errors import BadRequest, LocalTestError
from local_test.util.strict_json import parse_json

CONTENT_TYPE = "application/x-amz-json-1.1"


class BadBody(LocalTestError):  # noqa: N818 - named as the service's clients know it
    """The body is not a JSON object."""

    code = "SerializationException"


@dataclass(frozen=True)
class Answer:
    """An HTTP response; `error`: the exception's name, which goes into a header, too."""

    status: int
    body: bytes
    content_type: str = CONTENT_TYPE
    error: str = ""


def decode(body: bytes) -> dict[str, Any]:
    """The request; an empty body is a request without members. BadBody for what no client's JSON holds."""
    try:
        request = parse_json(body or b"{}", "The body")
    except BadRequest as error:
        raise BadBody(str(error)) from None
    if not isinstance(request, dict):
        raise BadBody(f"The body must be a JSON object. Received: {type(request).__name__}")
    return request


def answer(response: Mapping[str, Any] | None, shape: Shape | None) -> Answer:
    """A success: the members that the operation's output has, or an empty body if it has none."""
    if shape is None:
        return Answer(200, b"")
    known = {name: value for name, value in (response or {}).items() if name in shape.members}
    return Answer(200, json.dumps(known, default=_epoch, allow_nan=False).encode())


def refusal(code: str, message: str, status: int = 400) -> Answer:
    """An error in the service's form."""
    return Answer(status, json.dumps({"__type": code, "message": message}).encode(), error=code)


def _epoch(value: Any) -> float:
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    raise TypeError(f"{value!r} has no place in an answer")
