"""One execution's life: its steps begin as their dependencies end, several at a time, until all are over or one failed.

What is about to happen is on disk before it happens, so another server takes over where this one was killed: a job
whose name is there is looked for, and only made if it is not there.
"""

import json
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from graphlib import TopologicalSorter
from typing import Any

from local_test.errors import BadRequest, LocalTestError
from local_test.executions.cache import cache_key
from local_test.executions.kinds import KINDS, Progress, StepContext
from local_test.executions.record import ExecutionFolder, ExecutionRecord, StepRecord
from local_test.executions.retries import explain, kind_of_error, kind_of_failure, next_attempt
from local_test.executions.scope import ExecutionScope
from local_test.executions.services import ServiceError, Services
from local_test.pipelines.conditions import hold
from local_test.pipelines.definition import Definition, Step
from local_test.pipelines.expressions import resolve
from local_test.pipelines.step_types import STEP_TYPES, resolve_arguments
from local_test.util.console import warn_on_stderr

_SHORTEST, _LONGEST = 0.05, 0.5  # seconds between two looks at the jobs: few where nothing happens
_FULL_SECONDS = 0.5  # between two tries to write to a disk that is full
_FAILED = "Step failure: One or multiple steps failed."  # the service's words
_MESSAGE = 3072  # characters of a Fail step's message, in the API's model
_BUG = "InternalServerError: A bug of the local platform; its traceback is on the server's terminal"

# (step, key) → what an earlier execution knows of a step with the same arguments
FindCached = Callable[[Step, str], StepRecord | None]


class Execution:
    """Runs in a thread of its own between `start` and its end. `now` gives epoch seconds."""

    def __init__(
        self,
        record: ExecutionRecord,
        folder: ExecutionFolder,
        definition: Definition,
        services: Services,
        find_cached: FindCached,
        now: Callable[[], float],
    ) -> None:
        self.record, self.definition = record, definition
        self._folder, self._services, self._find_cached, self._now = folder, services, find_cached, now
        self._lock, self._wake = threading.RLock(), threading.Event()
        self._told: set[str] = set()  # steps that were told to stop
        self._created: set[str] = set()  # steps whose creation this server has begun
        self._closing = False
        before = {name: definition.predecessors(name) for name in definition.by_name}
        self._order = tuple(TopologicalSorter(before).static_order())  # each after those that it waits for
        self.thread: threading.Thread | None = None

    # From any thread

    def start(self) -> None:
        self.thread = threading.Thread(target=self._run, name=f"execution-{self.record.id}", daemon=True)
        self.thread.start()

    def change(self, **members: Any) -> None:
        """Of the record, kept before this returns."""
        with self._lock:
            for name, value in members.items():
                setattr(self.record, name, value)
            self._save()
        self._wake.set()

    def stop(self, token: str = "") -> None:
        """Its jobs are stopped, then it has Stopped. `token` tells the request that asks for it."""
        with self._lock:
            if self.record.status == "Executing":
                self.change(status="Stopping", tokens={"Stop": token})

    def answer(self, name: str, answer: Mapping[str, Any]) -> bool:
        """What SendPipelineExecutionStepSuccess and -Failure say; False if the step has had an answer, or is over."""
        with self._lock:
            step = self.record.steps[name]
            if step.is_over or step.answer is not None:
                return False
            step.answer = dict(answer)
            try:
                self._save()
            except LocalTestError:
                step.answer = None
                raise
        self._wake.set()
        return True

    def close(self) -> None:
        """The server ends: stopped, and nobody's answer is waited for."""
        self._closing = True
        self.stop()
        self._wake.set()

    # In the thread

    def _run(self) -> None:
        pause, before = _SHORTEST, 0.0
        try:
            if self._prepare():
                while self._advance():
                    pause = min(2 * pause, _LONGEST) if self.record.modified == before else _SHORTEST
                    before = self.record.modified
                    self._wake.wait(pause)
                    self._wake.clear()
        except OSError as error:  # the server ends, and its disk is full: what is there goes on with the next one
            warn_on_stderr(f"The execution {self.record.id} is not kept as it is: {error}")
        except Exception:  # a bug: clients that wait for the execution learn of it
            warn_on_stderr(traceback.format_exc())
            self._end("Failed", _BUG)

    def _save(self) -> None:
        """The execution's own thread waits for room on a full disk, since what is not on disk must not happen; anybody
        else gets BadRequest."""
        said = False
        while True:
            try:
                with self._lock:
                    self.record.modified = self._now()
                    self._folder.save(self.record)
                return
            except OSError as error:
                problem = f"The execution {self.record.id} can't be kept: {error.strerror}"
                if threading.current_thread() is not self.thread:
                    raise BadRequest(problem) from None
                if self._closing:
                    raise
                if not said:
                    warn_on_stderr(f"{problem}. It goes on once it can be. Received: {self._folder.path}")
                said = True
            time.sleep(_FULL_SECONDS)

    def _end(self, status: str, failure: str = "") -> None:
        with self._lock:
            self.record.status, self.record.failure = status, failure[:1300]
        with suppress(OSError):
            self._save()

    def _prepare(self) -> bool:
        """Experiment and trial, as the service makes them; False if that can't be."""
        experiment = self.record.experiment
        if experiment is None:
            return True
        try:
            name = {"ExperimentName": experiment["ExperimentName"]}
            self._make("Experiment", name)
            owner = self._make("Trial", {**name, "TrialName": experiment["TrialName"]}).get("ExperimentName")
        except LocalTestError as error:
            self._end("Failed", f"PipelineExperimentConfig: {error}")
            return False
        if owner and owner.lower() != name["ExperimentName"].lower():
            self._end("Failed", f"PipelineExperimentConfig: trial {experiment['TrialName']} is of experiment {owner}")
            return False
        return True

    def _make(self, what: str, members: dict[str, str]) -> dict[str, Any]:
        """The description of the one that is there, which is made if there is none."""
        name = {f"{what}Name": members[f"{what}Name"]}
        try:
            return self._services.call(f"Describe{what}", name)
        except ServiceError as error:
            if error.code != "ResourceNotFound":
                raise
        return self._services.call(f"Create{what}", members)

    def _advance(self) -> bool:
        """Looks at what runs, and begins what can begin; whether there is anything left to wait for."""
        for record in self._active():
            self._follow(self.definition.by_name[record.name], record)
        while self._begin_one():
            pass
        if self._active():
            return True
        self._finish()
        return False

    def _active(self) -> list[StepRecord]:
        return [record for record in self.record.steps.values() if not record.is_over]

    def _has_failed(self) -> bool:
        return any(record.status in ("Failed", "Stopped") for record in self.record.steps.values())

    def _finish(self) -> None:
        if self.record.status == "Stopping":
            self._end("Stopped")
        elif self._has_failed():
            self._end("Failed", self._failure())
        else:
            self._end("Succeeded")

    def _failure(self) -> str:
        """A Fail step's own message says more than the service's words."""
        messages = [
            record.failure
            for name, record in self.record.steps.items()
            if record.status == "Failed" and self.definition.by_name[name].type == "Fail"
        ]
        return next(filter(None, messages), _FAILED)

    # Which step is next

    def _begin_one(self) -> bool:
        """Begins a step that can begin; whether there was one."""
        with self._lock:
            limit = self.record.parallelism
            if self.record.status != "Executing" or self._has_failed():
                return False
            if limit is not None and len(self._active()) >= limit:
                return False
            step = next(self._ready(), None)
            if step is None:
                return False
            attempt = self.record.attempts.get(step.name, 0) + 1
            record = StepRecord(step.name, "Starting", self._now(), attempt=attempt)
            self.record.steps = {**self.record.steps, step.name: record}
        self._begin(step, record)
        return True

    def _ready(self) -> Iterator[Step]:
        left_out = self._find_left_out()
        done = left_out | {name for name, record in self.record.steps.items() if record.status == "Succeeded"}
        for name, step in self.definition.by_name.items():
            if name not in self.record.steps and name not in left_out and self.definition.predecessors(name) <= done:
                yield step

    def _find_left_out(self) -> set[str]:
        """Steps that are not selected, in a branch that was not taken, or that depend on such a step."""
        selected = set(self.definition.by_name if self.record.selected is None else self.record.selected)
        left_out: set[str] = set()
        for name in self._order:
            needed = self.definition.by_name[name].dependencies & selected
            if name not in selected or needed & left_out or self._is_in_other_branch(name, selected, left_out):
                left_out.add(name)
        return left_out

    def _is_in_other_branch(self, name: str, selected: set[str], left_out: set[str]) -> bool:
        """A branch's step that is selected without its condition is in the branch that was taken."""
        parent = self.definition.parents.get(name)
        if parent is None or parent not in selected:
            return False
        record, step = self.record.steps.get(parent), self.definition.by_name[parent]
        if record is None or record.outputs is None:
            return parent in left_out
        branch = step.if_steps if record.outputs["Outcome"] == "true" else step.else_steps
        return name not in {inner.name for inner in branch}

    # A step

    def _begin(self, step: Step, record: StepRecord) -> None:
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
        record.identity = KINDS[step.type].identify(self.record, step, _literals(step.arguments))
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
        return ExecutionScope(self.record, self.definition, self._services, self._now, job)

    def _context(self, step: Step, record: StepRecord) -> StepContext:
        return StepContext(self.record, step, record, self._services)

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

    def _follow(self, step: Step, record: StepRecord) -> None:
        """One look at a step that is not over."""
        if self.record.status == "Stopping" and self._stop(step, record):
            return
        if record.retry_at is not None and self._now() < record.retry_at:
            return
        try:
            if record.status == "Starting" and not self._take_up(step, record):
                return
            progress = KINDS[step.type].look(self._context(step, record))
        except LocalTestError as error:
            self._fail(step, record, kind_of_error(error), f"ClientError: {error}")
            return
        if progress.status == "Succeeded":
            self._services.keep_data()
            self._settle(record, "Succeeded", outputs=dict(progress.outputs))
        elif progress.status != "Executing":
            self._handle_end(step, record, progress)

    def _take_up(self, step: Step, record: StepRecord) -> bool:
        """A step that was being begun when the server was killed, or that is tried again. Whether there is something
        to look at: what was made before is."""
        if record.retry_at is not None:
            record.retry_at = None
            record.identity = KINDS[step.type].identify(self.record, step, _literals(step.arguments))
            self._save()
        elif not record.identity:
            self._begin(step, record)
            return False
        elif KINDS[step.type].find(self._context(step, record)):
            record.status = "Executing"
            self._save()
            return True
        self._create(step, record, self._arguments(step, record))
        return False

    def _handle_end(self, step: Step, record: StepRecord, progress: Progress) -> None:
        if self.record.status == "Stopping":
            self._settle(record, progress.status, failure=progress.failure)
        elif progress.status == "Failed":
            self._fail(step, record, kind_of_failure(progress.failure), f"ClientError: {progress.failure}")
        else:  # by somebody else, or by one of its limits
            reason = progress.failure or "it was stopped before its end"
            self._settle(record, "Failed", failure=f"ClientError: {record.identity} is Stopped: {reason}")

    def _fail(self, step: Step, record: StepRecord, kind: str, reason: str) -> None:
        """It has failed, or is tried again if a retry policy says so."""
        at = next_attempt(step.retry_policies, record, kind, self._now()) if self.record.status == "Executing" else None
        if at is None:
            known = any(kind in policy.exceptions for policy in step.retry_policies)
            self._settle(
                record,
                "Failed",
                failure=reason + ("" if known or not kind else explain(kind, self.record.arn, step.name)),
            )
        else:
            record.status, record.retry_at, record.attempt = "Starting", at, record.attempt + 1
            self._save()

    def _stop(self, step: Step, record: StepRecord) -> bool:
        """Tells the step to stop, once; whether it has stopped with that."""
        waits = record.retry_at is not None or not record.identity
        if waits or (self._closing and step.type == "Callback"):
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
        record.failure, record.outputs, record.end = failure, outputs, self._now()
        record.status = status
        self._save()


def _literals(arguments: Any) -> Mapping[str, Any]:
    """The arguments that are texts as they stand."""
    return {name: value for name, value in arguments.items() if isinstance(value, str)}
