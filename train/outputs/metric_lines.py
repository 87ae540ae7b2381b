"""The metric line of an epoch, which the MetricDefinitions of launch/training_job.json read."""

from dataclasses import dataclass

_NAMES = ("train:loss", "train:accuracy", "validation:loss", "validation:accuracy", "images/s")


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
