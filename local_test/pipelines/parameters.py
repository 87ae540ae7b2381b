"""Parameters: their declarations, and the values that an execution is started with."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from local_test.errors import BadRequest
from local_test.pipelines.definition import Parameter, ParameterType, Value

_TYPES: Mapping[str, tuple[type, ...]] = {
    "String": (str,),
    "Integer": (int,),
    "Float": (int, float),
    "Boolean": (bool,),
}
_MEMBERS = frozenset({"Name", "Type", "DefaultValue", "EnumValues", "Description"})
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST = 4096  # characters of a String, by the published schema
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")


def read_parameter(value: Any) -> Parameter:
    """A parameter's declaration. BadRequest names what is wrong with it."""
    if not isinstance(value, Mapping):
        raise BadRequest(f"A parameter is an object. Received: {value!r:.200}")
    name, kind = value.get("Name"), value.get("Type", "String")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadRequest(f"A parameter's Name has 1 to 64 letters, digits, - and _. Received: {name!r:.200}")
    if unknown := value.keys() - _MEMBERS:
        raise BadRequest(f"Parameter {name} has an unknown member {min(map(str, unknown))!r:.200}")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise BadRequest(f"Parameter {name}: unknown Type. Received: {kind!r:.200}. Known: {', '.join(_TYPES)}")
    enum = value.get("EnumValues") or []
    if not isinstance(enum, list) or not all(isinstance(one, str) for one in enum) or (enum and kind != "String"):
        raise BadRequest(
            f"Parameter {name}: EnumValues is a list of texts, for a String alone. Received: {enum!r:.200}"
        )
    parameter = Parameter(name, cast("ParameterType", kind), value.get("DefaultValue"), tuple(enum))
    if parameter.default is not None:
        _check_value(parameter, parameter.default, "DefaultValue")
    return parameter


def _check_value(parameter: Parameter, value: Any, what: str) -> None:
    where = f"Parameter {parameter.name}: {what}"
    is_bool = isinstance(value, bool)
    if not isinstance(value, _TYPES[parameter.type]) or is_bool != (parameter.type == "Boolean"):
        raise BadRequest(f"{where} must be of type {parameter.type}. Received: {value!r:.200}")
    if isinstance(value, str) and len(value) > _LONGEST:
        raise BadRequest(f"{where} is longer than {_LONGEST} characters")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise BadRequest(f"{where} must be a number of 64 bits. Received: {value!r:.200}")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequest(f"{where} must be a finite number. Received: {value!r}")
    if parameter.enum_values and value not in parameter.enum_values:
        raise BadRequest(f"{where} must be one of {', '.join(parameter.enum_values)}. Received: {value!r:.200}")


def parse_values(parameters: Iterable[Parameter], texts: Mapping[str, str]) -> dict[str, Value]:
    """The value of every parameter: from its text, as StartPipelineExecution has it, or its default. BadRequest for a
    name that there is not, a text that is no value, and a parameter without one."""
    declared = {parameter.name: parameter for parameter in parameters}
    if unknown := [name for name in texts if name not in declared]:
        known = ", ".join(declared) or "none"
        raise BadRequest(f"Invalid parameter: the pipeline has no {', '.join(unknown)}. It has: {known}")
    missing = [one.name for one in declared.values() if one.default is None and one.name not in texts]
    if missing:
        raise BadRequest(f"Missing parameters: {', '.join(missing)} have no default, so give values for them")
    return {
        name: parse_value(one, texts[name]) if name in texts else cast("Value", one.default)
        for name, one in declared.items()
    }


def parse_value(parameter: Parameter, text: str) -> Value:
    """BadRequest for a text that is no value of the parameter's type."""
    value: Any = text
    if parameter.type == "Boolean":
        value = {"true": True, "false": False}.get(text.lower(), text)
    elif parameter.type == "Integer" and _INTEGER.fullmatch(text):
        value = int(text)
    elif parameter.type == "Float":
        try:
            value = float(text)
        except ValueError:
            value = text
    _check_value(parameter, value, "the value")
    return cast("Value", value)
