"""Operations on pipelines: a definition is checked whole before it is kept."""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_test.api.dispatch import Operation, Request
from local_test.api.pagination import page, sort_key, within_times
from local_test.data.object_store import s3_reason
from local_test.errors import BadRequest
from local_test.executions.manager import ExecutionManager
from local_test.executions.record import to_time
from local_test.experiments.entities import Entity
from local_test.pipelines.checks import read_checked
from local_test.pipelines.parser import LONGEST, refuse
from local_test.pipelines.versions import ALIASES, ID, TEXT, PipelineStore, list_versions
from local_test.request.guard import Guard

_PLACE = "PipelineDefinitionS3Location"
_KEPT = ("PipelineDisplayName", "PipelineDescription", "RoleArn", "ParallelismConfiguration")
_SUMMARY = (
    *("PipelineArn", "PipelineName", "PipelineDisplayName", "PipelineDescription", "RoleArn"),
    *("CreationTime", "LastModifiedTime"),
)


class PipelinesApi:
    """The operations over one region's pipelines. `s3` gives the client that reads definitions; `guard`: what the
    Arguments of steps may name; `executions`: theirs."""

    def __init__(
        self,
        pipelines: PipelineStore,
        s3: Callable[[], Any],
        guard: Guard,
        executions: ExecutionManager,
    ) -> None:
        self._pipelines, self._s3, self._guard = pipelines, s3, guard
        self._executions = executions

    def operations(self) -> dict[str, Operation]:
        return {
            "CreatePipeline": self._create,
            "UpdatePipeline": self._update,
            "DescribePipeline": self._describe,
            "ListPipelines": self._list,
            "DeletePipeline": self._delete,
            "ListPipelineVersions": self._list_versions,
            "UpdatePipelineVersion": self._update_version,
        }

    def _create(self, request: Request) -> Mapping[str, Any]:
        """A request that is sent again, which its token tells, is answered as the first time."""
        name, token = request["PipelineName"], request["ClientRequestToken"]
        if self._pipelines.has(name) and self._pipelines.get(name).get("ClientRequestToken") == token:
            return {"PipelineArn": self._pipelines.get(name)["PipelineArn"]}
        if request.get(TEXT) is None and _PLACE not in request:
            raise BadRequest("Either Pipeline Definition or Pipeline Definition S3 location should be provided")
        members = {
            "PipelineName": name,
            "PipelineDisplayName": name,
            "PipelineStatus": "Active",
            "ClientRequestToken": token,
            "Tags": request.get("Tags", []),
            **self._changes(request),
        }
        return {"PipelineArn": self._pipelines.add(members, request.get(ALIASES, []))["PipelineArn"]}

    def _update(self, request: Request) -> Mapping[str, Any]:
        pipeline, changes = self._pipelines.get(request["PipelineName"]), self._changes(request)
        version = self._pipelines.update(pipeline["PipelineName"], changes, request.get(ALIASES, []))
        return {"PipelineArn": pipeline["PipelineArn"], ID: version}

    def _changes(self, request: Request) -> dict[str, Any]:
        """What a request says of a pipeline, its definition checked."""
        if TEXT in request and _PLACE in request:
            raise BadRequest("Both Pipeline Definition and Pipeline Definition S3 Location shouldn't be present")
        changes = {name: request[name] for name in _KEPT if name in request}
        if TEXT in request or _PLACE in request:
            text = request[TEXT] if TEXT in request else self._read(request[_PLACE])
            self._check(text)
            changes[TEXT] = text
        return changes

    def _check(self, text: str) -> None:
        for step in read_checked(text).by_name.values():
            try:
                self._guard.check(step.arguments)
            except BadRequest as error:
                raise refuse(f"Step {step.name}: {error}") from None

    def _read(self, place: Mapping[str, str]) -> str:
        """A definition in S3. BadRequest if it can't be read."""
        uri = f"s3://{place['Bucket']}/{place['ObjectKey']}"
        version = {"VersionId": place["VersionId"]} if "VersionId" in place else {}
        try:
            body = self._s3().get_object(Bucket=place["Bucket"], Key=place["ObjectKey"], **version)["Body"]
            return str(body.read(4 * LONGEST + 1).decode())  # UTF-8 has up to four bytes a character
        except (ClientError, BotoCoreError) as error:
            raise refuse(f"It can't be read from S3: {s3_reason(error)}. Received: {uri}") from None
        except UnicodeDecodeError:
            raise refuse(f"It is no text in UTF-8. Received: {uri}") from None

    def _describe(self, request: Request) -> Mapping[str, Any]:
        entity = self._pipelines.at(request["PipelineName"], request)
        return {**entity, **self._last_run(entity, "LastRunTime")}

    def _list_versions(self, request: Request) -> Mapping[str, Any]:
        """The latest first by default: its ID is what clients look for."""
        entity = self._pipelines.get(request["PipelineName"])
        found = [
            {**version, "PipelineArn": entity["PipelineArn"], "CreationTime": to_time(version["CreationTime"])}
            for version in list_versions(entity)
        ]
        matching = [item for item in found if within_times(item, request)]
        on_page, more = page(matching, request, lambda item: (item[ID],), "Descending")
        records = sorted(self._executions.of(entity["PipelineArn"]), key=lambda record: record.created)
        last = {record.version: {"LastExecutionPipelineExecutionArn": record.arn} for record in records}
        return {"PipelineVersionSummaries": [{**item, **last.get(item[ID], {})} for item in on_page], **more}

    def _update_version(self, request: Request) -> Mapping[str, Any]:
        self._pipelines.update_version(request["PipelineArn"], request)
        return {"PipelineArn": self._pipelines.get(request["PipelineArn"])["PipelineArn"], ID: request[ID]}

    def _last_run(self, entity: Entity, member: str) -> dict[str, Any]:
        """When its last execution was started; nothing if there is none."""
        times = [record.created for record in self._executions.of(entity["PipelineArn"])]
        return {member: to_time(max(times))} if times else {}

    def _list(self, request: Request) -> Mapping[str, Any]:
        """Newest first by default, as experiments are."""
        prefix = request.get("PipelineNamePrefix", "")
        matching: list[Entity] = [
            item
            for item in self._pipelines.all()
            if item["PipelineName"].startswith(prefix) and within_times(item, request)
        ]
        if request.get("ManagedBy") == "AWS":  # the service has pipelines of its own, here there are none
            matching = []
        on_page, more = page(matching, request, sort_key(request, "PipelineName", "PipelineStatus"), "Descending")
        summaries = [
            {**{key: item[key] for key in _SUMMARY if key in item}, **self._last_run(dict(item), "LastExecutionTime")}
            for item in on_page
        ]
        return {"PipelineSummaries": summaries, **more}

    def _delete(self, request: Request) -> Mapping[str, Any]:
        """With its executions, as on the service. Refused while one runs."""
        self._executions.delete_of(self._pipelines.get(request["PipelineName"])["PipelineArn"])
        return {"PipelineArn": self._pipelines.delete(request["PipelineName"])["PipelineArn"]}
