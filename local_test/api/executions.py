"""Operations on executions of pipelines."""

from collections.abc import Mapping
from typing import Any

from local_test.api.dispatch import Operation, Request
from local_test.api.pagination import page, within_times
from local_test.executions.manager import ExecutionManager
from local_test.executions.record import describe_step
from local_test.pipelines.versions import ALIAS, ALIASES, ID, list_versions

_ARN = "PipelineExecutionArn"


class ExecutionsApi:
    """The operations over one region's executions."""

    def __init__(self, executions: ExecutionManager) -> None:
        self._executions = executions

    def operations(self) -> dict[str, Operation]:
        every = self._executions
        return {
            "StartPipelineExecution": lambda request: {_ARN: every.start(request)},
            "DescribePipelineExecution": self._describe,
            "ListPipelineExecutions": self._list,
            "StopPipelineExecution": lambda request: {_ARN: every.stop(request[_ARN], request["ClientRequestToken"])},
            "RetryPipelineExecution": lambda request: {_ARN: every.retry(request[_ARN], request)},
            "UpdatePipelineExecution": lambda request: {_ARN: every.update(request[_ARN], request)},
            "ListPipelineExecutionSteps": self._list_steps,
            "ListPipelineParametersForExecution": self._list_parameters,
            "DescribePipelineDefinitionForExecution": self._describe_definition,
            "SendPipelineExecutionStepSuccess": self._succeed,
            "SendPipelineExecutionStepFailure": self._fail,
        }

    def _describe(self, request: Request) -> Mapping[str, Any]:
        """With the aliases that the version has now."""
        record = self._executions.find(request[_ARN])
        versions = list_versions(self._executions.find_pipeline(record.pipeline, {}))
        aliases = next((one.get(ALIASES) for one in versions if one[ID] == record.version), None)
        return {**record.describe(), **({ALIASES: aliases} if aliases else {})}

    def _list(self, request: Request) -> Mapping[str, Any]:
        """Newest first by default, as on the service."""
        pipeline = self._executions.find_pipeline(request["PipelineName"], request)
        version = pipeline[ID] if ALIAS in request else None
        records = self._executions.of(pipeline["PipelineArn"])
        found = [record.summarize() for record in records if version in (None, record.version)]
        matching = [item for item in found if within_times({"CreationTime": item["StartTime"]}, request)]
        by = request.get("SortBy", "CreationTime")

        def key(item: Mapping[str, Any]) -> tuple[Any, ...]:
            return (item[_ARN],) if by == _ARN else (item["StartTime"].timestamp(), item[_ARN])

        on_page, more = page(matching, request, key, "Descending")
        return {"PipelineExecutionSummaries": on_page, **more}

    def _list_steps(self, request: Request) -> Mapping[str, Any]:
        """Steps that were begun, the last one first by default. A branch that was not taken has none, as on the
        service."""
        record = self._executions.find(request.get(_ARN, ""))
        names = self._executions.definition(record.arn).by_name
        order = {name: index for index, name in enumerate(list(record.steps))}
        found = [
            describe_step(step, names[step.name].display_name, names[step.name].description)
            for step in list(record.steps.values())
        ]
        on_page, more = page(found, request, lambda item: (order[item["StepName"]], item["StepName"]), "Descending")
        return {"PipelineExecutionSteps": on_page, **more}

    def _list_parameters(self, request: Request) -> Mapping[str, Any]:
        found = self._executions.find(request[_ARN]).list_parameters()
        on_page, more = page(found, request, lambda item: (item["Name"],))
        return {"PipelineParameters": on_page, **more}

    def _describe_definition(self, request: Request) -> Mapping[str, Any]:
        record = self._executions.find(request[_ARN])
        return {
            "PipelineDefinition": self._executions.definition_text(record.arn),
            "CreationTime": record.describe()["CreationTime"],
        }

    def _succeed(self, request: Request) -> Mapping[str, Any]:
        answer = {"OutputParameters": request.get("OutputParameters", [])}
        return {_ARN: self._executions.answer(request["CallbackToken"], answer)}

    def _fail(self, request: Request) -> Mapping[str, Any]:
        reason = request.get("FailureReason", "The callback step was reported as failed")
        return {_ARN: self._executions.answer(request["CallbackToken"], {"FailureReason": reason})}
