"""One execution's life: its steps begin as their dependencies end, several at a time, until all are over or one failed.

What is about to happen is on disk before it happens, so another server takes over where this one was killed: a job
whose name is there is looked for, and only made if it is not there.
"""

import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from local_test.errors import BadRequest, LocalTestError
from local_test.executions.order import Order
from local_test.executions.record import STEP_FAILURE, ExecutionFolder, ExecutionRecord, StepRecord
from local_test.executions.services import ServiceError, Services
from local_test.executions.step_runner import FindCached, StepRunner
from local_test.pipelines.definition import Definition
from local_test.util.console import warn_on_stderr

_SHORTEST, _LONGEST = 0.05, 0.5  # seconds between two looks at the jobs: few where nothing happens
_FULL_SECONDS = 0.5  # between two tries to write to a disk that is full
_BUG = "InternalServerError: A bug of the local platform; its traceback is on the server's terminal"


class Execution:
    """Runs in a thread of its own between `start` and its end."""

    def __init__(
        self,
        record: ExecutionRecord,
        folder: ExecutionFolder,
        definition: Definition,
        services: Services,
        find_cached: FindCached,
    ) -> None:
        self.record, self.definition = record, definition
        self._folder, self._services = folder, services
        self._lock, self._wake = threading.RLock(), threading.Event()
        self._order = Order(definition)
        self._runner = StepRunner(record, definition, services, find_cached, self._save)
        self._closing = False
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
                    self.record.modified = time.time()
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
            self._runner.follow(self.definition.by_name[record.name], record, closing=self._closing)
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
        return next(filter(None, messages), STEP_FAILURE)

    # Which step is next

    def _begin_one(self) -> bool:
        """Begins a step that can begin; whether there was one."""
        with self._lock:
            limit = self.record.parallelism
            if self.record.status != "Executing" or self._has_failed():
                return False
            if limit is not None and len(self._active()) >= limit:
                return False
            step = next(self._order.ready(self.record), None)
            if step is None:
                return False
            attempt = self.record.attempts.get(step.name, 0) + 1
            record = StepRecord(step.name, "Starting", time.time(), attempt=attempt)
            self.record.steps = {**self.record.steps, step.name: record}
        self._runner.begin(step, record)
        return True
