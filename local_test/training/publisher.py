"""Publishes what a job does: its status in describe.json, notes in platform.log, all of it to observers."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from local_test.data.fifo_feeder import FeedProgress
from local_test.training.job_status import JobStatus
from local_test.training.metrics import Metric
from local_test.training.observer import Observer
from local_test.util.atomic_files import write_json
from local_test.util.progress_lines import StepProgress


class Publisher:
    """For the job whose folder this is. Safe for threads; `observe` is for before they start."""

    def __init__(
        self, folder: Path, status: JobStatus, observers: Sequence[Observer], now: Callable[[], datetime]
    ) -> None:
        self._folder, self._status, self._observers, self.now = folder, status, list(observers), now
        self.kind = status.kind
        self._writing = threading.Lock()
        self.is_saved = True  # whether describe.json is the status

    def observe(self, observer: Observer) -> None:
        self._observers.append(observer)

    def move(self, state: str, at: datetime | None = None) -> None:
        """Into a secondary state, as JobStatus.move. What can't be written on a full disk is told to observers all the
        same."""
        for observer in self._observers:
            observer.before_transition(state)
        self._status.move(state, at)
        try:
            self.write_description()
        except OSError as error:
            self.note(f"describe.json can't be written, so it does not say {state}: {error.strerror}")
        self._tell()

    def publish(self) -> None:
        """The job's first state. OSError if it can't be written."""
        self.write_description()
        self._tell()

    def _tell(self) -> None:
        description = self._status.describe()
        for observer in self._observers:
            observer.on_transition(description)

    def write_description(self) -> None:
        with self._writing:  # two writers would share a temporary name, and the older description could win
            self.is_saved = False
            write_json(self._folder / "describe.json", self._status.describe())
            self.is_saved = True

    def note(self, text: str) -> None:
        with suppress(OSError), (self._folder / "logs/platform.log").open("a", encoding="utf-8") as log:
            log.write(f"{self.now().isoformat(timespec='milliseconds')} {text}\n")
        for observer in self._observers:
            observer.on_note(text)

    def line(self, host: str, line: str, metrics: Sequence[Metric]) -> None:
        """A line of the host's container, and the metrics in it."""
        for observer in self._observers:
            observer.on_line(line, host)
            for metric in metrics:
                observer.on_metric(metric)

    def progress(self, progress: StepProgress) -> None:
        for observer in self._observers:
            observer.on_progress(progress)

    def feed(self, progress: FeedProgress) -> None:
        for observer in self._observers:
            observer.on_feed(progress)
