"""Conditions of a condition step: whether they are well-formed, and whether they hold."""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local_test.errors import BadRequest
from local_test.pipelines.expressions import Scope, resolve

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "Equals": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
}
_MEMBERS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(_ORDER, frozenset({"LeftValue", "RightValue"})),
    "In": frozenset({"QueryValue", "Values"}),
    "Not": frozenset({"Condition"}),
    "Or": frozenset({"Conditions"}),
}
_KINDS = {"integer": "number", "long": "number", "float": "number", "double": "number", "string": "text"}

TypeOf = Callable[[Any], str | None]  # a value, which may be an expression → its type, None if that is not known yet


def check_conditions(conditions: Any, type_of: TypeOf) -> None:
    """BadRequest for a condition that isn't well-formed, or that compares what can't be compared."""
    if not isinstance(conditions, list) or not conditions:
        raise BadRequest(f"Conditions must be a list of at least one condition. Received: {conditions!r:.200}")
    for condition in conditions:
        _check(condition, type_of)


def _check(condition: Any, type_of: TypeOf) -> None:
    kind = condition.get("Type") if isinstance(condition, Mapping) else None
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise BadRequest(f"There is no such condition. Received: {condition!r:.200}. Known: {', '.join(_MEMBERS)}")
    members = _MEMBERS[kind]
    if condition.keys() != members | {"Type"}:
        expected, received = ", ".join(sorted(members)), ", ".join(sorted(map(str, condition.keys() - {"Type"})))
        raise BadRequest(f"A condition of type {kind} has the members {expected}. Received: {received:.200}")
    if kind == "Not":
        _check(condition["Condition"], type_of)
    elif kind == "Or":
        check_conditions(condition["Conditions"], type_of)
    else:
        for left, right in _pairs(condition):
            _check_types(kind, _kind(type_of(left)), _kind(type_of(right)))


def _pairs(condition: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The values that are compared with each other."""
    if condition["Type"] != "In":
        yield condition["LeftValue"], condition["RightValue"]
        return
    values = condition["Values"]
    if not isinstance(values, list):
        raise BadRequest(f"Values of a condition of type In must be a list. Received: {values!r:.200}")
    for value in values:
        yield condition["QueryValue"], value


def _kind(name: str | None) -> str | None:
    return _KINDS.get(name, name) if name else None


def _check_types(condition: str, left: str | None, right: str | None) -> None:
    """None: not known yet."""
    kinds = ("number", "text", "boolean") if condition in ("Equals", "In") else ("number", "text")
    for kind in (left, right):
        if kind not in (None, *kinds):
            raise BadRequest(f"A condition of type {condition} takes no {kind}. Expected: {', '.join(kinds)}")
    if left and right and left != right:
        raise BadRequest(f"A condition of type {condition} can't compare a {left} with a {right}")


def hold(conditions: Any, scope: Scope) -> bool:
    """Whether all of them hold. BadRequest if a value is missing, or can't be compared with the other."""
    return all(_holds(condition, scope) for condition in conditions)


def _holds(condition: Mapping[str, Any], scope: Scope) -> bool:
    kind = condition["Type"]
    if kind == "Not":
        return not _holds(condition["Condition"], scope)
    if kind == "Or":
        return any(_holds(one, scope) for one in condition["Conditions"])
    return any(_compare(kind, resolve(left, scope), resolve(right, scope)) for left, right in _pairs(condition))


def _compare(kind: str, left: Any, right: Any) -> bool:
    try:
        _check_types(kind, _kind(json_type(left)), _kind(json_type(right)))
    except BadRequest as error:
        raise BadRequest(f"{error}. Received: {left!r:.200} and {right!r:.200}") from None
    return _ORDER[kind if kind in _ORDER else "Equals"](left, right)


def json_type(value: Any) -> str:
    """As the service's model names it."""
    for types, name in ((bool, "boolean"), (int, "integer"), (float, "float"), (str, "string"), (list, "list")):
        if isinstance(value, types):
            return name
    return "null" if value is None else "structure"
