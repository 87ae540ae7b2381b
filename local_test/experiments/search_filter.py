"""Search expressions: filters on properties by dotted name, nested filters on one item of a list, And and Or.

A property's name is a path through members, keys of maps (which may contain dots) and lists, where any item may match:
 `Parameters.batch-size`, `Parents.TrialName`. `Tags.<key>` is a tag's value, `Metrics.<name>.<statistic>` a trial
component's metric, `Metrics.<name>` a training job's.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.model import Shape

from local_test.errors import BadRequest
from local_test.util.numbers import number

Entity = Mapping[str, Any]
_BY_KEY = {"Metrics": {"Metrics", "FinalMetricDataList"}, "Tags": {"Tags"}}  # found by name in one of these members
_LIMIT = 20  # filters, nested filters and expressions in one, on the service


def with_known_names(expression: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """The expression with each property's name as the model has it. BadRequest for one that no entity of this shape can
    have: it would find nothing, or everything."""

    def known(prefix: str, conditions: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        names = [
            one["Name"] if one["Name"].lower().startswith(prefix.lower()) else prefix + one["Name"]
            for one in conditions
        ]
        return [{**one, "Name": known_name(name, shape)} for one, name in zip(conditions, names, strict=True)]

    nested = [
        (known_name(one["NestedPropertyName"], shape), one["Filters"]) for one in expression.get("NestedFilters", [])
    ]
    return {
        **expression,
        "Filters": known("", expression.get("Filters", [])),
        "NestedFilters": [{"NestedPropertyName": name, "Filters": known(f"{name}.", inner)} for name, inner in nested],
        "SubExpressions": [with_known_names(inner, shape) for inner in expression.get("SubExpressions", [])],
    }


def known_name(name: str, shape: Shape) -> str:
    """Members may be written in any case, as in AWS's examples (`metrics.test:accuracy.max`); keys of maps may not."""
    word, dot, rest = name.partition(".")
    for begin, members in _BY_KEY.items():
        if dot and word.lower() == begin.lower() and members & set(shape.members):
            return f"{begin}.{rest}"
    if (found := _find_name(name, shape)) is None:
        raise BadRequest(f"Unknown property name: {name}. Members of {shape.name}: {', '.join(shape.members)}")
    return found


def _find_name(name: str, shape: Shape) -> str | None:
    if shape.type_name == "list":
        return _find_name(name, shape.member)
    if shape.type_name != "structure":
        return name if shape.type_name == "map" else None
    for member, inner in shape.members.items():
        if name.lower() == member.lower():
            return member
        if name.lower().startswith(f"{member.lower()}."):
            rest = _find_name(name[len(member) + 1 :], inner)
            if rest is not None:
                return f"{member}.{rest}"
    return None


def matches(entity: Entity, expression: Mapping[str, Any]) -> bool:
    """Whether the entity fulfils the SearchExpression; an empty one holds. BadRequest for too many conditions."""
    filters = expression.get("Filters", [])
    nested = expression.get("NestedFilters", [])
    inner = expression.get("SubExpressions", [])
    if len(filters) + len(nested) + len(inner) > _LIMIT:
        raise BadRequest(
            f"A search expression has at most {_LIMIT} conditions. Received: {len(filters + nested + inner)}"
        )
    found = [
        *(passes(entity, condition) for condition in filters),
        *(_nested(entity, condition) for condition in nested),
        *(matches(entity, condition) for condition in inner),
    ]
    return not found or (any(found) if expression.get("Operator") == "Or" else all(found))


def _nested(entity: Entity, condition: Mapping[str, Any]) -> bool:
    """Whether all filters hold for one item of the list; their names begin with the list's, as on the service."""
    prefix = condition["NestedPropertyName"]
    filters = [{**inner, "Name": inner["Name"].removeprefix(f"{prefix}.")} for inner in condition["Filters"]]
    items = [item for value in values(entity, prefix) for item in (value if isinstance(value, list) else [value])]
    return any(all(passes({"": item}, {**inner, "Name": f".{inner['Name']}"}) for inner in filters) for item in items)


def passes(entity: Entity, condition: Mapping[str, Any]) -> bool:
    """Whether one filter holds. BadRequest for an operator without its value, or a value that it can't take."""
    operator, wanted = condition.get("Operator", "Equals"), condition.get("Value")
    found = list(values(entity, condition["Name"]))
    if operator in ("Exists", "NotExists"):
        if wanted is not None:
            raise BadRequest(f"The operator {operator} takes no Value. Received: {wanted}")
        return bool(found) == (operator == "Exists")
    if wanted is None:
        raise BadRequest(f"The operator {operator} needs a Value. Received: {dict(condition)}")
    if operator == "NotEquals":
        return not any(_compare(value, wanted, "Equals") for value in found)
    return any(_compare(value, wanted, operator) for value in found)


_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": lambda value, wanted: value == wanted,
    "GreaterThan": lambda value, wanted: value > wanted,
    "GreaterThanOrEqualTo": lambda value, wanted: value >= wanted,
    "LessThan": lambda value, wanted: value < wanted,
    "LessThanOrEqualTo": lambda value, wanted: value <= wanted,
}


def _compare(value: Any, wanted: str, operator: str) -> bool:
    if isinstance(value, list):
        return any(_compare(item, wanted, "Equals" if operator == "Contains" else operator) for item in value)
    if operator == "Contains":
        return isinstance(value, str) and wanted in value
    if operator == "In":
        return any(_compare(value, item.strip(), "Equals") for item in wanted.split(","))
    if isinstance(value, (bool, datetime)):
        return _ORDER[operator](value, _parse_like(wanted, value))
    if operator == "Equals" and isinstance(value, str):
        return value == wanted
    limit = number(wanted)
    if limit is None and operator != "Equals":
        raise BadRequest(f"{operator} is for numbers and times. Received: {wanted}")
    found = number(value) if isinstance(value, str) else value
    return limit is not None and found is not None and _ORDER[operator](_like(found, wanted, value), limit)


def _like(found: float, wanted: str, value: Any) -> float:
    """A hyperparameter, which is text, is cut to a whole number where the filter's value is one (API reference)."""
    whole = isinstance(value, str) and math.isfinite(found) and wanted.strip().lstrip("+-").isdecimal()
    return math.trunc(found) if whole else found


def _parse_like(wanted: str, like: bool | datetime) -> bool | datetime:
    """A filter's value in the type of the property that it is compared with."""
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False}[wanted.lower()]
        time = datetime.fromisoformat(wanted)
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    except (KeyError, ValueError):
        kind = "true or false" if isinstance(like, bool) else "a time as in 2026-01-31T12:00:00Z"
        raise BadRequest(f"The property is compared with {kind}. Received: {wanted}") from None


def values(entity: Any, name: str) -> Iterator[Any]:
    """All values of the property of that name."""
    if isinstance(entity, Mapping):
        if name.startswith("Metrics."):
            yield from _metrics(entity, name.removeprefix("Metrics."))
        if name.startswith("Tags."):
            yield from (tag["Value"] for tag in entity.get("Tags", []) if tag["Key"] == name.removeprefix("Tags."))
            return
        for key, value in entity.items():
            if key == name:
                yield _unwrap(value)
            elif name.startswith(f"{key}."):
                yield from values(value, name[len(key) + 1 :])
    elif isinstance(entity, list):
        for item in entity:
            yield from values(item, name)


def _metrics(entity: Entity, name: str) -> Iterator[float]:
    for metric in entity.get("Metrics", []):
        metric_name, _, statistic = name.rpartition(".")
        found = {key.lower(): value for key, value in metric.items()}
        if metric["MetricName"] == metric_name and isinstance(found.get(statistic.lower()), (int, float)):
            yield found[statistic.lower()]
    for metric in entity.get("FinalMetricDataList", []):
        if metric["MetricName"] == name:
            yield metric["Value"]


def _unwrap(value: Any) -> Any:
    """The number or text of a trial component's parameter; any other value as it is."""
    if isinstance(value, Mapping) and len(value) == 1:
        for name in ("NumberValue", "StringValue"):
            if name in value:
                return value[name]
    return value


def sort_key(name: str, identity: str) -> Callable[[Entity], tuple[Any, ...]]:
    """Sorts by a property, then by `identity`, the member with the entity's name; without the property, first."""

    def key(entity: Entity) -> tuple[Any, ...]:
        value = next(values(entity, name), None)
        if isinstance(value, datetime):
            value = value.timestamp()
        rank = 0 if value is None else 1 if isinstance(value, (int, float)) else 2
        return (rank, *(() if value is None else (value if rank == 1 else str(value),)), entity[identity])

    return key
