"""FilterLogEvents of CloudWatch Logs over moto's log streams: moto itself ignores a prefix of streams' names, gives one
stream after the other, and every line for a pattern that it doesn't know."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from moto.logs.models import logs_backends

from local_test.errors import BadRequest, LocalTestError
from local_test.util.arns import ACCOUNT
from local_test.util.strict_json import read_token, write_token

SERVICE, OPERATION = "logs", "FilterLogEvents"
_MOST = 10_000  # events of an answer
_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))\s*')

Key = tuple[float, str, int]  # time, stream, place in it


class InvalidParameter(LocalTestError):  # noqa: N818 - named as the service's clients know it
    """A request that Logs refuses."""

    code = "InvalidParameterException"


class NoLogGroup(LocalTestError):  # noqa: N818
    """In the service's words."""

    code = "ResourceNotFoundException"

    def __init__(self) -> None:
        super().__init__("The specified log group does not exist.")


def filter_log_events(region: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The events of all streams that are asked for, in the order of their times."""
    streams = _find_streams(request, region)
    matches = _read_pattern(request.get("filterPattern", ""))
    start, end = request.get("startTime", 0), request.get("endTime", float("inf"))
    after = _read_token(request["nextToken"]) if "nextToken" in request else (-1.0, "", 0)
    found: list[tuple[Key, Any]] = sorted(
        (
            ((event.timestamp, name, place), event)
            for name, stream in streams.items()
            for place, event in enumerate(list(stream.events))
            if start <= event.timestamp <= end and matches(event.message)
        ),
        key=lambda item: item[0],
    )
    left = [item for item in found if item[0] > after]
    on_page = left[: request.get("limit", _MOST)]
    return {
        "events": [{**event.to_filter_dict(), "logStreamName": key[1]} for key, event in on_page],
        "searchedLogStreams": [],  # as the service answers today
        **({"nextToken": write_token(list(on_page[-1][0]))} if len(left) > len(on_page) else {}),
    }


def _find_streams(request: Mapping[str, Any], region: str) -> dict[str, Any]:
    named = request.get("logGroupName") or request.get("logGroupIdentifier", "").rpartition(":log-group:")[2]
    group = logs_backends[ACCOUNT][region].groups.get(named.removesuffix(":*"))
    if group is None:
        raise NoLogGroup
    prefix, names = request.get("logStreamNamePrefix", ""), request.get("logStreamNames")
    if prefix and names:
        raise InvalidParameter("Only one of logStreamNames and logStreamNamePrefix can be given")
    streams = dict(group.streams)
    return {name: streams[name] for name in names or streams if name in streams and name.startswith(prefix)}


def _read_pattern(pattern: str) -> Callable[[str], bool]:
    """Whether a line has all terms, none of those after -, and one of those after ? if there are no others."""
    if pattern.strip()[:1] in ("{", "[", "%"):
        raise InvalidParameter(
            f'Only terms are filtered by locally (ERROR, "two words", ?a ?b, -c). Received: {pattern}'
        )
    terms: dict[str, list[str]] = {"": [], "?": [], "-": []}
    for kind, term in _split_terms(pattern.strip()):
        terms[kind].append(term)

    def matches(line: str) -> bool:
        if any(term in line for term in terms["-"]):
            return False
        if terms[""]:
            return all(term in line for term in terms[""])
        return not terms["?"] or any(term in line for term in terms["?"])

    return matches


def _split_terms(pattern: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(pattern):
        found = _TERM.match(pattern, at)
        if not found:
            raise InvalidParameter(f"Invalid filter pattern. Received: {pattern}")
        kind, quoted, plain = found.groups()
        if plain and not re.fullmatch(r"\w+", plain):  # in the service's words
            raise InvalidParameter(f"Invalid character(s) in term '{plain}'. Put it into double quotes")
        yield kind, plain or re.sub(r"\\(.)", r"\1", quoted)
        at = found.end()


def _read_token(token: str) -> Key:
    try:
        time, stream, place = read_token(token)
        return float(time), str(stream), int(place)
    except (BadRequest, ValueError, TypeError, OverflowError):
        raise InvalidParameter(f"The specified nextToken is invalid. Received: {token:.100}") from None
