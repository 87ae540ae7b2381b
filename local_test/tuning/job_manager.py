"""All tuning jobs of a server; each has a folder: request.json, describe.json, training_jobs.json, report.html."""

import json
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local_test.errors import BadRequest, ResourceInUse
from local_test.request.defaults import fill_tuning_job
from local_test.request.validation import service_model
from local_test.training.job_queue import LEFT, RETURN_SECONDS, JobQueue
from local_test.training.job_status import FINAL_STATUSES
from local_test.training.job_store import Tag, change_tags, load, parse, put_aside, remove
from local_test.training.metrics import Metric
from local_test.tuning.html_report import NAME, write_page
from local_test.tuning.job import TuningJob
from local_test.tuning.state import count_statuses
from local_test.tuning.warm_start import TuningJobNotFound, TuningRecord
from local_test.util.arns import format_arn
from local_test.util.atomic_files import new_folder, write_json
from local_test.util.clock import now_utc


class TuningJobManager:
    """Creates tuning jobs, runs each in a thread and keeps them on disk. Safe for threads."""

    def __init__(self, root: Path, jobs: JobQueue) -> None:
        self._root, self._jobs, self._lock = root, jobs, threading.RLock()
        self._running: dict[str, tuple[TuningJob, threading.Thread]] = {}  # by the name in lower case, as ARNs have it
        self._over: dict[str, TuningRecord] = {}
        self._closed = False
        jobs.listeners.append(self._on_job_end)
        jobs.metric_listeners.append(self._on_metric)
        for description in load(root, "DescribeHyperParameterTuningJob"):
            try:
                self._restore(description)
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                put_aside(root / description["HyperParameterTuningJobName"], error)

    def _restore(self, description: dict[str, Any]) -> None:
        """Takes over a tuning job of an earlier server; one that had not ended then has failed."""
        name = description["HyperParameterTuningJobName"]
        description = fill_tuning_job(description)
        shape = service_model().operation_model("ListTrainingJobsForHyperParameterTuningJob").output_shape
        children = parse(
            json.loads((self._root / name / "training_jobs.json").read_text()), shape.members["TrainingJobSummaries"]
        )
        if description["HyperParameterTuningJobStatus"] not in FINAL_STATUSES:
            for child in children:
                if child["TrainingJobStatus"] not in FINAL_STATUSES:
                    child.update(TrainingJobStatus="Failed", FailureReason=LEFT, ObjectiveStatus="Failed")
            now = now_utc()
            description.update(
                HyperParameterTuningJobStatus="Failed",
                FailureReason=LEFT,
                HyperParameterTuningEndTime=now,
                LastModifiedTime=now,
                **count_statuses(children),
            )
            self._save(description, children)
            self._report(description, children)
        self._over[name.lower()] = description, children

    # Operations

    def create(self, request: Mapping[str, Any], region: str) -> str:
        """Starts the tuning job; its ARN."""
        name = request["HyperParameterTuningJobName"]
        arn = format_arn(region, "hyper-parameter-tuning-job", name)
        job = TuningJob(request, arn, self._jobs, region, now_utc, self._save, self._find)
        with self._lock:
            if self._closed:
                raise BadRequest("The server is ending and takes no more jobs")
            if name.lower() in self._running or name.lower() in self._over:
                raise ResourceInUse(
                    f"Hyper parameter tuning job names must be unique. Received: {name}, which is {arn}"
                )
            with new_folder(self._root / name, "The tuning job"):
                write_json(self._root / name / "request.json", request)
                self._save(job.describe(), [])
            thread = threading.Thread(target=self._run, args=(job,), name=f"tuning-{name}", daemon=True)
            self._running[name.lower()] = job, thread
            thread.start()
        return arn

    def describe(self, name: str) -> dict[str, Any]:
        return self._find(name)[0]

    def children(self, name: str) -> list[dict[str, Any]]:
        """A HyperParameterTrainingJobSummary for each of its training jobs."""
        return self._find(name)[1]

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            running, over = list(self._running.values()), list(self._over.values())
        return [*(job.describe() for job, _ in running), *(description for description, _ in over)]

    def stop(self, name: str) -> None:
        status = self.describe(name)["HyperParameterTuningJobStatus"]
        with self._lock:
            found = self._running.get(name.lower())
        if status in FINAL_STATUSES or not found:
            raise BadRequest(f"The request was rejected because the hyper parameter tuning job is in status {status}.")
        found[0].stop()

    def delete(self, name: str) -> None:
        """Keeps its training jobs."""
        status = self.describe(name)["HyperParameterTuningJobStatus"]
        if status not in FINAL_STATUSES:
            raise ResourceInUse(f"The tuning job can't be deleted while it is in status {status}: {name}")
        with self._lock:
            found = self._running.get(name.lower())
        if found:  # its last state is known, its thread about to return
            found[1].join(RETURN_SECONDS)
        with self._lock:
            if self._over.pop(name.lower(), None) is None:
                raise TuningJobNotFound(name)
        remove(self._root / name)

    def change_tags(self, name: str, change: Callable[[list[Tag]], list[Tag]]) -> list[Tag]:
        """The tags after `change`; `name` in any case."""
        with self._lock:
            for key in (*self._running, *self._over):
                if key == name.lower():
                    folder = next(path for path in self._root.iterdir() if path.name.lower() == key)
                    return change_tags(folder, change)
        raise TuningJobNotFound(name)

    def _find(self, name: str) -> TuningRecord:
        with self._lock:
            found, over = self._running.get(name.lower()), self._over.get(name.lower())
        if found and found[0].name == name:
            return found[0].describe(), found[0].children()
        if over and over[0]["HyperParameterTuningJobName"] == name:
            return over
        raise TuningJobNotFound(name)

    # Running

    def _run(self, job: TuningJob) -> None:
        try:
            description = job.run()
            self._report(job.describe(), job.children())
        finally:
            with self._lock:
                del self._running[job.name.lower()]
                self._over[job.name.lower()] = job.describe(), job.children()
        assert description["HyperParameterTuningJobStatus"] in FINAL_STATUSES

    def _on_job_end(self, name: str) -> None:
        """Tells every tuning job, since only they know which training jobs are theirs."""
        with self._lock:
            jobs = [job for job, _ in self._running.values()]
        for job in jobs:
            job.on_job_end(name)

    def _on_metric(self, name: str, metric: Metric) -> None:
        with self._lock:
            jobs = [job for job, _ in self._running.values()]
        for job in jobs:
            job.on_metric(name, metric)

    def _save(self, description: dict[str, Any], children: list[dict[str, Any]]) -> None:
        folder = self._root / description["HyperParameterTuningJobName"]
        write_json(folder / "training_jobs.json", children)
        write_json(folder / "describe.json", description)

    def _report(self, description: dict[str, Any], children: list[dict[str, Any]]) -> None:
        """Writes the page of results; if that fails, the tuning job still counts."""
        name = description["HyperParameterTuningJobName"]
        try:
            write_page(self._root / name / NAME, description, children)
        except (OSError, BadRequest) as error:
            sys.stderr.write(f"local_test: {name}: {NAME} can't be written: {error}\n")

    # The end

    def close(self) -> None:
        """Stops all tuning jobs as the service would."""
        with self._lock:
            self._closed = True
            jobs = [job for job, _ in self._running.values()]
        for job in jobs:
            job.stop()

    def wait(self, seconds: float) -> bool:
        """Waits for the end of all tuning jobs, at most so long; whether they have ended."""
        with self._lock:
            threads = [thread for _, thread in self._running.values()]
        for thread in threads:
            thread.join(seconds)
            if thread.is_alive():
                return False
        return True
