"""How far a job has come: what a checkpoint holds beside the variables."""

import json
from dataclasses import asdict, dataclass, field, replace

from train.outputs.metric_lines import EpochMetrics

_RENAMED = {"seen": "examples_seen", "waited": "input_wait_seconds"}  # fields in checkpoints of earlier versions


@dataclass
class Progress:
    """Counters of the job and of the epoch under way. Sums are over the epoch's images so far."""

    epoch: int = 0  # epochs finished
    step_in_epoch: int = 0
    step: int = 0  # since the job began
    loss_sum: float = 0.0
    correct: int = 0
    examples_seen: int = 0
    seconds: float = 0.0  # spent in the training part of the epoch
    input_wait_seconds: float = 0.0  # of these, waiting for input
    history: list[dict[str, float]] = field(default_factory=list)  # the EpochMetrics of each finished epoch
    order: dict[str, int] = field(default_factory=dict)  # the settings that decide the order of images
    classes: list[str] = field(
        default_factory=list
    )  # their names in label order; none in checkpoints of earlier versions

    @property
    def steps_per_epoch(self) -> float | None:
        """Of the epochs finished; None before the first one is."""
        return (self.step - self.step_in_epoch) / self.epoch if self.epoch else None

    def ahead(self, steps: int) -> "Progress":
        """Where it will be `steps` later in the epoch, as far as schedules ask."""
        return replace(self, step=self.step + steps, step_in_epoch=self.step_in_epoch + steps)

    def to_json(self) -> str:
        """The fields by name."""
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """ValueError or TypeError for what is no progress."""
        return cls(**{_RENAMED.get(name, name): value for name, value in json.loads(text).items()})

    def finish_epoch(self, validation_loss: float, validation_accuracy: float) -> EpochMetrics:
        """Append the epoch's metrics to the history and set its counters back to 0."""
        self.epoch += 1
        seconds = max(self.seconds, 1e-9)
        metrics = EpochMetrics(
            epoch=self.epoch,
            step=self.step,
            train_loss=self.loss_sum / self.examples_seen,
            train_accuracy=self.correct / self.examples_seen,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            images_per_second=self.examples_seen / seconds,
            input_wait=self.input_wait_seconds / seconds,
        )
        self.history.append(asdict(metrics))
        self.step_in_epoch = self.correct = self.examples_seen = 0
        self.loss_sum = self.seconds = self.input_wait_seconds = 0.0
        return metrics
