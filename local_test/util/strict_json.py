"""JSON as clients of the service write it: what Python's own reader takes besides is refused."""

import base64
import json
from typing import Any, NoReturn

from local_test.errors import BadRequest

_DEEPEST = 100  # levels; the deepest request has 12, a pipeline's definition has expressions and branches around those


def parse_json(text: str | bytes, what: str) -> Any:
    """The value. BadRequest, a line that begins with `what`, for what is no JSON, or could not be kept as text."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"{what} has half of a surrogate pair, which is no text. Received: {error.object!a:.200}"
        ) from None
    except ValueError as error:
        raise BadRequest(f"{what} is not JSON: {error}") from None
    except RecursionError:
        raise _too_deep(what) from None
    level, items = 0, [value]
    while items := [item for item in items if isinstance(item, dict | list)]:
        if level == _DEEPEST:
            raise _too_deep(what)
        level += 1
        items = [inner for item in items for inner in (item.values() if isinstance(item, dict) else item)]
    return value


def _too_deep(what: str) -> BadRequest:
    return BadRequest(f"{what} is nested too deeply. Expected: at most {_DEEPEST} levels")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def write_token(values: list[Any]) -> str:
    """For a client to give back: where the next page of a list begins."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def read_token(token: str) -> list[Any]:
    """What such a token holds. BadRequest for one that `write_token` has not written."""
    try:
        found = parse_json(base64.urlsafe_b64decode(token), "The token")
    except (ValueError, BadRequest):
        found = None
    if not isinstance(found, list):
        raise bad_token(token)
    return found


def bad_token(token: str) -> BadRequest:
    return BadRequest(
        f"Invalid NextToken. Received: {token:.100}. Expected the one of the page before, order unchanged"
    )
