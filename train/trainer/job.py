"""The built-in job: hyperparameters → datasets → model → trainer → export → report."""

import logging
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime

import keras
import tensorflow as tf

from train.distributed.rendezvous import Cluster, rendezvous, synchronize_stop
from train.distributed.replicas import Replicas, check_replicas_in_sync
from train.errors import StopRequested, TrainingError
from train.input_pipeline.pipeline import Consumer
from train.modeling.augmentation import make_augmentation
from train.modeling.builtin import apply_tta, build_model, build_optimizer
from train.modeling.custom import find_model_file
from train.outputs import evaluation, mlflow
from train.outputs.callback import Callback
from train.outputs.export import export_model
from train.outputs.html_report import write_report
from train.outputs.metric_lines import EpochMetrics, print_metrics
from train.outputs.mlflow import MlflowRun
from train.outputs.model_card import write_model_card
from train.outputs.tensorboard import EventWriter
from train.runtime import hardware
from train.runtime.dataset_info import ImageDatasetInfo, read_dataset_info
from train.runtime.environment import Environment
from train.runtime.hyperparameters import CUSTOM_MODEL, Hyperparameters, parse
from train.trainer.checkpoint import CheckpointManager, check_classes, check_order, named_variables, restore, to_arrays
from train.trainer.datasets import Datasets
from train.trainer.early_stopping import EarlyStopping
from train.trainer.program_cache import ProgramCache
from train.trainer.progress import Progress
from train.trainer.progress_lines import ProgressLines
from train.trainer.schedules import list_sizes, make_lr_schedule, make_size_schedule
from train.trainer.train_step import TrainStep
from train.trainer.trainer import Trainer

_log = logging.getLogger(__name__)

# share of an epoch's time, and seconds, from which waiting for input is worth a line: every epoch begins with a wait
_SLOW_INPUT, _SLOW_SECONDS = 0.2, 10.0
_FEW_STEPS = 100  # of a whole job
_STEPS, _STEPS_BYTES = 16, 64 << 20  # a call's, and those of its pictures, at most


def run(environment: Environment, stop: threading.Event) -> None:
    """Train as the environment says. StopRequested after a stop, with everything saved; TrainingError if it can't."""
    hparams = parse(environment.hyperparameters)
    programs = ProgramCache(environment.checkpoints) if hparams.jit_cache and hparams.jit != "off" else None
    hardware.require_gpus(environment)
    hardware.limit_threads()
    hardware.share_gpus()
    hardware.make_deterministic(hparams.deterministic)
    hparams = replace(hparams, precision=hardware.choose_precision(hparams.precision))
    info = read_dataset_info(environment, hparams)
    if info.note:
        _log.info("NOTE: %s", info.note)
    _log_values(hardware.describe(environment))
    with _explain_memory(), rendezvous(environment, hparams.hosts_timeout, stop) as cluster:
        job = Job(environment, hparams, info, cluster, stop, programs)
        with job.report_failure():
            try:
                job.resume()
                while not job.is_finished():
                    job.run_epoch()
                job.finish()
            except StopRequested:
                job.save_stopped()
                raise


@contextmanager
def _explain_memory() -> Iterator[None]:
    """Memory that the machine or the GPU does not give is an expected failure: a batch or a buffer is too large."""
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        reason = (str(error).splitlines() or ["no more to say"])[0]
        raise TrainingError(
            f"The memory is not enough: {reason}. Expected: a smaller batch-size, shuffle-buffer, image-shape or model."
        ) from error


class Job:
    """One host's training job. The first host writes checkpoints, model and report for all."""

    def __init__(
        self,
        environment: Environment,
        hparams: Hyperparameters,
        info: ImageDatasetInfo,
        cluster: Cluster,
        stop: threading.Event,
        programs: ProgramCache | None = None,
    ) -> None:
        self._environment, self._hparams, self._info, self._cluster = environment, hparams, info, cluster
        self._began, self._settings = time.monotonic(), _describe_settings(hparams, info)
        self._is_first = cluster.index == 0
        self._lines = _make_progress_lines(environment, hparams, info, cluster)
        self._trainer = _build_trainer(environment, hparams, info, cluster, stop, self._lines)
        consumer = Consumer(self._trainer.train_step.steps, self._trainer.train_step.device)
        self._datasets = Datasets(environment, hparams, info, cluster, stop, consumer)
        self._programs = programs
        if programs:  # XLA knows a program by its name, which has the number of tensors made before it is traced
            self._trainer.compile(list_sizes(hparams, info.shape))
        self._model, self._optimizer = self._trainer.model, self._trainer.optimizer
        self._variables = named_variables(self._model, self._optimizer)
        self._early_stopping = EarlyStopping(self._model, hparams.patience)
        self._checkpoints = CheckpointManager(environment.checkpoints)
        self._progress = Progress(order=_data_order(hparams, cluster), classes=list(info.classes))
        self._callbacks = _make_callbacks(environment, self._settings) if self._is_first else []
        _log_values({"model": hparams.model, "parameters": self._model.count_params()})
        _log_values(self._settings)
        if text := _describe_few_steps(hparams, info, cluster):
            _log.info("NOTE: %s", text)

    @contextmanager
    def report_failure(self) -> Iterator[None]:
        """Tell the callbacks of a failure: elsewhere the run must not look as if it still went on."""
        try:
            yield
        except StopRequested:
            raise
        except Exception:
            for callback in self._callbacks:
                callback.on_failure()
            raise

    def resume(self) -> None:
        """Continue from the newest checkpoint, if there is one."""
        newest = self._checkpoints.newest()
        names = self._cluster.all_gather(newest and newest[0].name)
        if len(set(names)) > 1:
            raise TrainingError(
                f"The hosts have different checkpoints. Received: {', '.join(map(str, names))}. Expected: the same."
            )
        if newest is None:
            return
        path, progress, arrays = newest
        check_classes(progress.classes, self._info.classes, path)
        if progress.step_in_epoch:
            check_order(progress.order, self._progress.order, path)
        self._early_stopping.load(arrays)
        restore(self._variables, arrays, path)
        progress.order, progress.classes = self._progress.order, self._progress.classes
        self._progress = progress
        _log.info("Resumed from %s: %s", path, _describe_progress(progress, self.is_finished()))

    def is_finished(self) -> bool:
        """Whether the last epoch is done, or early stopping ends the training."""
        done = self._progress.epoch >= self._hparams.epochs
        return done or self._early_stopping.is_exhausted(self._progress.history)

    def run_epoch(self) -> None:
        """One epoch, or what is left of it: train, validate, save, report."""
        progress = self._progress
        batches = self._datasets.train(progress.epoch).skip(progress.step_in_epoch)
        self._trainer.train_epoch(batches, progress, self._hparams.checkpoint_every, self._save)
        if not progress.examples_seen:
            raise TrainingError("The epoch had no picture left to train on. Are the channel's objects still the same?")
        if self._hparams.weight_average and progress.epoch + 1 == self._hparams.epochs:
            self._optimizer.finalize_variable_values(self._model.trainable_variables)
        waited = progress.input_wait_seconds
        validation = self._lines.follow("validation", self._datasets.validation(), progress.epoch + 1)
        metrics = progress.finish_epoch(*self._trainer.evaluate(validation))
        self._early_stopping.on_epoch_end(progress.history)
        check_replicas_in_sync(self._cluster, self._variables)
        self._save()  # before the metric line: whoever reads that may rely on the checkpoint
        if self._is_first:
            print_metrics(metrics)
        for callback in self._callbacks:
            callback.on_epoch_end(metrics)
        _warn_of_slow_input(metrics, waited)

    def finish(self) -> None:
        """Export the model, evaluate it and write the report."""
        self._early_stopping.restore_best()
        self._lines.say("export", self._progress.epoch)
        self._export()
        result = self._evaluate()
        if not self._is_first:
            return
        folder, history = self._environment.output_data, self._progress.history
        self._write_card(result)
        page = write_report(folder, history, result, self._info, self._describe())
        for callback in self._callbacks:
            callback.on_end()
        what = "drawn shapes" if self._info.is_drawn else "pictures"
        _log.info("validation accuracy %.4f over %d %s; report %s", result.accuracy, result.examples, what, page)

    def save_stopped(self) -> None:
        """After a stop: the checkpoint of this exact step, and the model if an epoch is done."""
        began = time.monotonic()
        self._save()
        if self._progress.history:
            self._export()
            self._write_card(None)
        for callback in self._callbacks:
            callback.on_stop()
        _log.info(
            "Stopped in epoch %d after step %d, saved in %.1f s. Run with the same checkpoints to go on from here.",
            self._progress.epoch + 1, self._progress.step, time.monotonic() - began,
        )  # fmt: skip

    def _save(self) -> None:
        if self._is_first:
            self._checkpoints.save(self._progress, to_arrays(self._variables) | self._early_stopping.arrays)
            if self._programs:
                self._programs.save()

    def _export(self) -> None:
        if self._is_first:
            export_model(self._trainer.eval_model, self._info, self._environment.model)

    def _write_card(self, result: evaluation.Evaluation | None) -> None:
        if self._is_first:
            folder, history = self._environment.model, self._progress.history
            write_model_card(folder, self._info, history, result, self._describe())

    def _evaluate(self) -> evaluation.Evaluation:
        """Of the validation images of all hosts."""
        with synchronize_stop(self._cluster):
            batches = self._lines.follow("evaluation", self._datasets.validation(), self._progress.epoch)
            result = evaluation.evaluate(self._trainer.predict(batches), len(self._info.classes))
        if len(self._cluster.hosts) == 1:
            return result
        return evaluation.merge(self._cluster.all_gather(result.pack()))

    def _describe(self) -> dict[str, str]:
        """The report's table; what is not known is left out."""
        minutes, seconds = divmod(round(time.monotonic() - self._began), 60)
        known = {
            "job": self._environment.job,
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "duration": f"{minutes} min {seconds} s",
            "image": self._environment.image,
            "data": self._info.source,
            "parameters": f"{self._model.count_params():,}",
        }
        settings = {name: str(value) for name, value in self._settings.items()}
        settings["classes"] = ", ".join(self._info.classes)
        return {name: text for name, text in known.items() if text} | settings | hardware.describe(self._environment)


def _build_trainer(
    environment: Environment,
    hparams: Hyperparameters,
    info: ImageDatasetInfo,
    cluster: Cluster,
    stop: threading.Event,
    lines: ProgressLines,
) -> Trainer:
    replicas = Replicas(cluster)  # before anything touches a device
    keras.utils.set_random_seed(hparams.seed)
    file = find_model_file(hparams.model, environment) if hparams.model.endswith(CUSTOM_MODEL) else None
    model, optimizer = build_model(hparams, info, file), build_optimizer(hparams)
    eval_model = apply_tta(model, hparams.tta)
    examples = (info.train_examples or hparams.train_examples) / len(cluster.hosts)
    train_step = TrainStep(
        model, optimizer, augment=make_augmentation(hparams), label_smoothing=hparams.label_smoothing,
        seed=hparams.seed, replicas=replicas, batch_size=hparams.batch_size, jit=_choose_jit(hparams, replicas),
        steps=_choose_steps(hparams, replicas, info.bytes),
    )  # fmt: skip
    return Trainer(
        train_step, lr_schedule=make_lr_schedule(hparams, examples),
        size_schedule=make_size_schedule(hparams, examples, info.shape), eval_model=eval_model, stop=stop,
        cluster=cluster, lines=lines,
    )  # fmt: skip


def _make_progress_lines(
    environment: Environment, hparams: Hyperparameters, info: ImageDatasetInfo, cluster: Cluster
) -> ProgressLines:
    """The number of pictures that is a guess of the schedule's is no number of steps."""
    given = hparams.train_examples if "train-examples" in environment.hyperparameters else None
    examples = {"train": info.train_examples or given, "validation": info.validation_examples}
    pictures = len(cluster.hosts) * hparams.batch_size  # of a step
    steps = {channel: number and math.ceil(number / pictures) for channel, number in examples.items()}
    return ProgressLines(environment.variables if cluster.index == 0 else {}, hparams.epochs, steps)


def _choose_jit(hparams: Hyperparameters, replicas: Replicas) -> str:
    if hparams.jit == "auto":
        return "auto" if replicas.count == 1 and hardware.count_gpus() else "off"
    if hparams.jit == "on" and replicas.count > 1:
        raise TrainingError(
            f"XLA does not compile the steps of several devices. Received: jit on, {replicas.count} devices. Expected: "
            "jit auto or off."
        )
    return hparams.jit


def _describe_few_steps(hparams: Hyperparameters, info: ImageDatasetInfo, cluster: Cluster) -> str | None:
    """If a model will have hardly begun to learn: a person's first pictures are few, the batch is for many."""
    if info.train_examples is None:
        return None
    steps = hparams.epochs * math.ceil(info.train_examples / (hparams.batch_size * len(cluster.hosts)))
    if steps >= _FEW_STEPS:
        return None
    return (
        f"{info.train_examples} pictures at batch-size {hparams.batch_size} and epochs {hparams.epochs} are {steps} "
        "steps, in which a model learns little. A smaller batch-size or more epochs make more."
    )


def _choose_steps(hparams: Hyperparameters, replicas: Replicas, picture_bytes: int) -> int:
    """Steps a call: a GPU needs no more to be kept busy, and the first pictures of a call wait for its last."""
    steps = hparams.steps_per_execution
    if replicas.count > 1:
        if steps > 1:
            raise TrainingError(
                f"Several devices make one step a call. Received: steps-per-execution {steps}, {replicas.count} "
                "devices. Expected: 0 or 1."
            )
        return 1
    if steps or hparams.jit == "off" or not hardware.count_gpus():
        return steps or 1
    return max(1, min(_STEPS, _STEPS_BYTES // (hparams.batch_size * picture_bytes)))


def _make_callbacks(environment: Environment, settings: Mapping[str, bool | float | str]) -> list[Callback]:
    callbacks: list[Callback] = []
    if environment.tensorboard:
        callbacks.append(EventWriter(environment.tensorboard, settings))
    if environment.variables.get(mlflow.URI):
        callbacks.append(MlflowRun(environment.variables, settings))
    return callbacks


def _data_order(hparams: Hyperparameters, cluster: Cluster) -> dict[str, int]:
    """What the order of images depends on."""
    return {
        "seed": hparams.seed,
        "batch-size": hparams.batch_size,
        "shuffle-buffer": hparams.shuffle_buffer,
        "InstanceCount": len(cluster.hosts),
    }


def _describe_progress(progress: Progress, finished: bool) -> str:
    if finished:
        return f"the training was finished with epoch {progress.epoch}"
    return f"epoch {progress.epoch + 1}, step {progress.step_in_epoch} of it"


def _describe_settings(hparams: Hyperparameters, info: ImageDatasetInfo) -> dict[str, bool | float | str]:
    """The hyperparameters as they are used: what the data say of themselves comes before what the request says."""
    used = replace(
        hparams,
        classes=",".join(info.classes),
        image_shape=",".join(map(str, info.shape)),
        train_examples=info.train_examples or hparams.train_examples,
    )
    return {name.replace("_", "-"): value for name, value in asdict(used).items()}


def _warn_of_slow_input(metrics: EpochMetrics, waited: float) -> None:
    """`waited`: seconds of the epoch."""
    if metrics.input_wait > _SLOW_INPUT and waited > _SLOW_SECONDS:
        _log.info(
            "Input is the bottleneck: %.0f %% of the training time of epoch %d was spent waiting for it. "
            "An instance with more network bandwidth or cores helps, or FastFile mode for data read many times.",
            100 * metrics.input_wait, metrics.epoch,
        )  # fmt: skip


def _log_values(values: Mapping[str, object]) -> None:
    _log.info("%s", " ".join(f"{name}={value}" for name, value in values.items()))
