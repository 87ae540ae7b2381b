"""Early stopping: end when the validation accuracy no longer rises, with the weights of the best epoch."""

from collections.abc import Sequence

import keras
import numpy as np

from train.trainer.checkpoint import to_arrays

_PREFIX = "best/"  # of the best epoch's weights in a checkpoint


class EarlyStopping:
    """Ends training after `patience` epochs (0: never) without a better validation accuracy; keeps the best weights."""

    def __init__(self, model: keras.Model, patience: int) -> None:
        self._patience = patience
        self._weights = {f"{_PREFIX}model/{variable.path}": variable for variable in model.weights}
        self.arrays: dict[str, np.ndarray] = {}  # the best weights, for the checkpoint

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the best weights out of a checkpoint's arrays."""
        self.arrays = {name: arrays.pop(name) for name in list(arrays) if name.startswith(_PREFIX)}

    def on_epoch_end(self, history: Sequence[dict[str, float]]) -> None:
        """Keep the weights if the last epoch is the best so far."""
        if self._patience and _best_epoch(history) == len(history):
            self.arrays = to_arrays(self._weights)

    def is_exhausted(self, history: Sequence[dict[str, float]]) -> bool:
        """Whether `patience` epochs have passed since the best one."""
        return bool(self._patience and history) and len(history) - _best_epoch(history) >= self._patience

    def restore_best(self) -> None:
        """Set the model's weights to the best, if any were kept."""
        for name, array in self.arrays.items():
            self._weights[name].assign(array)


def _best_epoch(history: Sequence[dict[str, float]]) -> int:
    """The first epoch, from 1, with the highest validation accuracy."""
    return 1 + int(np.argmax([row["validation_accuracy"] for row in history]))
