"""The metric line of an epoch, and the MetricDefinitions that read it."""

from dataclasses import dataclass

# Fixed point is what the line below prints; the rest is for lines of other people's scripts: 1e-05, 12.5, 0.
_NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"
_NAMES = ("train:loss", "train:accuracy", "validation:loss", "validation:accuracy", "images/s")

# MetricDefinitions of the request: the service searches every log line with each Regex, the first group is the value.
DEFINITIONS = [{"Name": name, "Regex": f"{name}={_NUMBER}"} for name in _NAMES]


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch's results. Losses are means over pictures, accuracies fractions."""

    epoch: int  # from 1
    step: int  # training steps since the job began, interruptions included
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    images_per_second: float  # of the training part, waiting for input included
    input_wait: float = 0.0  # the share of that time spent waiting for input; not in the line

    def line(self) -> str:
        """`epoch=3 step=1170 train:loss=0.912345 …`: fixed point, so that no regular expression meets `9e-04`."""
        values = (
            f"{self.train_loss:.6f}", f"{self.train_accuracy:.6f}",
            f"{self.validation_loss:.6f}", f"{self.validation_accuracy:.6f}", f"{self.images_per_second:.1f}",
        )  # fmt: skip
        pairs = [f"{name}={value}" for name, value in zip(_NAMES, values, strict=True)]
        return " ".join([f"epoch={self.epoch}", f"step={self.step}", *pairs])


def print_metrics(metrics: EpochMetrics) -> None:
    """Print the metric line of an epoch."""
    print(metrics.line(), flush=True)  # noqa: T201 - standard output is the metric channel
