"""A trainer of small pictures, and batches for it."""

import threading
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tests.support.shards import CLASSES, SHAPE, examples
from train.distributed.replicas import Replicas
from train.modeling.augmentation import make_augmentation
from train.modeling.builtin import apply_tta, build_model, build_optimizer
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import RECIPES, Hyperparameters
from train.trainer.progress_lines import ProgressLines
from train.trainer.schedules import LrSchedule, SizeSchedule, make_lr_schedule
from train.trainer.train_step import TrainStep
from train.trainer.trainer import Trainer

INFO = ImageDatasetInfo(SHAPE, CLASSES)


def make_trainer(
    *,
    step_class: type[TrainStep] = TrainStep,
    replicas: Replicas | None = None,
    weight_seed: int | None = None,
    lr_schedule: LrSchedule | None = None,
    size_schedule: SizeSchedule | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
    lines: ProgressLines | None = None,
    **changes: Any,
) -> Trainer:
    """`changes` are hyperparameters; model tutorial unless they name another. Weights are drawn by `weight_seed`."""
    recipe = RECIPES[changes.get("model", "tutorial")]
    hparams = Hyperparameters(**{"model": "tutorial", **recipe, **changes})
    keras.utils.set_random_seed(hparams.seed if weight_seed is None else weight_seed)
    model = build_model(hparams, INFO)
    step = step_class(
        model, build_optimizer(hparams), augment=make_augmentation(hparams), label_smoothing=hparams.label_smoothing,
        seed=hparams.seed, replicas=replicas, batch_size=32, jit=changes.get("jit", "off"),
        steps=hparams.steps_per_execution or 1,
    )  # fmt: skip
    return Trainer(
        step, lr_schedule=lr_schedule or make_lr_schedule(hparams, 96), size_schedule=size_schedule,
        eval_model=apply_tta(model, hparams.tta), stop=stop, clock=clock, lines=lines,
    )  # fmt: skip


def make_batches(count: int = 96, size: int = 32, seed: int = 0) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """`count` images and labels, `size` a batch; the last may be smaller."""
    images, labels = examples(count, seed)
    return [
        (tf.constant(images[start : start + size]), tf.constant(labels[start : start + size], tf.int64))
        for start in range(0, count, size)
    ]
