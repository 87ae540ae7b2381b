"""The work of one execution's steps: begun, looked at, tried again, stopped."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from local_test.errors import LocalTestError
from local_test.executions.cache import cache_key
from local_test.executions.kinds import KINDS, Progress, StepContext
from local_test.executions.record import ExecutionRecord, StepRecord
from local_test.executions.retries import explain, kind_of_error, kind_of_failure, next_attempt
from local_test.executions.scope import ExecutionScope
from local_test.executions.services import Services
from local_test.pipelines.conditions import hold
from local_test.pipelines.definition import Definition, Step
from local_test.pipelines.expressions import resolve
from local_test.pipelines.step_types import STEP_TYPES, resolve_arguments

_MESSAGE = 3072  # characters of a Fail step's message, in the API's model: more than of any other reason

# (step, key) → what an earlier execution knows of a step with the same arguments
FindCached = Callable[[Step, str], StepRecord | None]


class StepRunner:
    """For the thread of the execution, which `save` writes to disk."""

    def __init__(
        self,
        execution: ExecutionRecord,
        definition: Definition,
        services: Services,
        find_cached: FindCached,
        save: Callable[[], None],
    ) -> None:
        self._execution, self._definition, self._services = execution, definition, services
        self._find_cached, self._save = find_cached, save
        self._told: set[str] = set()  # steps that were told to stop
        self._created: set[str] = set()  # steps whose creation this server has begun

    def begin(self, step: Step, record: StepRecord) -> None:
        """Starts its work, or does it."""
        try:
            if step.type == "Condition":
                self._decide(step, record)
            elif step.type == "Fail":
                found = resolve(step.arguments["ErrorMessage"], self._scope())
                message = found if isinstance(found, str) else json.dumps(found)  # a number of a property file's
                record.metadata = {"Fail": {"ErrorMessage": message[:_MESSAGE]}}
                self._settle(record, "Failed", failure=message)
            else:
                self._begin_work(step, record)
        except LocalTestError as error:
            self._settle(record, "Failed", failure=f"ClientError: {error}")

    def _decide(self, step: Step, record: StepRecord) -> None:
        outcome = hold(step.arguments["Conditions"], self._scope())
        record.metadata = {"Condition": {"Outcome": str(outcome)}}
        self._settle(record, "Succeeded", outputs={"Outcome": str(outcome).lower()})

    def _begin_work(self, step: Step, record: StepRecord) -> None:
        record.identity = KINDS[step.type].identify(self._execution, step, _literals(step.arguments))
        request = self._arguments(step, record)
        record.key = cache_key(step.type, request)
        if step.cache and step.cache.enabled and record.key and (found := self._find_cached(step, record.key)):
            record.cached_from, record.arn, record.metadata = found.cached_from, found.arn, found.metadata
            self._settle(record, "Succeeded", outputs=found.outputs)
            return
        self._save()
        self._create(step, record, request)

    def _arguments(self, step: Step, record: StepRecord) -> dict[str, Any]:
        scope = self._scope(record.identity)
        arguments = resolve_arguments(step, scope)
        return (
            {**arguments, "SqsQueueUrl": resolve(step.members["SqsQueueUrl"], scope)}
            if step.type == "Callback"
            else arguments
        )

    def _scope(self, job: str = "") -> ExecutionScope:
        return ExecutionScope(self._execution, self._definition, self._services, job)

    def _context(self, step: Step, record: StepRecord) -> StepContext:
        return StepContext(self._execution, step, record, self._services)

    def _create(self, step: Step, record: StepRecord, request: dict[str, Any]) -> None:
        self._created.add(record.identity)
        try:
            KINDS[step.type].create(self._context(step, record), request)
        except LocalTestError as error:
            operation = (
                f"sagemaker:{STEP_TYPES[step.type].operation}" if STEP_TYPES[step.type].operation else "sqs:SendMessage"
            )
            reason = f"ClientError: Failed to invoke {operation}. Error Details: {error}"
            self._fail(step, record, kind_of_error(error), reason)
            return
        record.status = "Executing"
        self._save()

    def follow(self, step: Step, record: StepRecord, *, closing: bool) -> None:
        """One look at a step that is not over. `closing`: the server ends, and nobody's answer is waited for."""
        try:
            if self._execution.status == "Stopping" and self._stop(step, record, closing):
                return
            if record.retry_at is not None and time.time() < record.retry_at:
                return
            if record.status == "Starting" and not self._take_up(step, record):
                return
            progress = KINDS[step.type].look(self._context(step, record))
        except LocalTestError as error:
            self._fail(step, record, kind_of_error(error), f"ClientError: {error}")
            return
        if progress.status == "Succeeded":
            if step.type == "Callback":  # what somebody else has put into S3; jobs see to what is theirs
                self._services.keep_data()
            self._settle(record, "Succeeded", outputs=dict(progress.outputs))
        elif progress.status != "Executing":
            self._handle_end(step, record, progress)

    def _take_up(self, step: Step, record: StepRecord) -> bool:
        """A step that was being begun when the server was killed, or that is tried again. Whether there is something
        to look at: what was made before is."""
        if record.retry_at is not None:
            record.retry_at = None
            record.identity = KINDS[step.type].identify(self._execution, step, _literals(step.arguments))
            self._save()
        elif not record.identity:
            self.begin(step, record)
            return False
        elif KINDS[step.type].find(self._context(step, record)):
            record.status = "Executing"
            self._save()
            return True
        self._create(step, record, self._arguments(step, record))
        return False

    def _handle_end(self, step: Step, record: StepRecord, progress: Progress) -> None:
        if self._execution.status == "Stopping":
            self._settle(record, progress.status, failure=progress.failure)
        elif progress.status == "Failed":
            self._fail(step, record, kind_of_failure(progress.failure), f"ClientError: {progress.failure}")
        else:  # by somebody else, or by one of its limits
            reason = progress.failure or "it was stopped before its end"
            self._settle(record, "Failed", failure=f"ClientError: {record.identity} is Stopped: {reason}")

    def _fail(self, step: Step, record: StepRecord, kind: str, reason: str) -> None:
        """It has failed, or is tried again if a retry policy says so."""
        at = (
            next_attempt(step.retry_policies, record, kind, time.time())
            if self._execution.status == "Executing"
            else None
        )
        if at is None:
            known = any(kind in policy.exceptions for policy in step.retry_policies)
            self._settle(
                record,
                "Failed",
                failure=reason + ("" if known or not kind else explain(kind, self._execution.arn, step.name)),
            )
        else:
            record.status, record.retry_at, record.attempt = "Starting", at, record.attempt + 1
            self._save()

    def _stop(self, step: Step, record: StepRecord, closing: bool) -> bool:
        """Tells the step to stop, once; whether it has stopped with that."""
        waits = record.retry_at is not None or not record.identity
        if waits or (closing and step.type == "Callback"):
            self._settle(record, "Stopped")
            return True
        kind, context = KINDS[step.type], self._context(step, record)
        if record.name not in self._told:
            self._told.add(record.name)
            if record.status == "Starting" and record.identity not in self._created and not kind.find(context):
                self._settle(record, "Stopped")
                return True
            kind.stop(context)
            record.status = "Stopping"
            self._save()
        return False

    def _settle(
        self, record: StepRecord, status: str, *, failure: str = "", outputs: dict[str, Any] | None = None
    ) -> None:
        record.failure, record.outputs, record.end = failure[:_MESSAGE], outputs, time.time()
        record.status = status
        self._save()


def _literals(arguments: Any) -> Mapping[str, Any]:
    """The arguments that are texts as they stand."""
    return {name: value for name, value in arguments.items() if isinstance(value, str)}
