"""StartPipelineExecution's request → the record that an execution begins with, or BadRequest."""

import secrets
import string
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local_test.errors import BadRequest
from local_test.executions.record import ExecutionRecord, copy_step
from local_test.executions.scope import ExecutionScope
from local_test.executions.services import Services
from local_test.pipelines.definition import Definition
from local_test.pipelines.expressions import references, resolve
from local_test.pipelines.parameters import parse_values

_ID = string.ascii_lowercase + string.digits
_ID_LENGTH = 12


def new_record(
    request: Mapping[str, Any],
    pipeline: Mapping[str, Any],
    definition: Definition,
    services: Services,
    find: Callable[[str], ExecutionRecord],
) -> ExecutionRecord:
    """BadRequest for parameters and steps that the pipeline does not have. `find`: an earlier execution, by its ARN."""
    created, name = time.time(), "".join(secrets.choice(_ID) for _ in range(_ID_LENGTH))
    texts = _read_parameters(request.get("PipelineParameters", []))
    parallelism = request.get("ParallelismConfiguration") or pipeline.get("ParallelismConfiguration") or {}
    record = ExecutionRecord(
        id=name,
        arn=f"{pipeline['PipelineArn']}/execution/{name}",
        pipeline=pipeline["PipelineName"],
        pipeline_arn=pipeline["PipelineArn"],
        display_name=request.get("PipelineExecutionDisplayName", f"execution-{round(created * 1000)}"),
        description=request.get("PipelineExecutionDescription", ""),
        created=created,
        modified=created,
        parameters=parse_values(definition.parameters, texts),
        given=texts,
        token=request["ClientRequestToken"],
        version=pipeline["PipelineVersionId"],
        role=request.get("RoleArn") or pipeline.get("RoleArn"),
        parallelism=parallelism.get("MaxParallelExecutionSteps", definition.parallelism),
    )
    if definition.experiment:
        scope = ExecutionScope(record, definition, services)
        record.experiment = {
            "ExperimentName": resolve(definition.experiment.experiment_name, scope),
            "TrialName": resolve(definition.experiment.trial_name, scope),
        }
    if selection := request.get("SelectiveExecutionConfig"):
        _select(record, definition, selection, find, created)
    return record


def _select(
    record: ExecutionRecord,
    definition: Definition,
    selection: Mapping[str, Any],
    find: Callable[[str], ExecutionRecord],
    now: float,
) -> None:
    """What the selected steps refer to comes from an earlier execution, in which it must have succeeded."""
    selected = [item["StepName"] for item in selection["SelectedSteps"]]
    if unknown := [name for name in selected if name not in definition.by_name]:
        raise BadRequest(
            f"SelectedSteps names steps that the pipeline does not have. Received: {', '.join(unknown)}. "
            f"It has: {', '.join(definition.by_name)}"
        )
    record.selected, record.source_arn = selected, selection.get("SourcePipelineExecutionArn")
    source = find(record.source_arn) if record.source_arn else None
    if source and source.pipeline_arn != record.pipeline_arn:
        raise BadRequest(f"SourcePipelineExecutionArn is of another pipeline. Received: {source.arn}")
    for name in sorted(_list_sources(definition, selected)):
        found = source.steps.get(name) if source else None
        if not source or found is None or found.outputs is None:
            raise BadRequest(
                f"The selected steps need step {name}, which is not selected and has not succeeded in "
                f"{source.arn if source else 'an execution that SourcePipelineExecutionArn names'}"
            )
        record.steps[name] = copy_step(found, now, selected_from=found.selected_from or source.arn)


def check_supported(request: Mapping[str, Any]) -> None:
    """BadRequest for what is not acted on here."""
    if name := request.get("MlflowExperimentName"):
        raise BadRequest(f"MlflowExperimentName is not supported locally. Received: {name}. Take it out")


def _read_parameters(given: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """BadRequest for a name that comes twice."""
    names = Counter(item["Name"] for item in given)
    if twice := [name for name, count in names.items() if count > 1]:
        raise BadRequest(f"A parameter has one value. Received: {', '.join(twice)} is given twice")
    return {item["Name"]: item["Value"] for item in given}


def _list_sources(definition: Definition, selected: list[str]) -> set[str]:
    """The steps that selected ones refer to and that are not selected themselves."""
    names = {
        reference.name
        for name in selected
        for reference in references([definition.by_name[name].arguments, dict(definition.by_name[name].members)])
        if reference.kind == "Steps"
    }
    return names - set(selected)
