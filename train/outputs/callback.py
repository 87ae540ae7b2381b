"""What follows a job from outside the training: experiment trackers, event files."""

from typing import Protocol

from train.outputs.metric_lines import EpochMetrics


class Callback(Protocol):
    """Exactly one of `on_stop`, `on_failure` and `on_end` is the last call, unless the process is killed."""

    def on_epoch_end(self, metrics: EpochMetrics) -> None:
        """An epoch was trained, validated and saved."""

    def on_stop(self) -> None:
        """The job was stopped; another one may resume it from its checkpoint."""

    def on_failure(self) -> None:
        """The job has failed."""

    def on_end(self) -> None:
        """The job is complete."""
