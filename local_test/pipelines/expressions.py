"""Expressions of a definition: {"Get": …}, {"Std:Join": …} and {"Std:JsonGet": …}, which have a value while it runs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, cast

from local_test.errors import BadRequest

Path = tuple[str | int, ...]  # ("ProcessingOutputConfig", "Outputs", "train", "S3Output") or ("Summaries", 0, "Name")
Kind = Literal["Parameters", "Execution", "PipelineExperimentConfig", "Steps"]

GET, JOIN, JSON_GET = "Get", "Std:Join", "Std:JsonGet"
PROPERTY_FILES = "PropertyFiles"
_PREFIXES = ("Parameters", "Execution", "PipelineExperimentConfig", "Steps")
_NAME = r"[A-Za-z0-9_-]+"
_MOST = 1 << 22  # characters and values that a step's arguments may have: many times what any operation takes
# a member, [0], ['key'] or ["key"]
_PART = re.compile(
    r"""\.(?P<member>[A-Za-z0-9_:-]+)|\[(?P<index>\d{1,9})\]|\['(?P<key>[^']*)'\]|\["(?P<text>[^"]*)"\]"""
)


class Scope(Protocol):
    """What an execution knows. Each method raises BadRequest, one line, if it has no value."""

    def parameter(self, name: str) -> Any:
        """The value of a parameter in this execution."""

    def execution_variable(self, name: str) -> Any:
        """StartDateTime, CurrentDateTime, PipelineName, PipelineArn, PipelineExecutionId, PipelineExecutionArn, …"""

    def experiment_config(self, name: str) -> Any:
        """ExperimentName or TrialName of PipelineExperimentConfig."""

    def step_property(self, step: str, path: Path) -> Any:
        """What a step's description has at that path; a condition has Outcome, a callback OutputParameters."""

    def property_file(self, step: str, name: str) -> Any:
        """The parsed JSON of a property file."""

    def json_object(self, s3_uri: str) -> Any:
        """The parsed JSON of an object in S3."""


@dataclass(frozen=True)
class Reference:
    """A `Get`: a parameter, a variable, or a step's property at `path`."""

    kind: Kind
    name: str
    path: Path = ()

    @property
    def property_file(self) -> str | None:
        """The name in Steps.A.PropertyFiles.NAME."""
        return str(self.path[1]) if len(self.path) == 2 and self.path[0] == PROPERTY_FILES else None


def read_reference(text: Any) -> Reference:
    """The reference that a Get holds. BadRequest if it has no such form."""
    if isinstance(text, str):
        kind, _, rest = text.partition(".")
        found = re.match(_NAME, rest)
        if kind in _PREFIXES and found:
            path = _read_parts(rest[found.end() :])
            if path is not None and (kind == "Steps" or not path):
                return Reference(cast("Kind", kind), found[0], path)
    raise BadRequest(
        f"Invalid property reference. Received: {_short(text)}. Expected: Parameters.NAME, Execution.NAME, "
        "PipelineExperimentConfig.NAME or Steps.NAME.PROPERTY, with [0] and ['key'] after a property"
    )


def read_json_path(text: Any) -> Path:
    """The path of a JsonGet: a.b[0]['c'], with or without $ before it. BadRequest for a wildcard, a slice, a filter."""
    if isinstance(text, str):
        rest = text.removeprefix("$")
        path = _read_parts(rest if not rest or rest[0] in ".[" else f".{rest}")
        if path is not None:
            return path
    raise BadRequest(f"Std:JsonGet knows paths of names and indices. Received: {_short(text)}. Expected: a.b[0]['c']")


def _read_parts(text: str) -> Path | None:
    """None if it is no path."""
    parts: list[str | int] = []
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if not found:
            return None
        kind, part = next((kind, part) for kind, part in found.groupdict().items() if part is not None)
        parts.append(int(part) if kind == "index" else part)
        at = found.end()
    return tuple(parts)


def function_of(value: Any) -> str | None:
    """Get, Std:Join or Std:JsonGet if the value is such an expression. BadRequest for an unknown Std: function."""
    if not isinstance(value, Mapping) or len(value) != 1:
        return None
    (name,) = value
    if name in (GET, JOIN, JSON_GET):
        return str(name)
    if isinstance(name, str) and name.startswith("Std:"):
        raise BadRequest(f"There is no such function. Received: {_short(name)}. Known: {JOIN}, {JSON_GET}")
    return None


@dataclass(frozen=True)
class Join:
    """`values` may be expressions."""

    on: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class JsonGet:
    """`source`: the property file's reference, or S3Uri's value, which may be an expression."""

    path: Path
    source: Any


def read_join(value: Any) -> Join:
    """BadRequest if On or Values isn't what it must be."""
    body = _body(value, JOIN, {"On", "Values"})
    on, values = body.get("On", ""), body.get("Values")
    if not isinstance(on, str) or not isinstance(values, list):
        raise BadRequest(f"{JOIN} needs a text On and a list Values. Received: {_short(body)}")
    return Join(on, tuple(values))


def read_json_get(value: Any) -> JsonGet:
    """BadRequest without a Path, or without exactly one of PropertyFile and S3Uri."""
    body = _body(value, JSON_GET, {"PropertyFile", "S3Uri", "Path"})
    if ("PropertyFile" in body) == ("S3Uri" in body):
        raise BadRequest(f"{JSON_GET} needs one of PropertyFile and S3Uri. Received: {_short(body)}")
    path = read_json_path(body.get("Path"))
    if "S3Uri" in body:
        return JsonGet(path, body["S3Uri"])
    file = body["PropertyFile"]
    reference = read_reference(file[GET]) if function_of(file) == GET else None
    if not reference or not reference.property_file:
        raise BadRequest(
            f'PropertyFile of {JSON_GET} must be {{"Get": "Steps.NAME.PropertyFiles.FILE"}}. Received: {_short(file)}'
        )
    return JsonGet(path, reference)


def _body(value: Any, function: str, members: set[str]) -> Mapping[str, Any]:
    body = value[function]
    if not isinstance(body, Mapping) or not body.keys() <= members:
        raise BadRequest(f"{function} has the members {', '.join(sorted(members))}. Received: {_short(body)}")
    return body


def references(value: Any) -> Iterator[Reference]:
    """Every reference within a value. BadRequest if an expression isn't well-formed."""
    function = function_of(value)
    if function == GET:
        yield read_reference(value[GET])
    elif function == JOIN:
        yield from references(list(read_join(value).values))
    elif function == JSON_GET:
        source = read_json_get(value).source
        yield from [source] if isinstance(source, Reference) else references(source)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolve(value: Any, scope: Scope) -> Any:
    """The value without expressions; maps and lists are copied. BadRequest for what the scope has no value of."""
    function = function_of(value)
    if function == GET:
        return _get(read_reference(value[GET]), scope)
    if function == JOIN:
        join = read_join(value)
        texts: list[str] = []
        left = _MOST
        for item in join.values:
            texts.append(_as_text(resolve(item, scope)))
            left -= len(texts[-1]) + len(join.on)
            if left < 0:
                raise BadRequest(f"{JOIN} makes a text of more than {_MOST} characters")
        return join.on.join(texts)
    if function == JSON_GET:
        return _json_get(read_json_get(value), scope)
    if isinstance(value, Mapping):
        return {key: resolve(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    return value


def check_size(value: Any) -> None:
    """BadRequest for a value without expressions that has more than any request: each expression may stand for
    megabytes, and a definition has room for thousands."""
    left, items = _MOST, [value]
    while items:
        item = items.pop()
        left -= len(item) if isinstance(item, str) else 1
        if left < 0:
            raise BadRequest(f"The step's arguments have more than {_MOST} characters and values")
        if isinstance(item, Mapping):
            items += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            items += item


def _get(reference: Reference, scope: Scope) -> Any:
    if reference.kind == "Parameters":
        return scope.parameter(reference.name)
    if reference.kind == "Execution":
        return scope.execution_variable(reference.name)
    if reference.kind == "PipelineExperimentConfig":
        return scope.experiment_config(reference.name)
    return scope.step_property(reference.name, reference.path)


def _json_get(get: JsonGet, scope: Scope) -> Any:
    if isinstance(get.source, Reference):
        where = f"the property file {get.source.property_file} of step {get.source.name}"
        found = scope.property_file(get.source.name, str(get.source.property_file))
    else:
        where = str(resolve(get.source, scope))
        found = scope.json_object(where)
    for part in get.path:
        is_there = (
            part < len(found)
            if isinstance(found, list) and isinstance(part, int)
            else (isinstance(found, Mapping) and part in found)
        )
        if not is_there:
            raise BadRequest(f"{JSON_GET} finds no {format_path(get.path)} in {where}: {_short(part)} is not there")
        found = found[part]
    return found


def _as_text(value: Any) -> str:
    """As JSON writes it, without a text's quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    raise BadRequest(f"{JOIN} joins texts and numbers. Received: {_short(value)}")


def format_path(path: Path) -> str:
    """As read_json_path takes it."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
