"""A definition's JSON → Definition. `checks` sees to what refers to something else."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from local_test.errors import BadRequest
from local_test.pipelines.definition import CacheConfig, Definition, Experiment, PropertyFile, RetryPolicy, Step
from local_test.pipelines.expressions import function_of, references
from local_test.pipelines.parameters import NAME, read_parameter
from local_test.pipelines.step_types import OUTPUT_PARAMETERS, find_step_type
from local_test.util.strict_json import parse_json

VERSION = "2020-12-01"
LONGEST = 1 << 20  # characters: what DescribePipeline's PipelineDefinition holds
_LONGEST_REASON = 2000  # characters
_TOP = {
    "Version",
    "Metadata",
    "Parameters",
    "PipelineExperimentConfig",
    "Steps",
    "ParallelismConfiguration",
    "MlflowConfig",
}
_EXPERIMENT = {"ExperimentName", "TrialName"}
_TRIGGERS = ("Completed", "Failed", "Stopped", "Any")
EXCEPTIONS = (
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
)
_DEFAULT_ATTEMPTS = 5  # where a policy has neither MaxAttempts nor ExpireAfterMin
# ISO 8601, and what the SDK's docstring has: p30d, T12H. A year has 365 days, a month 30
_DURATION = re.compile(
    r"P?(?:(?P<Y>\d{1,4})Y)?(?:(?P<M>\d{1,4})M)?(?:(?P<W>\d{1,4})W)?(?:(?P<D>\d{1,5})D)?"
    r"(?:T(?:(?P<h>\d{1,6})H)?(?:(?P<m>\d{1,8})M)?(?:(?P<s>\d{1,9})(?:\.\d{1,9})?S)?)?",
    re.IGNORECASE,
)
_SECONDS = {"Y": 365 * 86400, "M": 30 * 86400, "W": 7 * 86400, "D": 86400, "h": 3600, "m": 60, "s": 1}


def refuse(reason: str) -> BadRequest:
    """In the service's words, in one line; `reason` names step and member, and may hold what the definition says."""
    line = " ".join(reason[: 2 * _LONGEST_REASON].splitlines())
    short = line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
    return BadRequest(f"Unable to parse pipeline definition. {short}")


def parse_definition(text: str) -> Definition:
    """The definition that a text holds. BadRequest, one line, for whatever else it may be."""
    value = _load(text)
    try:
        return _read_definition(value)
    except BadRequest as error:
        raise refuse(str(error)) from None


def _load(text: str) -> Any:
    if len(text) > LONGEST:
        raise refuse(f"It has {len(text)} characters. Expected: at most {LONGEST}")
    try:
        return parse_json(text, "It")
    except BadRequest as error:
        raise refuse(str(error)) from None


def _read_definition(value: Any) -> Definition:
    top = _object(value, "The definition")
    _check_members(top, _TOP, "The definition")
    if top.get("MlflowConfig") is not None:
        raise BadRequest(
            "MlflowConfig is not supported locally: no run is sent to MLflow. Leave it out, and give a step's "
            "Environment the variable MLFLOW_TRACKING_URI instead"
        )
    version = top.get("Version", VERSION)
    if version != VERSION:
        raise BadRequest(f"Unknown Version. Received: {version!r:.200}. Expected: {VERSION}")
    steps = _list(top.get("Steps"), "Steps")
    if not steps:
        raise BadRequest("Steps is empty: a pipeline has at least one step")
    return Definition(
        version=VERSION,
        parameters=tuple(read_parameter(one) for one in _list(top.get("Parameters") or [], "Parameters")),
        steps=tuple(_read_step(one) for one in steps),
        experiment=_read_experiment(top.get("PipelineExperimentConfig")),
        metadata=_object(top.get("Metadata") or {}, "Metadata"),
        parallelism=_read_parallelism(top.get("ParallelismConfiguration")),
    )


def _read_experiment(value: Any) -> Experiment | None:
    """null, and a definition without it: no experiment."""
    if value is None:
        return None
    config = _object(value, "PipelineExperimentConfig")
    _check_members(config, _EXPERIMENT, "PipelineExperimentConfig")
    if missing := _EXPERIMENT - config.keys():
        raise BadRequest(f"PipelineExperimentConfig has no {min(missing)}")
    for name in _EXPERIMENT:
        if not isinstance(config[name], str | Mapping):
            raise BadRequest(f"PipelineExperimentConfig.{name} must be a text. Received: {config[name]!r:.200}")
    return Experiment(config["ExperimentName"], config["TrialName"])


def _read_parallelism(value: Any) -> int | None:
    if value is None:
        return None
    most = _object(value, "ParallelismConfiguration").get("MaxParallelExecutionSteps")
    return _number(most, "ParallelismConfiguration.MaxParallelExecutionSteps", 1, 1 << 31, whole=True)


def _read_step(value: Any) -> Step:
    step = _object(value, "A step")
    name = step.get("Name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadRequest(f"A step's Name has 1 to 64 letters, digits, - and _. Received: {name!r:.200}")
    try:
        kind = find_step_type(step.get("Type"))
        _check_members(step, kind.members, "It")
        return _build_step(name, step)
    except BadRequest as error:
        text = str(error)
        raise BadRequest(text if text.startswith("Step ") else f"Step {name}: {text}") from None


def _build_step(name: str, step: Mapping[str, Any]) -> Step:
    arguments = _object(step.get("Arguments", {} if step["Type"] == "Callback" else None), "Arguments")
    if function_of(arguments):
        raise BadRequest(f"Arguments can hold expressions, and not be one. Received: {arguments!r:.200}")
    branches: dict[str, tuple[Step, ...]] = {}
    if step["Type"] == "Condition":
        _check_members(arguments, {"Conditions", "IfSteps", "ElseSteps"}, "Arguments")
        branches = {
            word: tuple(_read_step(one) for one in _list(arguments.get(word) or [], f"Arguments.{word}"))
            for word in ("IfSteps", "ElseSteps")
        }
        arguments = {"Conditions": _list(arguments.get("Conditions"), "Arguments.Conditions")}
    files = tuple(_read_property_file(one) for one in _list(step.get("PropertyFiles") or [], "PropertyFiles"))
    used = [*references(arguments), *(one for file in files for one in references(file.file_path))]
    return Step(
        name=name,
        type=step["Type"],
        arguments=arguments,
        display_name=_text(step.get("DisplayName") or "", "DisplayName"),
        description=_text(step.get("Description") or "", "Description"),
        depends_on=tuple(_read_dependency(one) for one in _list(step.get("DependsOn") or [], "DependsOn")),
        implied=frozenset(one.name for one in used if one.kind == "Steps"),
        cache=_read_cache(step.get("CacheConfig")),
        retry_policies=tuple(_read_retry(one) for one in _list(step.get("RetryPolicies") or [], "RetryPolicies")),
        property_files=files,
        if_steps=branches.get("IfSteps", ()),
        else_steps=branches.get("ElseSteps", ()),
        members=_read_own_members(step),
    )


def _read_own_members(step: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a step of a callback has beside its Arguments."""
    if step["Type"] != "Callback":
        return {}
    queue = step.get("SqsQueueUrl")
    if not isinstance(queue, str | Mapping) or not queue:
        raise BadRequest(f"SqsQueueUrl must be the address of a queue. Received: {queue!r:.200}")
    outputs = _list(step.get(OUTPUT_PARAMETERS) or [], OUTPUT_PARAMETERS)
    for one in outputs:
        output = _object(one, f"An item of {OUTPUT_PARAMETERS}")
        _check_members(output, {"OutputName", "OutputType"}, f"An item of {OUTPUT_PARAMETERS}")
        _text(output.get("OutputName"), f"{OUTPUT_PARAMETERS}.OutputName")
        if output.get("OutputType") not in ("String", "Integer", "Float", "Boolean"):
            raise BadRequest(
                f"Unknown OutputType of {output['OutputName']:.200}. Received: {output.get('OutputType')!r:.200}"
            )
    return {"SqsQueueUrl": queue, OUTPUT_PARAMETERS: outputs}


def _read_dependency(value: Any) -> str:
    """A name; or, as SDK v3 writes it, {"Step": name, "Trigger": outcome}; Completed means what a name alone does."""
    if isinstance(value, Mapping) and value.keys() == {"Step", "Trigger"}:
        if value["Trigger"] in _TRIGGERS[1:]:
            raise BadRequest(
                f"DependsOn with Trigger {value['Trigger']} is not supported locally: a step runs after steps that "
                "succeeded. Name the step alone"
            )
        if value["Trigger"] == _TRIGGERS[0]:
            value = value["Step"]
    return _text(value, "DependsOn")


def _read_cache(value: Any) -> CacheConfig | None:
    if value is None:
        return None
    config = _object(value, "CacheConfig")
    _check_members(config, {"Enabled", "ExpireAfter"}, "CacheConfig")
    enabled, expire = config.get("Enabled"), config.get("ExpireAfter")
    if not isinstance(enabled, bool):
        raise BadRequest(f"CacheConfig.Enabled must be a boolean. Received: {enabled!r:.200}")
    return CacheConfig(enabled, None if expire is None else read_duration(expire))


def read_duration(value: Any) -> timedelta:
    """An ISO 8601 duration, such as P30D or P4DT12H. BadRequest for anything else."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    parts = {unit: int(number) for unit, number in found.groupdict().items() if number} if found else {}
    if not parts:
        raise BadRequest(f"ExpireAfter must be an ISO 8601 duration, such as P30D or PT12H. Received: {value!r:.200}")
    return timedelta(seconds=sum(number * _SECONDS[unit] for unit, number in parts.items()))


def _read_retry(value: Any) -> RetryPolicy:
    policy = _object(value, "An item of RetryPolicies")
    _check_members(
        policy, {"ExceptionType", "IntervalSeconds", "BackoffRate", "MaxAttempts", "ExpireAfterMin"}, "RetryPolicies"
    )
    kinds = policy.get("ExceptionType")
    exceptions: list[Any] = kinds if isinstance(kinds, list) else [kinds]
    if not exceptions or any(one not in EXCEPTIONS for one in exceptions):
        raise BadRequest(
            f"Unknown ExceptionType in RetryPolicies. Received: {kinds!r:.200}. Known: {', '.join(EXCEPTIONS)}"
        )
    attempts, minutes = policy.get("MaxAttempts"), policy.get("ExpireAfterMin")
    if attempts is not None and minutes is not None:
        raise BadRequest("A retry policy has MaxAttempts or ExpireAfterMin, not both")
    if attempts is None and minutes is None:
        attempts = _DEFAULT_ATTEMPTS
    return RetryPolicy(
        tuple(exceptions),
        _number(policy.get("IntervalSeconds", 1), "IntervalSeconds", 0, 43200),
        _number(policy.get("BackoffRate", 2.0), "BackoffRate", 0, 1000),
        None if attempts is None else _number(attempts, "MaxAttempts", 0, 20, whole=True),
        None if minutes is None else timedelta(minutes=_number(minutes, "ExpireAfterMin", 0, 14400)),
    )


def _read_property_file(value: Any) -> PropertyFile:
    file = _object(value, "An item of PropertyFiles")
    _check_members(file, {"PropertyFileName", "OutputName", "FilePath"}, "An item of PropertyFiles")
    name = _text(file.get("PropertyFileName"), "PropertyFileName")
    path = file.get("FilePath")
    if not isinstance(path, str | Mapping) or not path:
        raise BadRequest(f"FilePath of property file {name:.200} must be a path. Received: {path!r:.200}")
    return PropertyFile(name, _text(file.get("OutputName"), f"OutputName of property file {name:.200}"), path)


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadRequest(f"{what} must be an object. Expecting start of Json Object. Received: {value!r:.200}")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadRequest(f"{what} must be a list. Expecting start of Json Array. Received: {value!r:.200}")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{what} must be a text. Received: {value!r:.200}")
    return value


def _number(value: Any, what: str, least: int, most: int, *, whole: bool = False) -> Any:
    types = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, types) or not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        raise BadRequest(f"{what} must be {kind} from {least} to {most}. Received: {value!r:.200}")
    return value


def _check_members(value: Mapping[str, Any], known: set[str] | frozenset[str], what: str) -> None:
    if unknown := value.keys() - known:
        raise BadRequest(f"{what} has an unknown member '{min(unknown):.200}'. Known: {', '.join(sorted(known))}")
