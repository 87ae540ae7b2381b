"""All executions of a region's pipelines; each has a folder with its definition and its state."""

import threading
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from local_test.errors import BadRequest, LocalTestError, ResourceNotFound
from local_test.executions.execution import Execution
from local_test.executions.kinds import read_outputs
from local_test.executions.record import ExecutionFolder, ExecutionRecord, StepRecord, copy_step
from local_test.executions.services import Services
from local_test.executions.start import check_supported, new_record
from local_test.pipelines.checks import read_checked
from local_test.pipelines.definition import Definition, Step
from local_test.pipelines.step_types import OUTPUT_PARAMETERS
from local_test.training.job_status import PLATFORM
from local_test.training.job_store import put_aside, remove
from local_test.util.atomic_files import DAMAGE, new_folder
from local_test.util.threads import join_all


class Conflict(LocalTestError):  # noqa: N818
    """The execution is in a state in which that can't be done."""

    code = "ConflictException"


class ExecutionManager:
    """Starts executions, runs each in a thread and keeps them below `root`. `services` gives those of this region once
    the server answers; `find_pipeline` a pipeline's members, by name or ARN, as of the
    version that a request names. Safe for threads."""

    def __init__(
        self,
        root: Path,
        services: Callable[[], Services],
        find_pipeline: Callable[[str, Mapping[str, Any]], Mapping[str, Any]],
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root, self._services, self.find_pipeline = root, services, find_pipeline
        self._lock = threading.RLock()
        self._records: dict[str, ExecutionRecord] = {}  # by ARN, as they are on disk
        self._running: dict[str, Execution] = {}
        self._closed = False
        self.listeners: list[Callable[[ExecutionRecord], None]] = []  # called with what was written
        for path in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
            try:
                record = ExecutionFolder(path).load()
            except FileNotFoundError:  # its start was cut off
                continue
            except DAMAGE as error:
                put_aside(path, error)
            else:
                self._records[record.arn] = record

    def resume(self) -> None:
        """Goes on with executions that an earlier server has left. Call it once this one answers."""
        with self._lock:
            left = [record for record in self._records.values() if not record.is_over]
        for record in left:
            try:
                self._run(record)
            except (LocalTestError, OSError, ValueError) as error:  # its definition can't be read any more
                self._change(record, {"status": "Failed", "failure": f"{PLATFORM}: {error}"})

    # Operations

    def start(self, request: Mapping[str, Any]) -> str:
        """The ARN. BadRequest for parameters and steps that the pipeline does not have.

        What S3 holds is on disk before that is answered: the steps need it, whatever becomes of this server."""
        pipeline = self.find_pipeline(request["PipelineName"], request)
        check_supported(request)
        self._services().keep_data()
        with self._lock:
            if known := self._find_token(pipeline["PipelineArn"], request["ClientRequestToken"]):
                return known.arn
            if self._closed:
                raise BadRequest("The server is ending and starts no more executions")
            text = pipeline["PipelineDefinition"]
            definition = read_checked(text)
            record = new_record(request, pipeline, definition, self._services(), self.find)
            folder = self._folder(record.id)
            with new_folder(folder.path, "The execution"):
                folder.create(record, text)
            self._run(record)
        return record.arn

    def _find_token(self, pipeline_arn: str, token: str) -> ExecutionRecord | None:
        return next((one for one in self.of(pipeline_arn) if one.token == token), None)

    def find(self, arn: str) -> ExecutionRecord:
        with self._lock:
            record = self._records.get(arn) or next(
                (one for one in self._records.values() if one.arn.lower() == arn.lower()), None
            )
        if record is None:
            raise ResourceNotFound(f"Pipeline execution with ARN {arn} does not exist.")
        return record

    def of(self, pipeline_arn: str) -> list[ExecutionRecord]:
        """Those of a pipeline."""
        with self._lock:
            return [record for record in self._records.values() if record.pipeline_arn == pipeline_arn]

    def all(self) -> list[ExecutionRecord]:
        with self._lock:
            return list(self._records.values())

    def definition_text(self, arn: str) -> str:
        return ExecutionFolder(self._root / self.find(arn).id).definition()

    def definition(self, arn: str) -> Definition:
        with self._lock:
            running = self._running.get(arn)
        return running.definition if running else read_checked(self.definition_text(arn))

    def update(self, arn: str, request: Mapping[str, Any]) -> str:
        """The ARN."""
        members = {
            "description": request.get("PipelineExecutionDescription"),
            "display_name": request.get("PipelineExecutionDisplayName"),
            "parallelism": request.get("ParallelismConfiguration", {}).get("MaxParallelExecutionSteps"),
        }
        record = self.find(arn)
        self._change(record, {name: value for name, value in members.items() if value is not None})
        return record.arn

    def _change(self, record: ExecutionRecord, members: Mapping[str, Any]) -> ExecutionRecord:
        """The record after it."""
        with self._lock:
            if running := self._running.get(record.arn):
                running.change(**members)
            else:
                self._folder(record.id).save(replace(record, **members, modified=time.time()))
            return self._records[record.arn]

    def _folder(self, name: str) -> ExecutionFolder:
        return ExecutionFolder(self._root / name, self._publish)

    def _publish(self, record: ExecutionRecord) -> None:
        """Without the lock, which is taken before an execution's own."""
        self._records[record.arn] = record
        for on_change in self.listeners:
            on_change(record)

    def stop(self, arn: str, token: str = "") -> str:
        """The ARN. One that is stopping is left to it. Conflict for one that is over, but for the same request that
        comes again, which its token tells."""
        record = self.find(arn)
        if record.tokens.get("Stop") == token:
            return record.arn
        with self._lock:
            running = self._running.get(record.arn)
        if record.is_over or not running:
            raise Conflict(
                f"Pipeline execution with ARN {arn} is {record.status}. Only one that is Executing can be stopped"
            )
        running.stop(token)
        return record.arn

    def retry(self, arn: str, request: Mapping[str, Any]) -> str:
        """Begins what failed or was stopped again; what has succeeded stays. The ARN. Conflict for any other one."""
        token = request["ClientRequestToken"]
        self._services().keep_data()
        with self._lock:
            record = self.find(arn)
            if record.tokens.get("Retry") == token:
                return record.arn
            if record.status not in ("Failed", "Stopped"):
                raise Conflict(
                    f"Pipeline execution with ARN {arn} is {record.status}. Only Failed and Stopped ones can be retried"
                )
            if self._closed:
                raise BadRequest("The server is ending and starts no more executions")
            if running := self._running.pop(record.arn, None):
                assert running.thread
                running.thread.join()
            again = {name: step.attempt for name, step in record.steps.items() if step.status != "Succeeded"}
            members: dict[str, Any] = {
                "status": "Executing",
                "failure": "",
                "tokens": {"Retry": token},
                "attempts": {**record.attempts, **again},
                "steps": {name: step for name, step in record.steps.items() if name not in again},
            }
            if limit := request.get("ParallelismConfiguration"):
                members["parallelism"] = limit["MaxParallelExecutionSteps"]
            self._run(self._change(record, members))
        return record.arn

    def answer(self, token: str, answer: Mapping[str, Any]) -> str:
        """To the callback step that has the token; the execution's ARN. BadRequest for outputs that are not of the
        declared types: the step still waits."""
        with self._lock:
            found = [
                (self._running.get(record.arn), step)
                for record in self._records.values()
                for step in record.steps.values()
                if step.identity == token  # on disk before the message with it is sent
            ]
        if not found:
            raise ResourceNotFound(f"No callback step has this token. Received: {token}")
        (running, step) = found[0]
        if running:
            read_outputs(running.definition.by_name[step.name], answer.get(OUTPUT_PARAMETERS, ()))
        if not running or not running.answer(step.name, answer):
            raise Conflict(f"The callback step {step.name} has had its answer. Received: {token}")
        return running.record.arn

    def delete_of(self, pipeline_arn: str) -> None:
        """With their pipeline. Conflict while one runs."""
        with self._lock:
            records = self.of(pipeline_arn)
            if running := [record.arn for record in records if not record.is_over]:
                raise Conflict(f"The pipeline has executions that run. Stop them first: {', '.join(running)}")
            for record in records:
                del self._records[record.arn]
                self._running.pop(record.arn, None)
        for record in records:
            remove(self._root / record.id)

    # Running

    def _run(self, record: ExecutionRecord) -> None:
        """The execution gets the record for itself: what others know of it is a copy."""
        folder = self._folder(record.id)
        definition = read_checked(folder.definition())

        def find_cached(step: Step, key: str) -> StepRecord | None:
            return self._find_cached(record, step, key)

        with self._lock:
            execution = Execution(deepcopy(record), folder, definition, self._services(), find_cached)
            self._running[record.arn] = execution
            execution.start()

    def _find_cached(self, record: ExecutionRecord, step: Step, key: str) -> StepRecord | None:
        """The last success of the pipeline's step with that key, if it is not too old. As on the service: of the same
        pipeline alone, and what was itself reused counts where it ran."""
        age = step.cache.expire_after if step.cache else None
        oldest = float("-inf") if age is None else time.time() - age.total_seconds()
        found = [
            (known.end, other.arn, known)
            for other in self.of(record.pipeline_arn)
            if other.arn != record.arn and (known := other.steps.get(step.name))
            if known.status == "Succeeded" and known.key == key and not known.cached_from and not known.selected_from
            if known.end is not None and known.end >= oldest
        ]
        if not found:
            return None
        _, arn, known = max(found, key=lambda item: item[0])
        return copy_step(known, time.time(), cached_from=arn)

    # The end

    def close(self) -> None:
        """Stops all executions as the service would."""
        with self._lock:
            self._closed = True
            running = list(self._running.values())
        for execution in running:
            execution.close()

    def wait(self, seconds: float) -> bool:
        """Waits for the end of all, at most so long; whether they have ended."""
        with self._lock:
            threads = [one.thread for one in self._running.values() if one.thread]
        return join_all(threads, seconds)
