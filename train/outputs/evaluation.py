"""Evaluation of the finished model: accuracy, precision and recall, confusion matrix, most confident mistakes."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_MISTAKES = 36


@dataclass(frozen=True)
class Mistake:
    """A picture that the model got wrong."""

    image: np.ndarray  # (height, width, channels) uint8
    label: int
    predicted: int
    confidence: float  # the probability it gave to its wrong answer


@dataclass(frozen=True)
class Evaluation:
    """confusion (classes, classes) int64: a row a true class, a column a predicted one."""

    confusion: np.ndarray
    loss: float
    mistakes: list[Mistake]  # the most confident first

    @property
    def examples(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.confusion) / self.confusion.sum())

    def recall(self) -> np.ndarray:
        """(classes,): the share of each class's pictures that was recognised; nan for a class without pictures."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=1))

    def precision(self) -> np.ndarray:
        """(classes,): the share of each class's predictions that was right; nan for a class never predicted."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=0))

    def as_json(self, classes: tuple[str, ...], note: str = "") -> dict[str, Any]:
        """evaluation.json, which begins with the note on the data if there is one. A share of nothing is null."""
        per_class = {
            name: {"examples": int(examples), "recall": _or_null(recall), "precision": _or_null(precision)}
            for name, examples, recall, precision in zip(
                classes, self.confusion.sum(axis=1), self.recall(), self.precision(), strict=True
            )
        }
        return {
            **({"note": note} if note else {}),
            "accuracy": self.accuracy,
            "loss": self.loss,
            "examples": self.examples,
            "classes": per_class,
            "confusion_matrix": self.confusion.tolist(),
        }

    def as_model_quality(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """The same as SageMaker's model registry reads it: the statistics of model quality of a multiclass problem.

        An average over classes is weighted by their examples; a class that is never predicted has precision 0. No
        deviation is estimated, which is written "NaN"
        (https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-model-quality-metrics.html).
        """
        weights = self.confusion.sum(axis=1) / self.confusion.sum()
        recall, precision = np.nan_to_num(self.recall()), np.nan_to_num(self.precision())
        f1 = np.nan_to_num(_share(2 * recall * precision, recall + precision))
        values = {
            "accuracy": self.accuracy,
            "weighted_recall": float(weights @ recall),
            "weighted_precision": float(weights @ precision),
            "weighted_f1": float(weights @ f1),
        }
        rows = (dict(zip(classes, map(int, row), strict=True)) for row in self.confusion)
        metrics: dict[str, Any] = {"confusion_matrix": dict(zip(classes, rows, strict=True))}
        metrics |= {name: {"value": value, "standard_deviation": "NaN"} for name, value in values.items()}
        return {"multiclass_classification_metrics": metrics}

    def pack(self) -> dict[str, Any]:
        """As JSON values, for `merge` on another host."""
        mistakes = [
            vars(mistake) | {"image": [mistake.image.shape, base64.b64encode(mistake.image.tobytes()).decode()]}
            for mistake in self.mistakes
        ]
        return {"confusion": self.confusion.tolist(), "loss_sum": self.loss * self.examples, "mistakes": mistakes}


def merge(packed: Sequence[Mapping[str, Any]]) -> Evaluation:
    """The evaluation of all hosts, from what `pack` gave on each."""
    confusion = np.sum([np.array(one["confusion"], np.int64) for one in packed], axis=0)
    mistakes = [_unpack(mistake) for one in packed for mistake in one["mistakes"]]
    loss_sum = sum(one["loss_sum"] for one in packed)
    return Evaluation(confusion, loss_sum / max(1, int(confusion.sum())), _most_confident(mistakes))


def evaluate(predictions: Iterable[tuple[Any, Any, Any]], classes: int) -> Evaluation:
    """From batches of (pictures, labels, probabilities (n, classes)). Holds one batch and the worst mistakes."""
    confusion = np.zeros((classes, classes), np.int64)
    loss_sum = 0.0
    mistakes: list[Mistake] = []
    for batch in predictions:
        images, labels, probabilities = (np.asarray(part) for part in batch)
        predicted = probabilities.argmax(axis=1)
        np.add.at(confusion, (labels, predicted), 1)
        true_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        loss_sum -= float(np.log(np.maximum(true_class, 1e-38)).sum())
        new = (
            Mistake(
                images[row].copy(), int(labels[row]), int(predicted[row]), float(probabilities[row, predicted[row]])
            )
            for row in np.flatnonzero(labels != predicted)
        )
        mistakes = _most_confident([*mistakes, *new])
    return Evaluation(confusion, loss_sum / max(1, int(confusion.sum())), mistakes)


def _most_confident(mistakes: list[Mistake]) -> list[Mistake]:
    return sorted(mistakes, key=lambda mistake: -mistake.confidence)[:MAX_MISTAKES]


def _unpack(mistake: Mapping[str, Any]) -> Mistake:
    shape, data = mistake["image"]
    return Mistake(**{**mistake, "image": np.frombuffer(base64.b64decode(data), np.uint8).reshape(shape)})


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _or_null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
