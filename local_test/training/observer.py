"""Observers of a job: a display, an API, a tuner. They are called in the job's threads, several at a time."""

from typing import Any

from local_test.data.fifo_feeder import FeedProgress
from local_test.training.metrics import Metric
from local_test.util.progress_lines import StepProgress


class Observer:
    """Each method does nothing until it is overridden. None may raise."""

    def before_transition(self, state: str) -> None:
        """The job is about to have a new secondary state, which nobody sees yet."""

    def on_transition(self, description: dict[str, Any]) -> None:
        """The job has a new state: its description, a copy."""

    def on_line(self, line: str, host: str) -> None:
        """The host's container has printed a line."""

    def on_metric(self, metric: Metric) -> None:
        """A definition has found a value."""

    def on_progress(self, progress: StepProgress) -> None:
        """The program has said how far it is."""

    def on_feed(self, fed: FeedProgress) -> None:
        """A FIFO of the first host was opened, has got more data, or is served."""

    def on_note(self, text: str) -> None:
        """A note of the platform's, one line."""
