"""All tuning jobs of a server; each has a folder: request.json, describe.json, training_jobs.json, report.html."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_test.errors import BadRequest, LocalTestError, ResourceInUse
from local_test.request.defaults import fill_tuning_job
from local_test.request.job_kind import TUNING
from local_test.request.validation import service_model
from local_test.training.job_queue import LEFT, RETURN_SECONDS, JobQueue
from local_test.training.job_status import FINAL_STATUSES, PLATFORM
from local_test.training.job_store import Tag, change_tags, goes_on, load, parse, put_aside, remove
from local_test.training.metrics import Metric
from local_test.tuning.html_report import NAME, write_page
from local_test.tuning.job import TuningJob
from local_test.tuning.state import count_statuses
from local_test.tuning.warm_start import TuningJobNotFound, TuningRecord
from local_test.util.arns import format_arn
from local_test.util.atomic_files import DAMAGE, new_folder, write_json
from local_test.util.clock import now_utc
from local_test.util.console import warn_on_stderr
from local_test.util.late_writes import LateWrites
from local_test.util.threads import join_all


@dataclass
class _Entry:
    """A tuning job that runs in its thread, or one that is over: then only its record."""

    name: str
    read: Callable[[], TuningRecord]
    job: TuningJob | None = None
    thread: threading.Thread | None = None


class TuningJobManager:
    """Creates tuning jobs, runs each in a thread and keeps them on disk. Safe for threads."""

    def __init__(self, root: Path, region: str, jobs: JobQueue, late: LateWrites) -> None:
        self._root, self._region, self._jobs, self._late = root, region, jobs, late
        self._lock = threading.RLock()
        self._entries: dict[str, _Entry] = {}  # by the name in lower case, as ARNs have it
        self._closed = False
        self.listeners: list[Callable[[dict[str, Any]], None]] = []  # called with a description after every change
        # raises for a training job that could not be run: the service refuses the tuning job then
        self.check_job: Callable[[Mapping[str, Any]], None] = lambda _: None
        jobs.listeners.append(self._on_job_end)
        jobs.metric_listeners.append(self._on_metric)
        for description in load(root, "DescribeHyperParameterTuningJob"):
            try:
                self._restore(description)
            except DAMAGE as error:
                put_aside(root / description["HyperParameterTuningJobName"], error)

    def _restore(self, description: dict[str, Any]) -> None:
        """Takes over a tuning job of an earlier server; one that had not ended then has failed, unless a pipeline waits
        for it: see `resume`."""
        name = description["HyperParameterTuningJobName"]
        description = fill_tuning_job(description)
        shape = service_model().operation_model("ListTrainingJobsForHyperParameterTuningJob").output_shape
        children = parse(
            json.loads((self._root / name / "training_jobs.json").read_text()), shape.members["TrainingJobSummaries"]
        )
        is_over = description["HyperParameterTuningJobStatus"] in FINAL_STATUSES
        if not is_over and not goes_on(self._root / name):
            self._fail(description, children, LEFT)
        self._entries[name.lower()] = _Entry(name, lambda: (description, children))

    def _fail(self, description: dict[str, Any], children: list[dict[str, Any]], reason: str) -> None:
        for child in children:
            if child["TrainingJobStatus"] not in FINAL_STATUSES:
                child.update(TrainingJobStatus="Failed", FailureReason=reason, ObjectiveStatus="Failed")
        now = now_utc()
        description.update(
            HyperParameterTuningJobStatus="Failed",
            FailureReason=reason,
            HyperParameterTuningEndTime=now,
            LastModifiedTime=now,
            **count_statuses(children),
        )
        self._save(description, children)
        self._report(description, children)

    def resume(self) -> None:
        """Goes on with the tuning jobs of pipelines that an earlier server has left. Call it after their training jobs
        were begun again."""
        with self._lock:
            entries = list(self._entries.values())
        for entry in entries:
            description, children = entry.read()
            if not entry.job and description["HyperParameterTuningJobStatus"] not in FINAL_STATUSES:
                self._resume(entry, description, children)

    def _resume(self, entry: _Entry, description: dict[str, Any], children: list[dict[str, Any]]) -> None:
        arn = description["HyperParameterTuningJobArn"]
        try:
            request = json.loads((self._root / entry.name / "request.json").read_text())
            job = self._new_job(request, arn, (description, children))
        except (LocalTestError, OSError, ValueError, KeyError) as error:
            reason = f"{PLATFORM}: The local server ended while the job ran, and it can't go on: {error}"
            self._fail(description, children, reason)
            return
        with self._lock:
            self._start(entry, job)

    def _new_job(self, request: Mapping[str, Any], arn: str, left: TuningRecord | None = None) -> TuningJob:
        def find(name: str) -> TuningRecord:
            return self._entry(name).read()

        return TuningJob(request, arn, self._jobs, self._region, now_utc, self._save, find, left=left)

    def _start(self, entry: _Entry, job: TuningJob) -> None:
        entry.read, entry.job = lambda: (job.describe(), job.children()), job
        entry.thread = threading.Thread(target=self._run, args=(entry,), name=f"tuning-{entry.name}", daemon=True)
        entry.thread.start()

    # Operations

    def create(self, request: Mapping[str, Any]) -> str:
        """Starts the tuning job; its ARN."""
        name = request["HyperParameterTuningJobName"]
        arn = format_arn(self._region, TUNING.resource, name)
        job = self._new_job(request, arn)
        job.check(self.check_job)
        with self._lock:
            if self._closed:
                raise BadRequest("The server is ending and takes no more jobs")
            if name.lower() in self._entries:
                raise ResourceInUse(
                    f"Hyper parameter tuning job names must be unique. Received: {name}, which is {arn}"
                )
            with new_folder(self._root / name, "The tuning job"):
                write_json(self._root / name / "request.json", request)
                write_json(self._root / name / "training_jobs.json", [])
                write_json(self._root / name / "describe.json", job.describe())
            entry = self._entries[name.lower()] = _Entry(name, lambda: (job.describe(), job.children()))
            self._start(entry, job)
        return arn

    def describe(self, name: str) -> dict[str, Any]:
        return self._entry(name).read()[0]

    def children(self, name: str) -> list[dict[str, Any]]:
        """A HyperParameterTrainingJobSummary for each of its training jobs."""
        return self._entry(name).read()[1]

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            entries = list(self._entries.values())
        return [entry.read()[0] for entry in entries]

    def stop(self, name: str) -> None:
        entry = self._entry(name)
        job, status = entry.job, entry.read()[0]["HyperParameterTuningJobStatus"]
        if status in FINAL_STATUSES or not job:
            raise BadRequest(f"The request was rejected because the hyper parameter tuning job is in status {status}.")
        job.stop()

    def delete(self, name: str) -> None:
        """Keeps its training jobs."""
        entry = self._entry(name)
        status = entry.read()[0]["HyperParameterTuningJobStatus"]
        if status not in FINAL_STATUSES:
            raise ResourceInUse(f"The tuning job can't be deleted while it is in status {status}: {name}")
        if entry.thread:  # its last state is known, its thread about to return
            entry.thread.join(RETURN_SECONDS)
        with self._lock:
            if self._entries.pop(name.lower(), None) is None:
                raise TuningJobNotFound(name)
        self._late.drop(self._root / name)
        remove(self._root / name)

    def change_tags(self, name: str, change: Callable[[list[Tag]], list[Tag]]) -> list[Tag]:
        """The tags after `change`; `name` in any case."""
        with self._lock:
            entry = self._entries.get(name.lower())
            if not entry:
                raise TuningJobNotFound(name)
            return change_tags(self._root / entry.name, change)

    def _entry(self, name: str) -> _Entry:
        with self._lock:
            entry = self._entries.get(name.lower())
        if not entry or entry.name != name:
            raise TuningJobNotFound(name)
        return entry

    # Running

    def _run(self, entry: _Entry) -> None:
        assert entry.job
        try:
            entry.job.run()
            self._report(*entry.read())
        finally:
            record = entry.read()  # of the training jobs, which may be deleted, it asks no more
            entry.read, entry.job = lambda: record, None

    def _on_job_end(self, name: str) -> None:
        """Tells every tuning job, since only they know which training jobs are theirs."""
        for job in self._running():
            job.on_job_end(name)

    def _on_metric(self, name: str, metric: Metric) -> None:
        for job in self._running():
            job.on_metric(name, metric)

    def _running(self) -> list[TuningJob]:
        with self._lock:
            return [entry.job for entry in self._entries.values() if entry.job]

    def _save(self, description: dict[str, Any], children: list[dict[str, Any]]) -> None:
        folder = self._root / description["HyperParameterTuningJobName"]
        self._late.write(folder / "training_jobs.json", children)
        self._late.write(folder / "describe.json", description)
        for on_change in self.listeners:
            on_change(description)

    def _report(self, description: dict[str, Any], children: list[dict[str, Any]]) -> None:
        """Writes the page of results; if that fails, the tuning job still counts."""
        name = description["HyperParameterTuningJobName"]
        try:
            write_page(self._root / name / NAME, description, children)
        except (OSError, BadRequest) as error:
            warn_on_stderr(f"{name}: {NAME} can't be written: {error}")

    # The end

    def close(self) -> None:
        """Stops all tuning jobs as the service would."""
        with self._lock:
            self._closed = True
        for job in self._running():
            job.stop()

    def wait(self, seconds: float) -> bool:
        """Waits for the end of all tuning jobs, at most so long; whether they have ended."""
        with self._lock:
            threads = [entry.thread for entry in self._entries.values() if entry.thread]
        return join_all(threads, seconds)
