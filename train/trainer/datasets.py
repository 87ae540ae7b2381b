"""The channels `train` and `validation` of a job, as batches."""

import threading
from typing import cast

from train.distributed.rendezvous import Cluster
from train.input_pipeline import pipeline
from train.input_pipeline.host_sharding import host_shard
from train.input_pipeline.pipeline import Consumer
from train.records.channels import open_channel
from train.records.tfrecord import Crc
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.environment import Environment
from train.runtime.hyperparameters import Hyperparameters


class Datasets:
    """This host's part of both channels. Every pass over a channel in Pipe mode opens its next FIFO."""

    def __init__(
        self,
        environment: Environment,
        hparams: Hyperparameters,
        info: ImageDatasetInfo,
        cluster: Cluster,
        stop: threading.Event,
        consumer: Consumer,
    ) -> None:
        self._consumer = consumer
        self._hparams, self._info = hparams, info
        self._crc = cast(Crc, hparams.crc)  # one of them: `parse` has looked
        channels = [environment.channel(name) for name in ("train", "validation")]
        self._train, self._validation = (open_channel(channel, hparams.fifo_timeout, stop) for channel in channels)
        self._shards = [host_shard(channel, cluster.index, len(cluster.hosts)) for channel in channels]

    def train(self, epoch: int) -> pipeline.PrefetchedBatches:
        """Shuffled batches of an epoch, from 0: the same for the same epoch and seed."""
        hparams = self._hparams
        return pipeline.for_training(
            self._train, self._info, hparams.batch_size, hparams.shuffle_buffer, hparams.seed, epoch, self._crc,
            self._shards[0], self._consumer,
        )  # fmt: skip

    def validation(self) -> pipeline.PrefetchedBatches:
        """Batches in the order of the records."""
        return pipeline.for_validation(
            self._validation, self._info, self._hparams.batch_size, self._crc, self._shards[1],
            Consumer(device=self._consumer.device),
        )  # fmt: skip
