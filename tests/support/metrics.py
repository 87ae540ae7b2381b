"""Hyperparameters and metrics of a job for those that follow it."""

from train.outputs.metric_lines import EpochMetrics

HYPERPARAMETERS = {"learning-rate": 0.01, "optimizer": "adam", "augment": True, "epochs": 3, "classes": "a," * 200}


def make_metrics(epoch: int) -> EpochMetrics:
    return EpochMetrics(epoch, 10 * epoch, 2.0 / epoch, 0.3 * epoch, 2.5 / epoch, 0.25 * epoch, 1234.5, 0.125)
