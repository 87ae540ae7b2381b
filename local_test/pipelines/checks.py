"""What a definition refers to: steps, parameters, properties, property files; cycles; Arguments against the operation's
input. All of it before anything runs.
"""

import json
from collections import Counter
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter
from typing import Any

from local_test.errors import BadRequest
from local_test.pipelines.conditions import check_conditions, json_type
from local_test.pipelines.definition import Definition, Step
from local_test.pipelines.expressions import (
    GET,
    JOIN,
    Path,
    Reference,
    function_of,
    read_join,
    read_json_get,
    read_reference,
    references,
)
from local_test.pipelines.job_requests import check_job_request
from local_test.pipelines.parser import parse_definition, refuse
from local_test.pipelines.step_types import STEP_TYPES, property_type
from local_test.request.validation import Unknown, validate

EXECUTION_VARIABLES = (
    "StartDateTime",
    "CurrentDateTime",
    "PipelineName",
    "PipelineArn",
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "TrainingJobName",
    "ProcessingJobName",
)
# a variable → the type of the steps in which it has a value
_OWN_JOB = {"TrainingJobName": "Training", "ProcessingJobName": "Processing"}
_END = " ended"  # no step's name has a space
_EXPERIMENT = ("ExperimentName", "TrialName")
_PARAMETER_TYPES = {"String": "string", "Integer": "integer", "Float": "float", "Boolean": "boolean"}
_SCALARS = ("string", "integer", "long", "float", "double", "boolean", "timestamp", None)
_RESERVED = {"RegisterModel": "ModelPackageName"}  # the service names a package by its group and version


def read_checked(text: str) -> Definition:
    """The definition that a text holds, of which everything can run here. BadRequest, one line, for any other text."""
    definition = parse_definition(text)
    try:
        _Checks(definition).run()
    except BadRequest as error:
        raise refuse(str(error)) from None
    return definition


class _Checks:
    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._parameters = {one.name: one for one in definition.parameters}

    def run(self) -> None:
        """BadRequest for the first thing that is wrong."""
        steps = [step for top in self._definition.steps for step in top.walk()]
        _check_unique("Parameter", (one.name for one in self._definition.parameters))
        _check_unique("Step", (step.name for step in steps))
        if experiment := self._definition.experiment:
            self._check_experiment({"ExperimentName": experiment.experiment_name, "TrialName": experiment.trial_name})
        for step in steps:
            try:
                self._check_step(step)
            except BadRequest as error:
                raise BadRequest(f"Step {step.name}: {error}") from None
        self._check_order()

    def _check_experiment(self, names: dict[str, Any]) -> None:
        for member, value in names.items():
            if any(one.kind not in ("Parameters", "Execution") for one in references(value)):
                raise BadRequest(
                    f"PipelineExperimentConfig.{member} can refer to parameters and execution variables alone. "
                    f"Received: {_json(value)}"
                )
        try:
            validate(self._replace(names), "CreateTrial")
        except BadRequest as error:
            raise BadRequest(f"PipelineExperimentConfig: {error}") from None

    def _check_order(self) -> None:
        """The end of a condition is a node of its own, after the ends of its branches' steps: as many edges as the
        definition has words."""
        definition, graph = self._definition, TopologicalSorter[str]()
        for name, step in definition.by_name.items():
            parent = [definition.parents[name]] if name in definition.parents else []
            ends = (one if definition.is_inside(name, one) else f"{one}{_END}" for one in step.dependencies)
            graph.add(name, *parent, *ends)
            graph.add(f"{name}{_END}", name, *(f"{one.name}{_END}" for one in step.branches))
        try:
            graph.prepare()
        except CycleError as error:
            names = [name for name in reversed(error.args[1][1:]) if not name.endswith(_END)]
            raise BadRequest(f"Steps depend on each other in a cycle: {' → '.join([*names, names[0]])}") from None
        for name, step in definition.by_name.items():
            if fails := [one for one in step.depends_on if definition.by_name[one].type == "Fail"]:
                raise BadRequest(  # it begins with the service's words
                    f"{name} can not depends on {fails[0]}: nothing runs after a Fail step"
                )

    def _check_step(self, step: Step) -> None:
        for name in step.depends_on:
            if name not in self._definition.by_name:
                raise BadRequest(f"DependsOn names step {name:.200}, which there is not")
        _check_unique("Property file", (file.name for file in step.property_files))
        for file in step.property_files:
            if self._type_of(file.file_path) not in ("string", None):
                raise BadRequest(f"FilePath of property file {file.name} must be a text. Received: {file.file_path}")
            outputs = find_outputs(step)
            if outputs is not None and file.output_name not in outputs:
                raise BadRequest(
                    f"Property file {file.name} is in output {file.output_name}, which the step does not have"
                    f"{_list(outputs)}"
                )
        self._check_arguments(step)

    def _check_arguments(self, step: Step) -> None:
        for one in references(step.arguments):
            if one.kind == "Execution" and _OWN_JOB.get(one.name, step.type) != step.type:
                raise BadRequest(f"Execution.{one.name} has a value in a step of type {_OWN_JOB[one.name]} alone")
        if step.type == "Condition":
            check_conditions(step.arguments["Conditions"], self._compared_type)
            return
        request = self._replace(step.arguments)
        if step.type == "Fail":
            message = request.get("ErrorMessage")
            kind = message.type if isinstance(message, Unknown) else json_type(message)
            if request.keys() != {"ErrorMessage"} or kind not in ("string", None):
                raise BadRequest(f"Arguments of a Fail step is a text ErrorMessage. Received: {_json(step.arguments)}")
            return
        if step.type == "Callback":
            self._replace(step.members)
            return
        self._check_request(step, request)

    @staticmethod
    def _check_request(step: Step, request: dict[str, Any]) -> None:
        kind = STEP_TYPES[step.type]
        if (reserved := _RESERVED.get(step.type)) in request:
            raise BadRequest(f"Unknown Argument member '{reserved}'.")
        if kind.name_member:
            request = {kind.name_member: Unknown("a name", "string"), **request}
        try:
            check_job_request(kind.operation, request)
        except BadRequest as error:
            raise BadRequest(f"Model Validation failed: Arguments: {error}") from None

    def _replace(self, value: Any) -> Any:
        """The value with an Unknown in the place of each expression."""
        if function_of(value):
            return Unknown(_json(value), self._type_of(value))
        if isinstance(value, dict):
            return {key: self._replace(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._replace(item) for item in value]
        return value

    def _type_of(self, value: Any) -> str | None:
        """Of a value or an expression, None if it is known only later. BadRequest for an expression without a value."""
        function = function_of(value)
        if function is None:
            return json_type(value)
        if function == GET:
            return self._reference_type(read_reference(value[GET]))
        if function == JOIN:
            for item in read_join(value).values:
                if (kind := self._type_of(item)) not in _SCALARS:
                    raise BadRequest(f"{JOIN} joins texts and numbers. Received: {_json(item)}, which is a {kind}")
            return "string"
        source = read_json_get(value).source
        if isinstance(source, Reference):
            self._check_property_file(source)
        elif self._type_of(source) not in ("string", None):
            raise BadRequest(f"S3Uri of Std:JsonGet must be a text. Received: {_json(source)}")
        return None

    def _compared_type(self, value: Any) -> str | None:
        """The service takes a comparison of a step's text with a number, as of HyperParameters['epochs']: what it holds
        is known later."""
        kind = self._type_of(value)
        is_property = function_of(value) == GET and read_reference(value[GET]).kind == "Steps"
        return None if is_property and kind == "string" else kind

    def _reference_type(self, reference: Reference) -> str | None:
        name = reference.name
        if reference.kind == "Parameters":
            if name not in self._parameters:
                raise BadRequest(
                    f"Invalid property reference: the pipeline has no parameter {name}{_list(self._parameters)}"
                )
            return _PARAMETER_TYPES[self._parameters[name].type]
        if reference.kind == "Steps":
            return self._property_type(self._step(name), reference.path)
        known = EXECUTION_VARIABLES if reference.kind == "Execution" else _EXPERIMENT
        if name not in known:
            raise BadRequest(f"Invalid property reference: there is no {reference.kind}.{name}{_list(known)}")
        if reference.kind == "PipelineExperimentConfig" and not self._definition.experiment:
            raise BadRequest(
                f"Invalid property reference: {reference.kind}.{name}, but the pipeline has no such member"
            )
        return "string"

    @staticmethod
    def _property_type(step: Step, path: Path) -> str | None:
        outputs = find_outputs(step) if path[:2] == ("ProcessingOutputConfig", "Outputs") else None
        if outputs is not None and len(path) > 2 and isinstance(path[2], str) and path[2] not in outputs:
            raise BadRequest(f"Invalid property reference: step {step.name} has no output {path[2]}{_list(outputs)}")
        return property_type(step, path)

    def _step(self, name: str) -> Step:
        if name not in self._definition.by_name:
            raise BadRequest(
                f"Invalid property reference: the pipeline has no step {name}{_list(self._definition.by_name)}"
            )
        return self._definition.by_name[name]

    def _check_property_file(self, reference: Reference) -> None:
        files = [file.name for file in self._step(reference.name).property_files]
        if reference.property_file not in files:
            raise BadRequest(f"Step {reference.name} declares no property file {reference.property_file}{_list(files)}")


def find_outputs(step: Step) -> list[str] | None:
    """The names of a processing step's outputs; None if the Arguments don't say them as they are."""
    config = step.arguments.get("ProcessingOutputConfig", {})
    outputs = config.get("Outputs", []) if isinstance(config, dict) else None
    if not isinstance(outputs, list) or function_of(config):
        return None
    names = [one.get("OutputName") if isinstance(one, dict) else None for one in outputs]
    return [name for name in names if isinstance(name, str)] if all(isinstance(name, str) for name in names) else None


def _check_unique(what: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadRequest(f"{what} names must be unique. Received twice: {', '.join(twice)}")


def _list(known: Iterable[str]) -> str:
    return f". It has: {', '.join(known) or 'none'}"


def _json(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
