"""A job's life, as jobs of every kind have it: accepted, running, over.

A job is checked when it is made (its constructor raises) and run by `run`, which returns its description: whatever
happens on the way is in there, not an exception. `stop` and `kill` may come from any thread and from a signal handler.
"""

import math
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from local_test.errors import Cancelled
from local_test.runners.supervisor import EventQueue, Stop
from local_test.training.admission import AcceptedJob, make_folder
from local_test.training.job_status import PLATFORM, JobStatus
from local_test.training.observer import Observer
from local_test.training.publisher import Publisher
from local_test.training.run import JobFailed
from local_test.training.runtime import Runtime, forget, last_seen
from local_test.util.atomic_files import remove_tree
from local_test.util.console import count

GRACE_SECONDS = 120.0  # between SIGTERM and SIGKILL, on the service


class Job(ABC):
    """An accepted request: its folder exists from here on.

    `now` gives aware datetimes; `grace` is a number of seconds. `left`: a server that was killed has left the job.
    """

    status: JobStatus

    def __init__(
        self,
        job: AcceptedJob,
        status: JobStatus,
        observers: Sequence[Observer],
        now: Callable[[], datetime],
        grace: float,
        *,
        left: bool,
    ) -> None:
        self.name, self.arn, self.folder = status.kind.name_of(job.request), job.arn, job.folder
        self.status, self._hosts, self._grace, self._left = status, job.hosts, grace, left
        self._stop_requested, self._upload_limit = threading.Event(), math.inf
        self._events: EventQueue = queue.SimpleQueue()  # of the run that goes on
        self._publisher, self._runtime = Publisher(self.folder, status, observers, now), Runtime(self.folder)
        if left:
            self._take_over()
        else:
            with make_folder(status.kind, job):
                self._publisher.publish()
        for text in job.notes:
            self._publisher.note(text)

    def _take_over(self) -> None:
        if self.status.is_stopping:
            self.stop()
        killed = last_seen(self.folder)
        self._publisher.note("the server was killed while the job ran. Started again")
        self._publisher.move("Restarting", killed)

    def describe(self) -> dict[str, Any]:
        """The response of the kind's Describe operation; times are datetimes."""
        return self.status.describe()

    @property
    def is_saved(self) -> bool:
        """Whether describe.json is what `describe` says: on a full disk it is not."""
        return self._publisher.is_saved

    def observe(self, observer: Observer) -> None:
        """One more; before `run`."""
        self._publisher.observe(observer)

    def stop(self) -> None:
        """As the service would: SIGTERM, SIGKILL after the grace period; artifacts are kept."""
        if not self._stop_requested.is_set():
            self._upload_limit = time.monotonic() + self._grace
        self._stop_requested.set()
        self._events.put(Stop())

    def kill(self) -> None:
        """SIGKILL at once; an upload is given up."""
        self._upload_limit = -math.inf
        self._stop_requested.set()
        self._events.put(Stop(kill=True))

    def run(self) -> dict[str, Any]:
        """The job from beginning to end; its description. Call it once."""
        state = "Failed"
        try:
            if self._left:
                self._keep_left()
                self._clear()
            with self._runtime.kept():
                state = self._work()
        except JobFailed as failure:
            self.status.fail(str(failure))
        except OSError as error:  # the disk is full, or somebody removed the job's folder
            self.status.fail(f"{PLATFORM}: {error}")
        except BaseException as error:  # a bug, or this program is being ended: leave no job that seems to run
            self.status.fail(f"{PLATFORM}: {error or type(error).__name__}")
            raise
        finally:
            self._remove_trees()
            self._publisher.move(state)
            forget(self.folder)
        return self.describe()

    def _keep_left(self) -> None:  # noqa: B027 - nothing, where there are no checkpoints
        """Keeps what a server that was killed has left of the job, before that is removed."""

    def _clear(self) -> None:
        """Removes what the containers have left, before they start again: in what stays, links may lead anywhere."""
        if not self._remove_trees():
            raise JobFailed(f"{PLATFORM}: The job can't start again in the folders that it has left")
        self._publisher.move("Starting")

    @abstractmethod
    def _work(self) -> str:
        """The last state; JobFailed where that is Failed."""

    def _check(self) -> None:
        """Cancelled if the work that comes before the containers is to end."""
        if self._stop_requested.is_set() or self._runtime_left() <= 0:
            raise Cancelled

    def _runtime_left(self) -> float:
        """Seconds until MaxRuntimeInSeconds, which limits all runs of the containers together."""
        return self.status.max_runtime - self._runtime.seconds

    def _cancelled(self) -> str:
        """The last state of a job whose next run was not to begin."""
        return "MaxRuntimeExceeded" if self._runtime_left() <= 0 else "Stopped"

    def _check_upload(self) -> None:
        """A stop is seen now; it ends the upload after the grace period, as it ends a container."""
        if self._stop_requested.is_set() and not self.status.is_stopping:
            self._publisher.move("Stopping")
        if time.monotonic() >= self._upload_limit:
            raise Cancelled

    def _has_trees(self) -> bool:
        """Whether every host has had its /opt/ml: a job may fail before."""
        return all(host.paths.base.is_dir() for host in self._hosts)

    def _remove_trees(self) -> bool:
        """Whether nothing of them is left."""
        problems = [problem for host in self._hosts for problem in remove_tree(self.folder / host.paths.name)]
        if problems:
            self._publisher.note(f"{count(len(problems), 'file')} of the container can't be removed: {problems[0]}")
        return not problems
