"""One training loop: steps, epochs, evaluation. What it knows of the job is a model, an optimizer and batches."""

import functools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import tensorflow as tf

from train.distributed.rendezvous import Cluster, SingleHost, synchronize_stop
from train.distributed.replicas import Replicas, all_reduce_sum
from train.errors import NoRecordsError, StopRequested, TrainingError
from train.modeling.augmentation import Augmentation, no_augmentation
from train.modeling.resizing import resize_images, resize_input
from train.trainer.checkpoint import Progress

CHECK_STEPS = 50  # between two looks at whether the loss is still finite; the step itself is found exactly

Batch = tuple[tf.Tensor, tf.Tensor]
Rate = Callable[[Progress], float]
Size = Callable[[Progress], tuple[int, int]]


class Loop:
    """Trains `model` in place, one epoch a call, and can be stopped between two steps."""

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        *,
        change: Augmentation = no_augmentation,
        smoothing: float = 0.0,
        rate: Rate | None = None,
        size: Size | None = None,
        asked: keras.Model | None = None,
        seed: int = 0,
        stop: threading.Event | None = None,
        cluster: Cluster | None = None,
        replicas: Replicas | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`change` augments pictures, `smoothing` spreads labels, `rate` gives each step's learning rate (none: the
        optimizer's own), `size` the height and width that it trains at (none: those of the pictures), `asked` is what
        is evaluated, if not `model` itself. `cluster` and `replicas` are the hosts and devices that share the work;
        none: one of each.
        """
        self.model, self.optimizer = model, optimizer
        self._change, self._smoothing, self._rate, self._asked = change, smoothing, rate, asked or model
        self._size, self._seed, self._clock = size, seed, clock
        self._stop = stop or threading.Event()
        self._cluster = cluster or SingleHost(self._stop)
        self._replicas = replicas or Replicas(self._cluster, ())
        optimizer.build(model.trainable_variables)
        self._step = tf.Variable(0, dtype=tf.int64)
        self._loss_sum = tf.Variable(0.0, dtype=tf.float64)
        self._correct = tf.Variable(0, dtype=tf.int64)
        self._bad_step = tf.Variable(-1, dtype=tf.int64)  # the first whose loss was not finite
        self._shape = model.inputs[0].shape[1:]
        self._empty = tf.zeros((0, *self._shape), tf.uint8), tf.zeros(0, tf.int64)
        signature = [tf.TensorSpec((None, *self._shape), tf.uint8), tf.TensorSpec((None,), tf.int64)]
        parts = [tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.float32)]
        self._signature, self._shared_signature = signature, signature + parts
        self._train_steps: dict[tuple[int, int], Callable[..., None]] = {}  # compiled, by the size they train at
        self._test_step = tf.function(self._test, input_signature=signature)

    def train_epoch(
        self,
        batches: Iterable[Batch],
        progress: Progress,
        every: int = 0,
        save: Callable[[], None] = lambda: None,
    ) -> None:
        """Train on `batches` — those that are left of the epoch —, counting in `progress`.

        With several hosts, each brings its part of every batch; one that has no more goes on with none until all are
        through, and `progress` counts the pictures of all.

        `save` is called after each `every` steps of the epoch (0: never), with `progress` up to date. StopRequested
        leaves `progress` and the model as they are after a whole step. TrainingError at a loss that is
        not finite.
        """
        self._load(progress)
        began = self._clock() - progress.seconds
        try:
            for images, labels, total in self._agreed(self._timed(batches, progress)):
                if self._rate:
                    self.optimizer.learning_rate.assign(self._rate(progress))
                train_step = self._train_step(self._size(progress) if self._size else self._shape[:2])
                if self._replicas.count == 1:
                    train_step(images, labels)
                else:
                    train_step(*self._filled(images, labels), float(total))
                progress.step += 1
                progress.step_in_epoch += 1
                progress.seen += total
                if (
                    progress.step == 1 and not self._cluster.index
                ):  # the first step includes the graph's compilation: the job is under way now
                    print(f"step=1 loss={float(self._loss_sum) / progress.seen:.6f}", flush=True)  # noqa: T201
                if progress.step % CHECK_STEPS == 0:
                    self._check_finite()
                if every and progress.step_in_epoch % every == 0:
                    self._check_finite()
                    self._count(progress, began)
                    save()
        finally:
            self._count(progress, began)
        self._check_finite()

    def compile(self, sizes: Iterable[tuple[int, int]] = ()) -> None:
        """Training at `sizes` (none: the pictures' own) and evaluation, else compiled when they are first met."""
        for size in set(sizes) or {self._shape[:2]}:
            self._train_step(size).get_concrete_function()
        self._test_step.get_concrete_function()

    def evaluate(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """(mean loss, accuracy) over all pictures of all hosts' `batches`."""
        loss = tf.constant(0.0, tf.float64)
        correct, seen = tf.constant(0, tf.int64), 0
        with synchronize_stop(self._cluster):
            for images, labels in self._until_stopped(batches):
                logits, losses = self._test_step(images, labels)
                loss += tf.reduce_sum(tf.cast(losses, tf.float64))
                correct += tf.math.count_nonzero(tf.argmax(logits, axis=1) == labels)
                seen += int(labels.shape[0])
        sums = self._cluster.all_gather([float(loss), int(correct), seen])
        loss_sum, right, seen = (sum(column) for column in zip(*sums, strict=True))
        if not seen:
            raise NoRecordsError("There is no picture to validate on, on any host. Are there objects in the channel?")
        return loss_sum / seen, right / seen

    def predict(self, batches: Iterable[Batch]) -> Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """(pictures, labels, probabilities (n, classes) float32) a batch of this host."""
        for images, labels in self._until_stopped(batches):
            logits, _ = self._test_step(images, labels)
            yield images, labels, tf.nn.softmax(logits)

    def _timed(self, batches: Iterable[Batch], progress: Progress) -> Iterator[Batch]:
        """The same, with the time until each was there added to `progress.waited`."""
        iterator = iter(batches)
        while True:
            began = self._clock()
            batch = next(iterator, None)
            progress.waited += self._clock() - began
            if batch is None:
                return
            yield batch

    def _agreed(self, batches: Iterator[Batch]) -> Iterator[tuple[tf.Tensor, tf.Tensor, int]]:
        """Each batch once all hosts have theirs, with the number of all pictures; empty once this host has no more."""
        while True:
            with synchronize_stop(self._cluster):
                batch = next(batches, None)
            counts = self._cluster.all_gather(None if batch is None else int(batch[1].shape[0]))
            if all(count is None for count in counts):
                return
            yield *(batch or self._empty), sum(count or 0 for count in counts)

    def _filled(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The batch and its weights (n,) float32; a picture of weight 0 for each device that would have none.

        TensorFlow's kernels don't all take an empty batch.
        """
        count = int(labels.shape[0])
        missing = max(0, self._replicas.here - count)
        weights = tf.constant([1.0] * count + [0.0] * missing)
        if not missing:
            return images, labels, weights
        images = tf.concat([images, tf.zeros((missing, *images.shape[1:]), images.dtype)], 0)
        return images, tf.concat([labels, tf.zeros(missing, labels.dtype)], 0), weights

    def _until_stopped(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self._stop.is_set():
                raise StopRequested
            yield batch

    def _train_step(self, size: tuple[int, int]) -> Callable[..., None]:
        """Compiled at its first use."""
        if size not in self._train_steps:
            model = self.model if size == self._shape[:2] else resize_input(self.model, size)
            step, signature = self._train, self._signature
            if self._replicas.count > 1:
                step, signature = self._train_shared, self._shared_signature
            self._train_steps[size] = tf.function(functools.partial(step, model), input_signature=signature)
        return self._train_steps[size]

    def _train(self, model: keras.Model, images: tf.Tensor, labels: tf.Tensor) -> None:
        """`model` is the loop's, or the same layers at another size."""
        images = self._change(images, tf.stack([tf.constant(self._seed, tf.int64), self._step]))
        with tf.GradientTape() as tape:
            logits = model(resize_images(model, images), training=True)
            losses = _cross_entropy(labels, logits)  # what is reported: comparable with validation's
            loss = _penalised(tf.reduce_mean(_smoothed(losses, logits, self._smoothing)), model.losses)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.model.trainable_variables)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        correct = tf.math.count_nonzero(tf.argmax(logits, axis=1) == labels)
        self._count_step(tf.reduce_sum(tf.cast(losses, tf.float64)), correct, loss)

    def _train_shared(
        self, model: keras.Model, images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, total: tf.Tensor
    ) -> None:
        """The same step on several devices: the mean is that over the `total` pictures of all of them."""
        with self._replicas.sync_batch_norm(self.model):
            part = functools.partial(self._part, model)
            results = self._replicas.run(part, images, labels, weights, total)
        *gradients, loss, loss_sum, correct, states = results
        self.optimizer.apply(gradients, self.model.trainable_variables)
        for variable, state in zip(self.model.non_trainable_variables, states, strict=True):
            variable.assign(state)
        self._count_step(tf.cast(loss_sum, tf.float64), tf.cast(tf.round(correct), tf.int64), loss)

    def _part(
        self,
        model: keras.Model,
        number: tf.Tensor,
        images: tf.Tensor,
        labels: tf.Tensor,
        weights: tf.Tensor,
        total: tf.Tensor,
    ) -> tuple:
        """On device `number`: (*gradients, loss, sum of losses, correct) over all devices, and the layers' states."""
        number = tf.cast(number, tf.int64)
        self._replicas.set_weights(weights)
        images = self._change(images, tf.stack([self._seed + number * 2**33, self._step]))
        trainable = [variable.value for variable in self.model.trainable_variables]
        with tf.GradientTape() as tape:
            logits, states, penalties = model.stateless_call(
                trainable, self._states(number), resize_images(model, images), training=True, return_losses=True
            )
            losses = _cross_entropy(labels, logits)
            loss = tf.reduce_sum(weights * _smoothed(losses, logits, self._smoothing)) / total
            loss = _penalised(loss, [penalty / self._replicas.count for penalty in penalties])
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, trainable)
        correct = tf.cast(tf.argmax(logits, axis=1) == labels, tf.float32)
        sums = [loss, tf.reduce_sum(weights * losses), tf.reduce_sum(weights * correct)]
        return *all_reduce_sum([*gradients, *sums]), self._states(number, states)

    def _states(self, number: tf.Tensor, states: list[tf.Tensor] | None = None) -> list[tf.Tensor]:
        """What the layers keep, as device `number` uses it: of random numbers, each has others. `states`: and back."""
        sign = 1 if states is None else -1
        return [
            value + sign * tf.stack([tf.cast(number, value.dtype), 0])
            if variable.name == "seed_generator_state"
            else value
            for variable, value in zip(
                self.model.non_trainable_variables,
                states or [variable.value for variable in self.model.non_trainable_variables],
                strict=True,
            )
        ]

    def _count_step(self, loss_sum: tf.Tensor, correct: tf.Tensor, loss: tf.Tensor) -> None:
        self._step.assign_add(1)
        self._loss_sum.assign_add(loss_sum)
        self._correct.assign_add(correct)
        first_bad = tf.logical_and(self._bad_step < 0, tf.logical_not(tf.math.is_finite(loss)))
        self._bad_step.assign(tf.where(first_bad, self._step, self._bad_step))

    def _test(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = self._asked(images, training=False)
        return logits, _cross_entropy(labels, logits)

    def _load(self, progress: Progress) -> None:
        self._step.assign(progress.step)
        self._loss_sum.assign(progress.loss_sum)
        self._correct.assign(progress.correct)

    def _count(self, progress: Progress, began: float) -> None:
        progress.seconds = self._clock() - began
        progress.loss_sum, progress.correct = float(self._loss_sum), int(self._correct)

    def _check_finite(self) -> None:
        bad = int(self._bad_step)
        if bad >= 0:
            raise TrainingError(
                f"The loss is not finite since step {bad}. Received: nan or inf. A smaller learning-rate, or "
                "precision float32, is the usual cure."
            )


def _cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """(n,) float32."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(logits, tf.float32))


def _penalised(loss: tf.Tensor, penalties: Sequence[tf.Tensor]) -> tf.Tensor:
    """What is minimised: the loss, and what the layers' regularizers add to it."""
    return tf.add_n([loss, *(tf.cast(penalty, loss.dtype) for penalty in penalties)])


def _smoothed(losses: tf.Tensor, logits: tf.Tensor, share: float) -> tf.Tensor:
    """(n,): the cross-entropy against labels of which `share` is spread over all classes."""
    if not share:
        return losses
    spread = -tf.reduce_mean(tf.nn.log_softmax(tf.cast(logits, tf.float32)), axis=1)
    return (1 - share) * losses + share * spread
