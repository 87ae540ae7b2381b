"""Spot interruptions on demand: a tag that takes the instances away after a while."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from local_test.errors import BadRequest
from local_test.training.job import TrainingJob
from local_test.training.observer import Observer
from local_test.util.numbers import number

_LONGEST = 28 * 24 * 3600  # seconds: the longest job that the service runs
TAG = "local-test:interrupt-after-seconds"


class SpotInterruption(Observer):
    """Interrupts `job` once, `seconds` after it has begun to train. To be given to the job by `observe`."""

    def __init__(self, job: TrainingJob, seconds: float) -> None:
        self._job, self._timer = job, threading.Timer(seconds, self._interrupt)
        self._timer.daemon = True

    def on_transition(self, description: dict[str, Any]) -> None:
        if description["SecondaryStatus"] == "Training" and not self._timer.ident:
            self._timer.start()
        elif description["TrainingJobStatus"] != "InProgress":
            self._timer.cancel()

    def _interrupt(self) -> None:
        with suppress(BadRequest):  # it is over, or does not train any more
            self._job.interrupt()


def seconds_from_tags(request: Mapping[str, Any]) -> float | None:
    """The value of the tag, None without it. BadRequest if it is not a number, or the job has no spot instances."""
    for tag in request.get("Tags", []):
        if tag["Key"] == TAG:
            if not request.get("EnableManagedSpotTraining"):
                raise BadRequest(f"The tag {TAG} is for EnableManagedSpotTraining only")
            seconds = number(tag["Value"])
            if seconds is None or not 0 <= seconds <= _LONGEST:  # nan is neither
                raise BadRequest(
                    f"The tag {TAG} must be a number of seconds. Received: {tag['Value']}. Expected: 0 to {_LONGEST}"
                )
            return seconds
    return None
