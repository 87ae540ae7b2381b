"""The built-in job, read in one go: settings → datasets → model → loop → export → report."""

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import keras
import numpy as np

from train.distributed.rendezvous import Cluster, rendezvous, synchronize_stop
from train.distributed.replicas import Replicas
from train.errors import StopRequested, TrainingError
from train.input_pipeline import pipeline
from train.input_pipeline.host_sharding import host_shard
from train.modeling.augmentation import make_augmentation
from train.modeling.builtin import build_model, build_optimizer, flip_tta
from train.modeling.custom import find_model_file
from train.outputs import evaluation, export
from train.outputs import mlflow as mlflow_run
from train.outputs.html_report import write_report
from train.outputs.metric_lines import EpochMetrics, print_metrics
from train.outputs.mlflow import MlflowRun
from train.outputs.tensorboard import EventWriter
from train.records.channels import open_channel
from train.runtime import hardware
from train.runtime.dataset_info import ImageDatasetInfo, read_dataset_info
from train.runtime.environment import Environment
from train.runtime.hyperparameters import OWN_MODEL, Hyperparameters, parse
from train.trainer.checkpoint import CheckpointManager, Progress, check_order, named_variables, restore, to_arrays
from train.trainer.schedules import schedule, sizes
from train.trainer.trainer import Loop

_log = logging.getLogger(__name__)

_SLOW_INPUT = 0.2  # share of an epoch waited for input from which it is worth a sentence
_BEST = "best/"  # prefix of the best epoch's weights in a checkpoint


def run(environment: Environment, stop: threading.Event) -> None:
    """Train as the environment says. StopRequested after a stop, with everything saved; TrainingError if it can't."""
    hparams = parse(environment.hyperparameters)
    hardware.limit_threads()
    _log.info("%s", " ".join(f"{name}={value}" for name, value in hardware.describe(environment).items()))
    pictures = read_dataset_info(environment, hparams)
    with rendezvous(environment, hparams.hosts_timeout, stop) as cluster:
        job = _Job(environment, hparams, pictures, cluster, stop)
        with job.failure_told():
            try:
                job.resume()
                while not job.finished():
                    job.epoch()
                job.finish()
            except StopRequested:
                job.save_stopped()
                raise


class _Job:
    """One host's training job: what it reads, what it trains, how far it is. The first host writes for all."""

    def __init__(
        self,
        environment: Environment,
        hparams: Hyperparameters,
        pictures: ImageDatasetInfo,
        cluster: Cluster,
        stop: threading.Event,
    ) -> None:
        self._cluster, self._first = cluster, cluster.index == 0
        self._environment, self._hparams, self._pictures = environment, hparams, pictures
        self._train, self._validation = (
            open_channel(environment.channel(name), hparams.fifo_timeout, stop) for name in ("train", "validation")
        )
        self._shares = {
            name: host_shard(channel, cluster.index, len(cluster.hosts))
            for name, channel in environment.channels.items()
        }
        replicas = Replicas(cluster)  # before anything touches a device
        keras.utils.set_random_seed(hparams.seed)
        own = find_model_file(hparams.model, environment) if hparams.model.endswith(OWN_MODEL) else None
        self._model, self._optimizer = build_model(hparams, pictures, own), build_optimizer(hparams)
        self._asked = flip_tta(self._model) if hparams.mirror else self._model
        examples = (pictures.train_examples or hparams.train_examples) / len(cluster.hosts)
        self._loop = Loop(
            self._model, self._optimizer, change=make_augmentation(hparams), smoothing=hparams.label_smoothing,
            rate=schedule(hparams, examples), size=sizes(hparams, examples, pictures.shape), asked=self._asked,
            seed=hparams.seed, stop=stop, cluster=cluster, replicas=replicas,
        )  # fmt: skip
        self._checkpoints = CheckpointManager(environment.checkpoints)
        self._variables = named_variables(self._model, self._optimizer)
        named = {name.replace("_", "-"): value for name, value in asdict(hparams).items()}
        order = {
            "seed": hparams.seed,
            "batch-size": hparams.batch_size,
            "shuffle-buffer": hparams.shuffle_buffer,
            "InstanceCount": len(cluster.hosts),
        }
        self._progress = Progress(order=order)
        self._runs: list[EventWriter | MlflowRun] = []  # who else is told of the job's epochs and its end
        if environment.tensorboard and self._first:
            self._runs.append(EventWriter(environment.tensorboard, named))
        if environment.variables.get(mlflow_run.URI) and self._first:
            self._runs.append(MlflowRun(environment.variables, named))
        self._best: dict[str, np.ndarray] = {}
        _log.info("model=%s parameters=%d", hparams.model, self._model.count_params())
        _log.info("%s", " ".join(f"{name}={value}" for name, value in asdict(hparams).items()))

    @contextmanager
    def failure_told(self) -> Iterator[None]:
        """A run that is watched elsewhere must not look as if it still went on."""
        try:
            yield
        except StopRequested:
            raise
        except Exception:
            for run in self._runs:
                run.fail()
            raise

    def resume(self) -> None:
        """Continue from the newest checkpoint, if there is one."""
        newest = self._checkpoints.newest()
        names = self._cluster.all_gather(newest and newest[0].name)
        if len(set(names)) > 1:
            raise TrainingError(
                f"The hosts have different checkpoints. Received: {', '.join(map(str, names))}. Expected: the first "
                "host's on all, as the service restores them."
            )
        if newest is None:
            return
        path, progress, arrays = newest
        if progress.step_in_epoch:
            check_order(progress.order, self._progress.order, path)
        self._best = {name: arrays.pop(name) for name in list(arrays) if name.startswith(_BEST)}
        restore(self._variables, arrays, path)
        progress.order = self._progress.order
        self._progress = progress
        _log.info("Resumed from %s: epoch %d, step %d of it", path, progress.epoch + 1, progress.step_in_epoch)

    def finished(self) -> bool:
        """Whether the last epoch is done, or `patience` has run out."""
        if self._progress.epoch >= self._hparams.epochs:
            return True
        history, patience = self._progress.history, self._hparams.patience
        return bool(patience and history) and len(history) - _best_epoch(history) >= patience

    def epoch(self) -> None:
        """One epoch, or what is left of it: train, validate, report, save."""
        progress = self._progress
        batches = pipeline.for_training(
            self._train, self._pictures, self._hparams.batch_size, self._hparams.shuffle_buffer,
            self._hparams.seed, progress.epoch, self._hparams.crc, self._shares["train"],
        )  # fmt: skip
        every = self._hparams.checkpoint_every
        self._loop.train_epoch(batches.skip(progress.step_in_epoch), progress, every, self._save)
        if not progress.seen:
            raise TrainingError("The epoch had no picture left to train on. Are the channel's objects still the same?")
        if self._hparams.weight_average and progress.epoch + 1 == self._hparams.epochs:
            self._optimizer.finalize_variable_values(self._model.trainable_variables)
        loss, accuracy = self._loop.evaluate(self._validation_batches())
        progress.epoch += 1
        result = EpochMetrics(
            epoch=progress.epoch,
            step=progress.step,
            train_loss=progress.loss_sum / progress.seen,
            train_accuracy=progress.correct / progress.seen,
            validation_loss=loss,
            validation_accuracy=accuracy,
            images_per_second=progress.seen / max(progress.seconds, 1e-9),
            input_wait=progress.waited / max(progress.seconds, 1e-9),
        )
        progress.history.append(asdict(result))
        progress.step_in_epoch = progress.correct = progress.seen = 0
        progress.loss_sum = progress.seconds = progress.waited = 0.0
        self._keep_best()
        self._same_weights()
        self._save()  # before the line: whoever reads it may rely on the epoch
        if self._first:
            print_metrics(result)
        for run in self._runs:
            run.epoch(result)
        if result.input_wait > _SLOW_INPUT:
            _log.info(
                "Input is the bottleneck: %.0f %% of the training time of epoch %d was spent waiting for it. "
                "An instance with more network bandwidth or cores helps, or FastFile mode for data read many times.",
                100 * result.input_wait, result.epoch,
            )  # fmt: skip

    def finish(self) -> None:
        """Export the model and what it can do."""
        for name, weights in self._best.items():
            self._variables[name.removeprefix(_BEST)].assign(weights)
        if self._first:
            export.export(self._asked, self._pictures, self._environment.model)
        with synchronize_stop(self._cluster):
            predictions = self._loop.predict(self._validation_batches())
            part = evaluation.evaluate(predictions, len(self._pictures.classes))
        parts = self._cluster.all_gather(part.pack()) if len(self._cluster.hosts) > 1 else []
        if not self._first:
            return
        result = evaluation.merge(parts) if parts else part
        folder = self._environment.output_data
        page = write_report(folder, self._progress.history, result, self._pictures.classes, self._facts())
        for run in self._runs:
            run.end()
        _log.info("validation accuracy %.4f over %d pictures; report %s", result.accuracy, result.examples, page)

    def save_stopped(self) -> None:
        """After a stop: the checkpoint of this step, and the model as it is once an epoch is done."""
        began = time.monotonic()
        self._save()
        if self._progress.history and self._first:
            export.export(self._asked, self._pictures, self._environment.model)
        for run in self._runs:
            run.stop()
        _log.info(
            "Stopped in epoch %d after step %d, saved in %.1f s. Run with the same checkpoints to go on from here.",
            self._progress.epoch + 1, self._progress.step, time.monotonic() - began,
        )  # fmt: skip

    def _validation_batches(self) -> pipeline.PrefetchedBatches:
        return pipeline.for_validation(
            self._validation, self._pictures, self._hparams.batch_size, self._hparams.crc, self._shares["validation"]
        )

    def _keep_best(self) -> None:
        history = self._progress.history
        if self._hparams.patience and _best_epoch(history) == len(history):
            weights = {f"model/{variable.path}": variable for variable in self._model.weights}
            self._best = {f"{_BEST}{name}": array for name, array in to_arrays(weights).items()}

    def _same_weights(self) -> None:
        """A host whose weights differ trains another model: that must not go on unseen."""
        if len(self._cluster.hosts) == 1:
            return
        digest = hashlib.sha256()
        for name, array in sorted(to_arrays(self._variables).items()):
            digest.update(name.encode() + array.tobytes())
        digests = self._cluster.all_gather(digest.hexdigest())
        if len(set(digests)) > 1:
            raise TrainingError(f"The hosts' weights differ. Received: {', '.join(digests)}. Expected: the same.")
        _log.info("weights of all hosts: sha256 %s", digests[0])

    def _save(self) -> None:
        if self._first:
            self._checkpoints.save(self._progress, to_arrays(self._variables) | self._best)

    def _facts(self) -> dict[str, str]:
        hparams = {name.replace("_", "-"): str(value) for name, value in asdict(self._hparams).items()}
        hparams |= {
            "classes": ", ".join(self._pictures.classes),
            "image-shape": "×".join(map(str, self._pictures.shape)),
        }
        return {
            "parameters": f"{self._model.count_params():,}",
            **hparams,
            **hardware.describe(self._environment),
        }


def _best_epoch(history: list[dict[str, float]]) -> int:
    """The first epoch, from 1, with the highest validation accuracy."""
    return 1 + int(np.argmax([row["validation_accuracy"] for row in history]))
