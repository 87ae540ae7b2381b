"""Epochs of training and evaluation, on one host or several. A stop takes effect between two calls of the step."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from train.distributed.rendezvous import Cluster, SingleHost, synchronize_stop
from train.errors import NoRecordsError, StopRequested
from train.modeling import whitening
from train.trainer.progress import Progress
from train.trainer.progress_lines import ProgressLines
from train.trainer.schedules import LrSchedule, SizeSchedule
from train.trainer.train_step import SharedBatch, Size, TrainStep, make_eval_step

# between two checks that the loss is finite, which wait for the device; the error names the exact step all the same
CHECK_SECONDS = 1.0

Batch = tuple[tf.Tensor, tf.Tensor]  # images (n, height, width, channels) uint8, labels (n,) int64


class Trainer:
    """Trains and evaluates the model of a `TrainStep`, an epoch a call."""

    def __init__(
        self,
        train_step: TrainStep,
        *,
        lr_schedule: LrSchedule | None = None,
        size_schedule: SizeSchedule | None = None,
        eval_model: keras.Model | None = None,
        stop: threading.Event | None = None,
        cluster: Cluster | None = None,
        lines: ProgressLines | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The schedules give each step's learning rate (None: the optimizer's own) and image size (None: the images'
        own). `eval_model` is evaluated in place of the trained one. `cluster` are the hosts that share the work.
        `lines` tell how far an epoch is.
        """
        self.train_step, self.model, self.optimizer = train_step, train_step.model, train_step.optimizer
        self.eval_model = eval_model or self.model
        self.eval_step = make_eval_step(self.eval_model, train_step.batch_size, train_step.jit)
        rate, own = float(self.optimizer.learning_rate), train_step.image_shape[:2]
        self._lr_schedule = lr_schedule or (lambda _: rate)
        self._size_schedule = size_schedule or (lambda _: own)
        self._clock, self._next_check = clock, clock()
        self._stop = stop or threading.Event()
        self._cluster = cluster or SingleHost(self._stop)
        self._lines = lines or ProgressLines({})
        self._empty = tf.zeros((0, *train_step.image_shape), tf.uint8), tf.zeros(0, tf.int64)

    def train_epoch(
        self,
        batches: Iterable[Batch],
        progress: Progress,
        save_every: int = 0,
        save: Callable[[], None] = lambda: None,
    ) -> None:
        """Train on `batches`, those that are left of the epoch, and count in `progress`.

        With several hosts, each brings its part of every batch. A host that has no more takes part with an empty one
        until all are through; `progress` counts the images of all hosts.

        `save` is called every `save_every` steps of the epoch (0: never), with `progress` up to date. StopRequested
        leaves `progress` and the model as they are after a whole step. TrainingError if the loss is not finite.
        """
        self.train_step.load_counters(progress)
        if not progress.step and (layer := whitening.find_layer(self.model)):
            batches = self._whiten(layer, batches)
        began = self._clock() - progress.seconds
        shared = self._synchronized_batches(self._timed(batches, progress))
        try:
            while ahead := list(itertools.islice(shared, self._steps_ahead(progress, save_every))):
                for _, equal in itertools.groupby(ahead, key=_count_images):  # a smaller batch has a call to itself
                    self._train(list(equal), progress)
                if self._clock() >= self._next_check:
                    self.train_step.check_finite()
                    self._next_check = self._clock() + CHECK_SECONDS
                if save_every and progress.step_in_epoch % save_every == 0:
                    self.train_step.check_finite()
                    self._update(progress, began)
                    save()
                if self._lines.is_due():
                    self._update(progress, began)
                    self._lines.training(progress)
        finally:
            self._update(progress, began)
        self.train_step.check_finite()

    def compile(self, sizes: Iterable[Size]) -> None:
        """Trace training at `sizes` (none: the images' own) and evaluation now, not at their first use."""
        self.train_step.compile(sizes)
        self.eval_step.get_concrete_function()

    def evaluate(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """(mean loss, accuracy) over all images of all hosts' `batches`."""
        loss = tf.constant(0.0, tf.float64)
        correct, examples = tf.constant(0, tf.int64), 0
        with synchronize_stop(self._cluster):
            for images, labels in self._until_stopped(batches):
                logits, losses = self.eval_step(images, labels)
                loss += tf.reduce_sum(tf.cast(losses, tf.float64))
                correct += tf.math.count_nonzero(tf.argmax(logits, axis=1) == labels)
                examples += int(labels.shape[0])
        sums = self._cluster.all_gather([float(loss), int(correct), examples])
        loss_sum, right, examples = (sum(column) for column in zip(*sums, strict=True))
        if not examples:
            raise NoRecordsError("There is no picture to validate on, on any host. Are there objects in the channel?")
        return loss_sum / examples, right / examples

    def predict(self, batches: Iterable[Batch]) -> Iterator[tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        """(images, labels, probabilities (n, classes) float32) for each batch of this host."""
        for images, labels in self._until_stopped(batches):
            logits, _ = self.eval_step(images, labels)
            yield images, labels, tf.nn.softmax(logits)

    def _whiten(self, layer: keras.layers.Conv2D, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The first pictures of all hosts give the layer its filters; all batches are still to come."""
        iterator, looked_at, measured = iter(batches), [], np.zeros((1, 1))
        enough = whitening.PATCHES / len(self._cluster.hosts)
        with synchronize_stop(self._cluster):
            for images, labels in self._until_stopped(iterator):
                looked_at.append((images, labels))
                measured = measured + whitening.measure_patches(images.numpy())
                if measured[0, 0] >= enough:
                    break
        of_hosts = self._cluster.all_gather(measured.tolist() if looked_at else None)
        if found := [np.array(one) for one in of_hosts if one]:
            whitening.set_filters(layer, np.sum(found, axis=0))
        return itertools.chain(looked_at, iterator)

    def _steps_ahead(self, progress: Progress, save_every: int) -> int:
        """How many steps the next call makes: those of one image size, and none beyond the next checkpoint."""
        most = self.train_step.steps
        if save_every:
            most = min(most, save_every - progress.step_in_epoch % save_every)
        size = self._size_schedule(progress)
        return next((step for step in range(1, most) if self._size_schedule(progress.ahead(step)) != size), most)

    def _train(self, batches: Sequence[SharedBatch], progress: Progress) -> None:
        rates = [self._lr_schedule(progress.ahead(step)) for step in range(len(batches))]
        self.train_step(batches, rates, self._size_schedule(progress))
        is_first = not progress.step
        progress.step += len(batches)
        progress.step_in_epoch += len(batches)
        progress.examples_seen += sum(total for _, _, total in batches)
        if is_first and self._cluster.index == 0:  # the first call compiles; now training is under way
            self.train_step.store_counters(progress)
            print(f"step={progress.step} loss={progress.loss_sum / progress.examples_seen:.6f}", flush=True)  # noqa: T201

    def _timed(self, batches: Iterable[Batch], progress: Progress) -> Iterator[Batch]:
        """The same batches; the time spent waiting for them is added to `progress`."""
        iterator = iter(batches)
        while True:
            began = self._clock()
            batch = next(iterator, None)
            progress.input_wait_seconds += self._clock() - began
            if batch is None:
                return
            yield batch

    def _synchronized_batches(self, batches: Iterator[Batch]) -> Iterator[SharedBatch]:
        """Each batch once all hosts have theirs, with the number of images on all; empty once this host has no more."""
        while True:
            with synchronize_stop(self._cluster):
                batch = next(batches, None)
            counts = self._cluster.all_gather(None if batch is None else int(batch[1].shape[0]))
            if all(count is None for count in counts):
                return
            yield *(batch or self._empty), sum(count or 0 for count in counts)

    def _until_stopped(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if self._stop.is_set():
                raise StopRequested
            yield batch

    def _update(self, progress: Progress, began: float) -> None:
        progress.seconds = self._clock() - began
        self.train_step.store_counters(progress)


def _count_images(batch: SharedBatch) -> int:
    """Of this host."""
    return int(batch[1].shape[0])
