"""What an execution's expressions have for values: parameters, variables, properties of steps that have succeeded."""

import json
from datetime import UTC, datetime
from typing import Any

from local_test.data.object_store import join_uri
from local_test.errors import BadRequest, DataError
from local_test.executions.record import ExecutionRecord, to_time
from local_test.executions.services import Services
from local_test.pipelines.definition import Definition
from local_test.pipelines.expressions import Path, format_path, resolve
from local_test.pipelines.step_types import get_property
from local_test.util.clock import now_utc

_MOST_BYTES = 16 << 20  # of a property file


class ExecutionScope:
    """A Scope, for one step's arguments. `job`: the one that it will make."""

    def __init__(self, record: ExecutionRecord, definition: Definition, services: Services, job: str = "") -> None:
        self._record, self._definition, self._services, self._job = record, definition, services, job
        self._objects: dict[str, Any] = {}  # each is read once, however many expressions name it

    def parameter(self, name: str) -> Any:
        return self._record.parameters[name]

    def execution_variable(self, name: str) -> Any:
        record = self._record
        values: dict[str, str] = {
            "StartDateTime": _format(to_time(record.created)),
            "CurrentDateTime": _format(now_utc()),
            "PipelineName": record.pipeline,
            "PipelineArn": record.pipeline_arn,
            "PipelineExecutionId": record.id,
            "PipelineExecutionArn": record.arn,
            "TrainingJobName": self._job,
            "ProcessingJobName": self._job,
        }
        if not values.get(name):
            raise BadRequest(f"There is no Execution.{name} here")
        return values[name]

    def experiment_config(self, name: str) -> Any:
        return (self._record.experiment or {})[name]

    def step_property(self, step: str, path: Path) -> Any:
        found = self._record.steps.get(step)
        if found is None or found.outputs is None:
            status = found.status if found else "not executed"
            raise BadRequest(f"Steps.{step}.{format_path(path)} has no value: the step is {status}")
        return get_property(found.outputs, path)

    def property_file(self, step: str, name: str) -> Any:
        file = next(file for file in self._definition.by_name[step].property_files if file.name == name)
        place = ("ProcessingOutputConfig", "Outputs", file.output_name, "S3Output", "S3Uri")
        return self.json_object(join_uri(self.step_property(step, place), resolve(file.file_path, self)))

    def json_object(self, s3_uri: str) -> Any:
        if s3_uri not in self._objects:
            self._objects[s3_uri] = self._read(s3_uri)
        return self._objects[s3_uri]

    def _read(self, s3_uri: str) -> Any:
        try:
            value = json.loads(self._services.read(s3_uri, _MOST_BYTES))
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text: nothing could keep it
            return value
        except DataError as error:
            raise BadRequest(f"A property file can't be read: {error}") from None
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"A property file must be JSON: {error}. Received: {s3_uri}") from None


def _format(time: datetime) -> str:
    return f"{time.astimezone(UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"
