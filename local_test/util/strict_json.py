"""JSON as clients of the service write it: what Python's own reader takes besides is refused."""

import json
from typing import Any, NoReturn

from local_test.errors import BadRequest


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
        raise BadRequest(f"{what} is nested too deeply") from None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
