"""Step types: the operation whose input a step's Arguments are, what it answers for properties, and what is refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.model import Shape

from local_test.errors import BadRequest
from local_test.pipelines.definition import Step
from local_test.pipelines.expressions import Path, Scope, check_size, format_path, function_of, resolve
from local_test.request.validation import service_model

OUTPUT_PARAMETERS = "OutputParameters"
_COMMON = frozenset({"Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description"})
_JOB = _COMMON | {"CacheConfig", "RetryPolicies"}


@dataclass(frozen=True)
class StepType:
    """`operation`: takes the Arguments with `name_member` on top. `answers`: the operations whose outputs, together,
    are the step's properties."""

    members: frozenset[str]
    operation: str = ""
    name_member: str = ""
    answers: tuple[str, ...] = ()


STEP_TYPES: Mapping[str, StepType] = {
    "Training": StepType(_JOB, "CreateTrainingJob", "TrainingJobName", ("DescribeTrainingJob",)),
    "Processing": StepType(
        _JOB | {"PropertyFiles"}, "CreateProcessingJob", "ProcessingJobName", ("DescribeProcessingJob",)
    ),
    "Tuning": StepType(
        _JOB,
        "CreateHyperParameterTuningJob",
        "HyperParameterTuningJobName",
        ("DescribeHyperParameterTuningJob", "ListTrainingJobsForHyperParameterTuningJob"),
    ),
    "Model": StepType(_JOB, "CreateModel", "ModelName", ("DescribeModel",)),
    "RegisterModel": StepType(_JOB, "CreateModelPackage", "", ("DescribeModelPackage",)),
    "Condition": StepType(_COMMON),
    "Fail": StepType(_COMMON),
    "Callback": StepType(_COMMON | {"CacheConfig", "SqsQueueUrl", OUTPUT_PARAMETERS}),
}
_PROCESSING = "Put the work into a Processing step with an image of your own"
_NO_ENDPOINT = "No endpoint is served here: end the pipeline with a Model or RegisterModel step"
REFUSED: Mapping[str, str] = {
    "Transform": "No batch transform runs here. Predict in a Processing step that loads the model's artifact",
    "AutoML": "No AutoML runs here. Use a Tuning step",
    "EMR": f"There is no EMR cluster here. {_PROCESSING}",
    "EMRServerless": f"There is no EMR Serverless here. {_PROCESSING}",
    "Lambda": "No Lambda function runs here. Put its code into a Processing step, or use a Callback step",
    "QualityCheck": f"AWS's monitoring image is not on this machine. {_PROCESSING}",
    "ClarifyCheck": f"AWS's Clarify image is not on this machine. {_PROCESSING}",
    "EndpointConfig": _NO_ENDPOINT,
    "Endpoint": _NO_ENDPOINT,
    "InferenceComponent": _NO_ENDPOINT,
    "Lineage": "Record lineage from a client: AddAssociation and CreateArtifact work here",
    "ForEach": "Write a step for each item, or use a Tuning step",
    "Job": "Use the step type of the job: Training, Processing or Tuning",
    "Cleanup": "Delete what the pipeline leaves from a client, after the execution",
}
_OUTPUT_TYPES = {"String": "string", "Integer": "integer", "Float": "float", "Boolean": "boolean"}


def find_step_type(name: Any) -> StepType:
    """BadRequest for a type that is refused here, with the way out, and for one that there is not."""
    if isinstance(name, str) and name in STEP_TYPES:
        return STEP_TYPES[name]
    if isinstance(name, str) and name in REFUSED:
        raise BadRequest(f"The local platform runs no step of type {name}. {REFUSED[name]}")
    raise BadRequest(f"There is no such step type. Received: {name!r:.200}. Known: {', '.join(STEP_TYPES)}")


def property_type(step: Step, path: Path) -> str | None:
    """The JSON type of a step's property, None if any; BadRequest if steps of this type have no such property."""
    if step.type == "Condition" and path == ("Outcome",):
        return "string"
    if step.type == "Callback" and len(path) == 2 and path[0] == OUTPUT_PARAMETERS:
        declared = {one["OutputName"]: one["OutputType"] for one in step.members.get(OUTPUT_PARAMETERS, ())}
        if path[1] in declared:
            return _OUTPUT_TYPES[declared[str(path[1])]]
    for operation in STEP_TYPES[step.type].answers if path else ():
        shape = _find_shape(service_model().operation_model(operation).output_shape, path)
        if shape is not None:
            return shape.type_name
    text = ".".join(filter(None, (f"Steps.{step.name}", format_path(path))))
    raise BadRequest(f"Invalid property reference: {text} is no property of a step of type {step.type}")


def _find_shape(shape: Shape | None, path: Path) -> Shape | None:
    for part in path:
        if shape is None:
            return None
        if shape.type_name == "structure":
            shape = shape.members.get(part)
        elif shape.type_name == "map":
            shape = shape.value if isinstance(part, str) else None
        elif shape.type_name == "list" and (isinstance(part, int) or _has_name(shape.member)):
            shape = shape.member
        else:
            return None
    return shape


def get_property(description: Mapping[str, Any], path: Path) -> Any:
    """What a description has at that path; an item of a list also by its name. BadRequest if it is not there."""
    found: Any = description
    for part in path:
        if isinstance(found, list | tuple) and isinstance(part, str):
            found = next((item for item in found if isinstance(item, Mapping) and part in _names(item)), None)
        elif isinstance(found, list | tuple):
            found = found[part] if isinstance(part, int) and part < len(found) else None
        else:
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is None:
            raise BadRequest(f"The step has no {format_path(path)}: there is no {part}")
    return found


def _has_name(shape: Shape) -> bool:
    """Whether an item may stand by its name instead of its index, as in Outputs['train'] and
    FinalMetricDataList['val:acc']: where it has one."""
    return shape.type_name == "structure" and len(_names(shape.members)) == 1


def _names(item: Mapping[str, Any]) -> list[Any]:
    return [value for member, value in item.items() if member.endswith("Name")]


def resolve_arguments(step: Step, scope: Scope) -> Any:
    """The step's Arguments without expressions. A number in the place of a text becomes one: the SDKs write a parameter
    of type Integer as it is where hyperparameters need a text."""
    operation = STEP_TYPES[step.type].operation
    shape = service_model().operation_model(operation).input_shape if operation else None
    found = _resolve(step.arguments, shape, scope)
    check_size(found)
    return found


def _resolve(value: Any, shape: Shape | None, scope: Scope) -> Any:
    if shape is None:
        return resolve(value, scope)
    if function_of(value):
        found = resolve(value, scope)
        if shape.type_name == "string" and isinstance(found, int | float):
            return str(found).lower() if isinstance(found, bool) else str(found)
        return found
    if isinstance(value, Mapping):
        return {key: _resolve(item, _inner_shape(shape, key), scope) for key, item in value.items()}
    if isinstance(value, list):
        member = shape.member if shape.type_name == "list" else None
        return [_resolve(item, member, scope) for item in value]
    return value


def _inner_shape(shape: Shape, key: Any) -> Shape | None:
    if shape.type_name == "map":
        return shape.value
    return shape.members.get(key) if shape.type_name == "structure" else None
