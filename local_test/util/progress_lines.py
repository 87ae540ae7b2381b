"""Lines by which a program says how far it is: `progress training epoch=2/3 step=120/391 rate=1491.5 loss=1.42`."""

import re
from dataclasses import dataclass

from local_test.util.numbers import number

VARIABLE = "PROGRESS_SECONDS"  # of a program's environment: how far apart two lines are at least; not set: no lines
_LINE = re.compile(r"progress ([a-z]{1,20})((?: [a-z]{1,20}=[0-9.e+/-]{1,40}){1,10})")
_COUNT = re.compile(r"([0-9]{1,15})(?:/([0-9]{1,15}))?")


@dataclass(frozen=True)
class StepProgress:
    """`epochs` and `steps`, the totals, are None where they are not known, `step` where a phase has none.

    `rate`: pictures a second.
    """

    phase: str
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    rate: float | None = None
    loss: float | None = None
    accuracy: float | None = None


def parse(line: str) -> StepProgress | None:
    """None for any other line."""
    match = _LINE.fullmatch(line)
    if not match:
        return None
    pairs = dict(pair.split("=", 1) for pair in match[2].split())
    rate, loss, accuracy = (number(pairs.get(name)) for name in ("rate", "loss", "accuracy"))
    (epoch, epochs), (step, steps) = (_count(pairs.get(name, "")) for name in ("epoch", "step"))
    return StepProgress(match[1], epoch, epochs, step, steps, rate, loss, accuracy)


def _count(text: str) -> tuple[int | None, int | None]:
    """`120/391` → (120, 391), `120` → (120, None)."""
    match = _COUNT.fullmatch(text)
    if not match:
        return None, None
    return int(match[1]), int(match[2]) if match[2] else None
