"""Lines that say how far a job is, for somebody who watches it: printed only where the environment asks for them.

`progress training epoch=2/3 step=120/391 rate=1491.5 loss=1.427884 accuracy=0.510960`. They are no metric lines: no
metric definition of launch/training_job.json finds anything in them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from train.errors import TrainingError
from train.trainer.progress import Progress

VARIABLE = "PROGRESS_SECONDS"  # of the environment: how far apart two lines are at least; not set: no lines
_LEAST_SECONDS = 0.5

T = TypeVar("T")


class ProgressLines:
    """For the first host. `steps`: of a pass over a channel, as far as they are known."""

    def __init__(
        self,
        variables: Mapping[str, str],
        epochs: int = 1,
        steps: Mapping[str, int | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds, self._clock = _read_seconds(variables), clock
        self._epochs, self._steps = epochs, dict(steps or {})
        self._next = clock() if self._seconds else float("inf")

    def is_due(self) -> bool:
        """Whether a line may be printed: what it says need not be fetched from a device before."""
        return self._clock() >= self._next

    def training(self, progress: Progress) -> None:
        """A line on the epoch under way; call it if one is due, with `progress` up to date."""
        measured = {
            "rate": f"{progress.examples_seen / max(progress.seconds, 1e-9):.1f}",
            "loss": f"{progress.loss_sum / max(1, progress.examples_seen):.6f}",
            "accuracy": f"{progress.correct / max(1, progress.examples_seen):.6f}",
        }
        steps = progress.steps_per_epoch
        total = round(steps) if steps else self._steps.get("train")
        self._print("training", progress.epoch + 1, progress.step_in_epoch, total, measured)

    def follow(self, phase: str, batches: Iterable[T], epoch: int) -> Iterable[T]:
        """The same batches, with lines on how many have been taken."""
        return self._follow(phase, batches, epoch) if self._seconds else batches

    def _follow(self, phase: str, batches: Iterable[T], epoch: int) -> Iterator[T]:
        step = 0
        for batch in batches:
            yield batch
            step += 1
            if self.is_due():
                self._print(phase, epoch, step, self._steps.get("validation"), {})
        self._steps["validation"] = step  # the next pass has as many

    def say(self, phase: str, epoch: int) -> None:
        """What has no steps begins."""
        if self._seconds:
            self._print(phase, epoch, 0, None, {})

    def _print(self, phase: str, epoch: int, step: int, steps: int | None, measured: Mapping[str, str]) -> None:
        self._next = self._clock() + (self._seconds or 0)
        place = {"epoch": f"{epoch}/{self._epochs}"}
        if step:
            place["step"] = f"{step}/{max(step, steps)}" if steps else str(step)
        pairs = " ".join(f"{name}={value}" for name, value in (place | dict(measured)).items())
        print(f"progress {phase} {pairs}", flush=True)  # noqa: T201 - standard output is how a job is followed


def _read_seconds(variables: Mapping[str, str]) -> float | None:
    text = variables.get(VARIABLE)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise TrainingError(f"{VARIABLE} can't be used. Received: {text!r}. Expected: seconds, such as 10.")
    return max(_LEAST_SECONDS, seconds)
