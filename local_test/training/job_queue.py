"""All jobs of a server: as many run at a time as the machine allows, the others wait their turn."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from local_test.errors import BadRequest, LocalTestError, ResourceInUse
from local_test.training.admission import name_in_use
from local_test.training.job import TrainingJob
from local_test.training.job_status import PLATFORM, JobStatus
from local_test.training.job_store import JobFolders, Tag, change_tags, goes_on
from local_test.training.lifecycle import Job
from local_test.training.metrics import Metric
from local_test.training.observer import Observer
from local_test.training.runtime import forget, last_seen
from local_test.util.arns import format_arn
from local_test.util.clock import now_utc
from local_test.util.threads import join_all

# (request, ARN of its tuning job, description that an earlier server left of it) → an accepted job
NewJob = Callable[[Mapping[str, Any], str | None, Mapping[str, Any] | None], Job]
RETURN_SECONDS = 30.0
LEFT = f"{PLATFORM}: The local server ended while the job ran. Start the job again"


class NotFound(BadRequest):
    """The service's words, under the name that it really uses: ValidationException."""

    def __init__(self) -> None:
        super().__init__("Requested resource not found.")


@dataclass
class _Entry:
    """A job that this server has accepted, or one that an earlier one left: then only its status."""

    name: str
    status: JobStatus
    job: Job | None = None


class MetricForwarder(Observer):
    """Passes every metric of one job on, with the job's name."""

    def __init__(self, name: str, listeners: Sequence[Callable[[str, Metric], None]]) -> None:
        self._name, self._listeners = name, listeners

    def on_metric(self, metric: Metric) -> None:
        for on_metric in self._listeners:
            on_metric(self._name, metric)


class Slots:
    """How many jobs run at a time, those of all regions together: their queues share it, and its lock."""

    def __init__(self, limit: int) -> None:
        self.lock = threading.RLock()
        self._limit, self._taken = limit, 0
        self._waiting: deque[tuple[JobQueue, _Entry]] = deque()

    def add(self, queue: "JobQueue", entry: _Entry) -> None:
        """Starts the job when its turn comes."""
        self._waiting.append((queue, entry))
        self._fill()

    def start_early(self, queue: "JobQueue", entry: _Entry) -> None:
        """Starts a job that waits at once, whatever the limit."""
        with suppress(ValueError):
            self._waiting.remove((queue, entry))
            self._start(queue, entry)

    def free(self) -> None:
        """A job is over."""
        self._taken -= 1
        self._fill()

    def _fill(self) -> None:
        while self._waiting and self._taken < self._limit:
            self._start(*self._waiting.popleft())

    def _start(self, queue: "JobQueue", entry: _Entry) -> None:
        self._taken += 1
        queue.start(entry)


class JobQueue:
    """One region's jobs of a kind. Safe for threads."""

    def __init__(self, store: JobFolders, region: str, status: type[JobStatus], new_job: NewJob, slots: Slots) -> None:
        self._region, self._store, self._kind, self._new_status = region, store, store.kind, status
        self._new_job, self._slots = new_job, slots
        self._lock = slots.lock
        self._entries: dict[str, _Entry] = {}  # by the name in lower case, as ARNs have it
        self._claimed: set[str] = set()  # of jobs that are being made
        self._running: dict[str, threading.Thread] = {}
        self._closed = False
        self.listeners: list[Callable[[str], None]] = []  # called with the name of every job that has ended
        # called with a job's name and every value of a metric as it comes
        self.metric_listeners: list[Callable[[str, Metric], None]] = []
        # called with the description of a job that is deleted
        self.delete_listeners: list[Callable[[Mapping[str, Any]], None]] = []
        for description in store.load():
            self._restore(description)

    def _restore(self, description: dict[str, Any]) -> None:
        """A job of an earlier server; one that has not ended will not any more, unless a pipeline waits for it: see
        `resume`."""
        name = self._kind.name_of(description)
        entry = self._entries[name.lower()] = _Entry(name, self._new_status(description, now_utc))
        if not entry.status.is_over and not goes_on(self._store.folder(name)):
            self._fail(entry, LEFT)

    def _fail(self, entry: _Entry, reason: str) -> None:
        killed = last_seen(self._store.folder(entry.name))
        self._store.remove_trees(entry.name)
        entry.status.fail(reason)
        entry.status.move("Failed", killed)
        self._store.save(entry.status.describe())
        forget(self._store.folder(entry.name))

    def resume(self) -> None:
        """Runs the jobs of pipelines again that an earlier server has left. Call it once the platform's S3 answers."""
        with self._lock:
            left = [(entry.status.describe(), entry) for entry in self._entries.values()]
        for description, entry in sorted(left, key=lambda item: item[0]["CreationTime"]):
            if entry.job is None and not entry.status.is_over:
                self._resume(entry, description)

    def _resume(self, entry: _Entry, description: Mapping[str, Any]) -> None:
        try:
            request = self._store.request(entry.name)
            job = self._new_job(request, description.get("TuningJobArn"), description)
        except (LocalTestError, OSError, ValueError) as error:
            self._fail(entry, f"{PLATFORM}: The local server ended while the job ran, and it can't go on: {error}")
            for on_end in self.listeners:
                on_end(entry.name)
            return
        with self._lock:
            entry.status, entry.job = job.status, job
            self._run_in_turn(entry, job)

    # Operations

    def create(self, request: Mapping[str, Any], tuning_arn: str | None = None) -> str:
        """The ARN. The checks read S3, so they are made without the lock, which the name is claimed with."""
        if self._closed:
            raise BadRequest("The server is ending and takes no more jobs")
        with self._claim(self._kind.name_of(request)):
            job = self._new_job(request, tuning_arn, None)
            entry = _Entry(job.name, job.status, job)
            with self._lock:
                self._entries[job.name.lower()] = entry
                self._run_in_turn(entry, job)
        return job.arn

    def _run_in_turn(self, entry: _Entry, job: Job) -> None:
        job.observe(MetricForwarder(job.name, self.metric_listeners))
        if self._closed:
            job.stop()
        self._slots.add(self, entry)

    @contextmanager
    def _claim(self, name: str) -> Iterator[None]:
        """While inside, no other job gets that name in any case: ARNs have it in small letters."""
        with self._lock:
            if name.lower() in (*self._entries, *self._claimed):
                entry = self._entries.get(name.lower())
                arn = format_arn(self._region, self._kind.resource, name)
                raise name_in_use(self._kind, self._store.folder(entry.name if entry else name), arn)
            self._claimed.add(name.lower())
        try:
            yield
        finally:
            with self._lock:
                self._claimed.discard(name.lower())

    def describe(self, name: str) -> dict[str, Any]:
        return self._entry(name).status.describe()

    def all(self) -> list[dict[str, Any]]:
        with self._lock:
            entries = list(self._entries.values())
        return [entry.status.describe() for entry in entries]

    def stop(self, name: str) -> None:
        """As the Stop operation: one that is stopping already is left to it, one that is over can't be stopped."""
        entry = self._entry(name)
        job = entry.job
        if entry.status.is_over or not job:
            raise self._rejection(entry)
        job.stop()
        with self._lock:
            self._slots.start_early(self, entry)  # one that waits ends at once: it needs no slot for that

    def delete(self, name: str) -> None:
        entry = self._entry(name)
        if not entry.status.is_over:
            status = self._kind.status_of(entry.status.describe())
            raise ResourceInUse(f"The {self._kind.noun} can't be deleted while it is in status {status}: {name}")
        with self._lock:
            thread = self._running.get(name)
        if thread:  # its end is published, and it is about to return
            thread.join(RETURN_SECONDS)
        with self._lock:
            if self._entries.pop(name.lower(), None) is None:
                raise NotFound
        self._store.remove(entry.name)
        for on_delete in self.delete_listeners:
            on_delete(entry.status.describe())

    def change_tags(self, name: str, change: Callable[[list[Tag]], list[Tag]]) -> list[Tag]:
        """The tags after `change`, which gets those before; `name` in any case."""
        with self._lock:
            entry = self._entries.get(name.lower())
            if not entry:
                raise NotFound
            return change_tags(self._store.folder(entry.name), change)

    def _entry(self, name: str) -> _Entry:
        with self._lock:
            entry = self._entries.get(name.lower())
        if not entry or entry.name != name:
            raise NotFound
        return entry

    def _rejection(self, entry: _Entry) -> BadRequest:
        """The service's words."""
        status = self._kind.status_of(entry.status.describe())
        return BadRequest(f"The request was rejected because the {self._kind.noun} is in status {status}.")

    # Running

    def start(self, entry: _Entry) -> None:
        """For Slots, whose lock is held."""
        thread = threading.Thread(target=self._run, args=(entry,), name=f"job-{entry.name}", daemon=True)
        self._running[entry.name] = thread
        thread.start()

    def _run(self, entry: _Entry) -> None:
        assert entry.job
        job = entry.job
        try:
            job.run()
        finally:
            if not job.is_saved:
                self._store.save(entry.status.describe())
            with self._lock:
                entry.job = None
                del self._running[entry.name]
                self._slots.free()
            for on_end in self.listeners:
                on_end(entry.name)

    # The end

    def close(self) -> list[str]:
        """Stops all jobs as the service would; the names of those that still have to end. `wait` for them."""
        with self._lock:
            self._closed = True
            entries = [entry for entry in self._entries.values() if entry.job]
            for entry in entries:
                if entry.job:
                    entry.job.stop()
                self._slots.start_early(self, entry)
            return [entry.name for entry in entries]

    def kill(self) -> None:
        """SIGKILL to what still runs."""
        with self._lock:
            for entry in self._entries.values():
                if entry.job:
                    entry.job.kill()

    def wait(self, seconds: float) -> bool:
        """Waits for the end of all jobs, at most so long; whether they have ended."""
        with self._lock:
            threads = list(self._running.values())
        return join_all(threads, seconds)


class TrainingJobQueue(JobQueue):
    """With what can be done to training jobs alone."""

    def interrupt(self, name: str) -> None:
        """As if its spot instances were taken away."""
        entry = self._entry(name)
        if not isinstance(entry.job, TrainingJob):
            raise self._rejection(entry)
        entry.job.interrupt()

    def update(self, name: str, changes: Mapping[str, Any]) -> str:
        """The ARN. Only a job that is not over can be changed."""
        entry = self._entry(name)
        job, status = entry.job, self._kind.status_of(entry.status.describe())
        if status != "InProgress" or not isinstance(job, TrainingJob):
            raise self._rejection(entry)
        job.update(changes)
        return job.arn
