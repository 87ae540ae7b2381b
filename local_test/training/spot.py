"""Spot interruptions on demand: a tag that takes the instances away after a while."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from local_test.errors import BadRequest
from local_test.training.job import TrainingJob
from local_test.training.observer import Observer

TAG = "local-test:interrupt-after-seconds"


class InterruptLater(Observer):
    """Interrupts `job`, which is set once it exists, once: so many seconds after it has begun to train."""

    def __init__(self, seconds: float) -> None:
        self.job: TrainingJob | None = None
        self._seconds, self._timer = seconds, threading.Timer(seconds, self._interrupt)
        self._timer.daemon = True

    def on_transition(self, description: dict[str, Any]) -> None:
        if description["SecondaryStatus"] == "Training" and not self._timer.ident:
            self._timer.start()
        elif description["TrainingJobStatus"] != "InProgress":
            self._timer.cancel()

    def _interrupt(self) -> None:
        if self.job:
            with suppress(BadRequest):  # it is over, or does not train any more
                self.job.interrupt()


def asked_for(request: Mapping[str, Any]) -> Sequence[InterruptLater]:
    """By the tag. BadRequest if its value is no number of seconds, or the job has no spot instances."""
    for tag in request.get("Tags", []):
        if tag["Key"] == TAG:
            if not request.get("EnableManagedSpotTraining"):
                raise BadRequest(f"The tag {TAG} is for EnableManagedSpotTraining only")
            try:
                return [InterruptLater(float(tag["Value"]))]
            except ValueError:
                raise BadRequest(f"The tag {TAG} must be a number. Received: {tag['Value']}") from None
    return []
