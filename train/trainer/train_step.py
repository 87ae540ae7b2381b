"""Training steps, compiled: augment, forward, backward, optimizer. The counters of an epoch are beside them."""

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from train.distributed.rendezvous import SingleHost
from train.distributed.replicas import Replicas, all_reduce_sum
from train.errors import TrainingError
from train.modeling.augmentation import Augmentation, no_augmentation
from train.modeling.batch_norm import fused_batch_norm
from train.modeling.resizing import resize_images, resize_input
from train.trainer.progress import Progress
from train.trainer.xla import CompiledStep, compile_step

Size = tuple[int, int]  # height, width in pixels
# images (n, height, width, channels) uint8 and labels (n,) int64 of this host, and the number of images on all hosts
SharedBatch = tuple[tf.Tensor, tf.Tensor, int]


class TrainStep:
    """Trains `model` in place, up to `steps` batches a call. It is compiled once for each size of images."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        *,
        augment: Augmentation = no_augmentation,
        label_smoothing: float = 0.0,
        seed: int = 0,
        replicas: Replicas | None = None,
        batch_size: int = 1,
        jit: str = "off",
        steps: int = 1,
    ) -> None:
        """`replicas` are the devices of all hosts that share a step; None: one device. `batch_size` and `jit` are for
        XLA: see compile_step. Between the `steps` of a call, which one device alone makes, nothing waits for Python."""
        self.model, self.optimizer = model, optimizer
        self.image_shape = tuple(model.inputs[0].shape[1:])
        self.compiled: dict[Size, CompiledStep] = {}
        self._augment, self._label_smoothing, self._seed = augment, label_smoothing, seed
        self.batch_size, self.jit = batch_size, jit
        self._replicas = replicas or Replicas(SingleHost(threading.Event()), ())
        self.steps, self.device = steps if self._replicas.count == 1 else 1, self._replicas.device
        optimizer.build(model.trainable_variables)
        self._step = tf.Variable(0, dtype=tf.int64)
        self._epoch = tf.Variable(0, dtype=tf.int64)
        self._loss_sum = tf.Variable(0.0, dtype=tf.float64)
        self._correct = tf.Variable(0, dtype=tf.int64)
        self._bad_step = tf.Variable(-1, dtype=tf.int64)  # the first whose loss was not finite

    def __call__(self, batches: Sequence[SharedBatch], rates: Sequence[float], size: Size | None = None) -> None:
        """A step on each of `batches`, which have equally many images, with its learning rate of `rates`.

        They are trained at `size` (None: at the images' own).
        """
        step = self._compile(size or self.image_shape[:2])
        images, labels, totals = zip(*batches, strict=True)
        if self._replicas.count > 1:
            step(*_padded(images[0], labels[0], self._replicas.here), float(totals[0]), rates[0])
        else:
            padded = [_fill(values, self.steps) for values in (images, labels, rates)]
            step(padded[0], padded[1], np.array(padded[2], np.float32), len(batches))

    def compile(self, sizes: Iterable[Size]) -> None:
        """Trace for `sizes` (none: the images' own), in that order, now and not at the first step of each."""
        for size in dict.fromkeys(sizes) or [self.image_shape[:2]]:
            self._compile(size).get_concrete_function()

    def load_counters(self, progress: Progress) -> None:
        """Go on counting where `progress` is."""
        self._step.assign(progress.step)
        self._epoch.assign(progress.epoch)
        self._loss_sum.assign(progress.loss_sum)
        self._correct.assign(progress.correct)

    def store_counters(self, progress: Progress) -> None:
        """Write what was counted into `progress`."""
        progress.loss_sum, progress.correct = float(self._loss_sum), int(self._correct)

    def check_finite(self) -> None:
        """TrainingError that names the first step whose loss was not finite."""
        bad = int(self._bad_step)
        if bad >= 0:
            raise TrainingError(
                f"The loss is not finite since step {bad}. Received: nan or inf. A smaller learning-rate, or "
                "precision float32, is the usual cure."
            )

    def _compile(self, size: Size) -> CompiledStep:
        if size not in self.compiled:
            model = self.model if size == self.image_shape[:2] else resize_input(self.model, size)
            images, labels = _signature(self.model)
            step: Callable[..., None] = self._train_several
            signature = [[images] * self.steps, [labels] * self.steps, _floats(self.steps), tf.TensorSpec((), tf.int32)]
            if self._replicas.count > 1:
                step, signature = self._train_replicated, [images, labels, _floats(None), _floats(), _floats()]
            self.compiled[size] = compile_step(functools.partial(step, model), signature, self.batch_size, self.jit)
        return self.compiled[size]

    def _train_several(
        self, model: keras.Model, images: list[tf.Tensor], labels: list[tf.Tensor], rates: tf.Tensor, count: tf.Tensor
    ) -> None:
        """Steps on the first `count` of `steps` batches: one program for any number of them."""
        if self.steps == 1:
            self._train(model, images[0], labels[0], rates[0])
            return
        all_images, all_labels = tf.stack(images), tf.stack(labels)

        def train(index: tf.Tensor) -> tf.Tensor:
            self._train(model, all_images[index], all_labels[index], rates[index])
            return index + 1

        tf.while_loop(lambda index: index < count, train, [tf.constant(0)], parallel_iterations=1)

    def _train(self, model: keras.Model, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> None:
        """`model` is self.model, or the same layers at another size."""
        self.optimizer.learning_rate.assign(rate)
        images = self._augment(images, tf.stack([tf.constant(self._seed, tf.int64), self._step]), self._epoch)
        with tf.GradientTape() as tape:
            with fused_batch_norm(model):
                logits = model(resize_images(model, images), training=True)
            losses = _cross_entropy(labels, logits)  # what is reported: comparable with validation's
            loss = _add_penalties(tf.reduce_mean(_smooth(losses, logits, self._label_smoothing)), model.losses)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.model.trainable_variables)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        correct = tf.math.count_nonzero(tf.argmax(logits, axis=1) == labels)
        self._count(tf.reduce_sum(tf.cast(losses, tf.float64)), correct, loss)

    def _train_replicated(
        self,
        model: keras.Model,
        images: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        total: tf.Tensor,
        rate: tf.Tensor,
    ) -> None:
        """The same step on several devices: the loss is the mean over the `total` images of all of them."""
        self.optimizer.learning_rate.assign(rate)
        with self._replicas.sync_batch_norm(self.model):
            step = functools.partial(self._replica_step, model)
            results = self._replicas.run(step, images, labels, weights, total)
        *gradients, loss, loss_sum, correct, states = results
        self.optimizer.apply(gradients, self.model.trainable_variables)
        for variable, state in zip(self.model.non_trainable_variables, states, strict=True):
            variable.assign(state)
        self._count(tf.cast(loss_sum, tf.float64), tf.cast(tf.round(correct), tf.int64), loss)

    def _replica_step(
        self,
        model: keras.Model,
        number: tf.Tensor,
        images: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        total: tf.Tensor,
    ) -> tuple[Any, ...]:
        """On device `number`: (*gradients, loss, sum of losses, correct) over all devices, and the layers' states."""
        number = tf.cast(number, tf.int64)
        self._replicas.set_weights(weights)
        images = self._augment(images, tf.stack([self._seed + number * 2**33, self._step]), self._epoch)
        trainable = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            logits, states, penalties = model.stateless_call(
                trainable, self._per_replica_state(number), resize_images(model, images),
                training=True, return_losses=True,
            )  # fmt: skip
            losses = _cross_entropy(labels, logits)
            loss = tf.reduce_sum(weights * _smooth(losses, logits, self._label_smoothing)) / total
            loss = _add_penalties(loss, [penalty / self._replicas.count for penalty in penalties])
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, trainable)
        correct = tf.cast(tf.argmax(logits, axis=1) == labels, tf.float32)
        sums = [loss, tf.reduce_sum(weights * losses), tf.reduce_sum(weights * correct)]
        return *all_reduce_sum([*gradients, *sums]), self._per_replica_state(number, states)

    def _per_replica_state(self, number: tf.Tensor, states: list[tf.Tensor] | None = None) -> list[tf.Tensor]:
        """The layers' non-trainable values for device `number`: each device draws its own random numbers.

        With `states`, the other way round: from the device's values to those that all devices share.
        """
        sign = 1 if states is None else -1
        variables = self.model.non_trainable_variables
        values = states or [variable.value for variable in variables]
        return [
            value + sign * tf.stack([tf.cast(number, value.dtype), 0])
            if variable.name == "seed_generator_state"
            else value
            for variable, value in zip(variables, values, strict=True)
        ]

    def _count(self, loss_sum: tf.Tensor, correct: tf.Tensor, loss: tf.Tensor) -> None:
        self._step.assign_add(1)
        self._loss_sum.assign_add(loss_sum)
        self._correct.assign_add(correct)
        first_bad = tf.logical_and(self._bad_step < 0, tf.logical_not(tf.math.is_finite(loss)))
        self._bad_step.assign(tf.where(first_bad, self._step, self._bad_step))


def make_eval_step(model: keras.Model, batch_size: int, jit: str) -> CompiledStep:
    """Compiled: images and labels → logits (n, classes) and cross-entropies (n,) float32."""

    def evaluate(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with fused_batch_norm(model):
            logits = model(images, training=False)
        return logits, _cross_entropy(labels, logits)

    return compile_step(evaluate, _signature(model), batch_size, jit)


def _signature(model: keras.Model) -> list[Any]:
    return [tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.uint8), tf.TensorSpec((None,), tf.int64)]


def _floats(*shape: int | None) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.float32)


def _fill(values: Sequence[Any], count: int) -> list[Any]:
    """The values, and the last one again up to `count`: no step is made on it."""
    return [*values, *[values[-1]] * (count - len(values))]


def _padded(images: tf.Tensor, labels: tf.Tensor, devices: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The batch and its weights (n,) float32, with an image of weight 0 for each device that would have none.

    TensorFlow's kernels don't all take an empty batch.
    """
    count = int(labels.shape[0])
    missing = max(0, devices - count)
    weights = tf.constant([1.0] * count + [0.0] * missing)
    if not missing:
        return images, labels, weights
    images = tf.concat([images, tf.zeros((missing, *images.shape[1:]), images.dtype)], 0)
    return images, tf.concat([labels, tf.zeros(missing, labels.dtype)], 0), weights


def _cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """(n,) float32."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(logits, tf.float32))


def _add_penalties(loss: tf.Tensor, penalties: Sequence[tf.Tensor]) -> tf.Tensor:
    """What is minimised: the loss, and what the layers' regularizers add to it."""
    return tf.add_n([loss, *(tf.cast(penalty, loss.dtype) for penalty in penalties)])


def _smooth(losses: tf.Tensor, logits: tf.Tensor, share: float) -> tf.Tensor:
    """(n,): the cross-entropy against labels of which `share` is spread over all classes."""
    if not share:
        return losses
    spread = -tf.reduce_mean(tf.nn.log_softmax(tf.cast(logits, tf.float32)), axis=1)
    return (1 - share) * losses + share * spread
