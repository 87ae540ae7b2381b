"""Checkpoints: written whole or not at all, resumed from.

A checkpoint is one `.npz`: the variables of model and optimizer by name, and `progress` as JSON. The platform copies
the folder to S3 as it changes; a file appears there under its final name only once it is complete.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from train.errors import TrainingError
from train.runtime.atomic_files import PARTIAL, write_whole
from train.trainer.progress import Progress

_log = logging.getLogger(__name__)

_KEPT = 2  # the newest, and the one before it in case the newest is damaged on its way through S3


class CheckpointManager:
    """The checkpoints in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, progress: Progress, variables: Mapping[str, np.ndarray]) -> Path:
        """Write a checkpoint and drop those before the last two. TrainingError if the disk refuses."""
        path = self._folder / f"checkpoint-{progress.epoch:05d}-{progress.step_in_epoch:07d}.npz"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            text = np.array(progress.to_json())
            write_whole(path, lambda file: np.savez(file, allow_pickle=False, progress=text, **variables))
            _sync(self._folder)
        except OSError as error:
            raise TrainingError(
                f"The checkpoint can't be written to {path}: {error.strerror}. The one before it is untouched."
            ) from error
        self._prune()
        return path

    def newest(self) -> tuple[Path, Progress, dict[str, np.ndarray]] | None:
        """The newest readable checkpoint, or None. A damaged one is skipped, never read in part."""
        damaged = []
        for path in reversed(self._all()):
            try:
                with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
                return path, Progress.from_json(str(arrays.pop("progress"))), arrays
            except Exception as error:  # damage makes zipfile and NumPy raise nearly anything
                damaged.append(f"{path.name} ({error})")
                _log.warning("The checkpoint %s is damaged, the one before it is looked for: %s", path, error)
        if damaged:
            raise TrainingError(
                f"No checkpoint can be read. Received: {', '.join(damaged)}. Remove them to start anew."
            )
        return None

    def _all(self) -> list[Path]:
        return sorted(self._folder.glob("checkpoint-*.npz"))

    def _prune(self) -> None:
        for old in [*self._all()[:-_KEPT], *self._folder.glob(f"{PARTIAL}*")]:
            old.unlink(missing_ok=True)


def named_variables(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
    """Every variable that training changes — weights, statistics, random states, momenta — by a stable name.

    Keras numbers optimizers and random states by how many the process has made; here they are named without that.
    """
    named: dict[str, keras.Variable] = {}
    for variable in model.variables:
        random = variable.name == "seed_generator_state"
        name = f"random/{sum(other.startswith('random/') for other in named)}" if random else f"model/{variable.path}"
        named[name] = variable
    inner = {id(variable) for variable in getattr(optimizer, "inner_optimizer", optimizer).variables}
    for variable in optimizer.variables:
        kind = "optimizer" if id(variable) in inner else "loss_scale"  # which wraps the other for mixed_float16
        named[f"{kind}/{variable.path.partition('/')[2]}"] = variable
    if len(named) != len(model.variables) + len(optimizer.variables):
        raise ValueError("two variables share a path: name the layers apart")
    return named


def restore(variables: Mapping[str, keras.Variable], arrays: Mapping[str, np.ndarray], path: Path) -> None:
    """Set `variables` from a checkpoint; TrainingError, naming the first difference, if it is of another model."""
    for name in sorted(variables.keys() | arrays.keys()):
        ours = _shape(variables.get(name))
        theirs = _shape(arrays.get(name))
        if ours != theirs:
            raise TrainingError(
                f"{path} is of another model or optimizer. Received: {name} {theirs}. Expected: {ours}. Use the "
                "settings it was made with, or another checkpoint folder."
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def check_classes(saved: Sequence[str], now: Sequence[str], path: Path) -> None:
    """TrainingError if the checkpoint's labels mean other classes, as many though they may be."""
    if not saved or list(saved) == list(now):
        return
    different = [label for label, (one, other) in enumerate(zip(saved, now, strict=False)) if one != other]
    ours, theirs = (
        f"{names[different[0]]} for label {different[0]}" if different else f"{len(names)} classes"
        for names in (now, saved)
    )
    raise TrainingError(
        f"{path} is of other classes. Received: {ours}. Expected: {theirs}. Use the data it was made with, or another "
        "checkpoint folder."
    )


def check_order(saved: Mapping[str, int], now: Mapping[str, int], path: Path) -> None:
    """TrainingError if the rest of an epoch would come in another order than its beginning."""
    for name in now:
        if saved.get(name) != now[name]:
            raise TrainingError(
                f"{path} was made in the middle of an epoch with another {name}. Received: {now[name]}. "
                f"Expected: {saved.get(name)}. Set it back; it may change at the end of an epoch."
            )


def to_arrays(variables: Mapping[str, keras.Variable]) -> dict[str, np.ndarray]:
    """Copies of the values, on the host."""
    return {name: np.array(variable.value.numpy()) for name, variable in variables.items()}


def _shape(value: Any) -> Sequence[int] | str:
    return "nothing of that name" if value is None else tuple(value.shape)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
