"""Replicas: the devices that share a step — one, the GPUs of a host, or those of all hosts.

The variables are plain ones, kept by each host; only gradients and sums travel, as one vector a step. So a checkpoint,
an export or an evaluation knows nothing of other hosts.
"""

import hashlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from train.distributed.rendezvous import Cluster
from train.errors import TrainingError
from train.input_pipeline.host_sharding import row_slice

Tensors = tuple[Any, ...]  # tensors, or tuples of them

_log = logging.getLogger(__name__)

_SUM = tf.distribute.ReduceOp.SUM
_COMMUNICATION = tf.distribute.experimental.CommunicationImplementation


class Replicas:
    """`here` devices of this host, `count` of all hosts. Make it before TensorFlow uses a device."""

    def __init__(self, cluster: Cluster, devices: Sequence[str] | None = None) -> None:
        """`devices` are this host's, in place of its GPUs; at least one, and on all hosts as many."""
        gpus = tf.config.list_logical_devices("GPU") if devices is None and len(cluster.hosts) == 1 else ()
        names = devices if devices is not None else [gpu.name for gpu in gpus]
        if len(cluster.hosts) > 1:
            self._strategy = _multi_worker_strategy(cluster)
        elif len(names) > 1:
            self._strategy = tf.distribute.MirroredStrategy(names)
        else:
            self._strategy = tf.distribute.get_strategy()
        self.count = self._strategy.num_replicas_in_sync
        self.here = self.count // len(cluster.hosts)
        self.device = names[0] if self.count == 1 and names else None  # that makes all steps, if not the processor
        self._index = cluster.index
        self._counting = threading.local()  # each device of a host has a thread

    def run(self, part: Callable[..., Tensors], *tensors: tf.Tensor) -> Tensors:
        """What `part(number, *tensors)` returns on the first of this host's devices, `number` being its own among all.

        Each device gets its rows of those `tensors` that have any, and the others whole.
        """

        def one(*whole: tf.Tensor) -> Tensors:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            local = number - self._index * self.here
            return part(number, *[_rows(tensor, local, self.here) for tensor in whole])

        results = self._strategy.run(one, args=tensors)
        return tf.nest.map_structure(lambda value: self._strategy.experimental_local_results(value)[0], results)

    def set_weights(self, weights: tf.Tensor) -> None:
        """Inside `run`, on one device: the weights of its images, (n,) float32."""
        self._counting.weights = weights

    @contextmanager
    def sync_batch_norm(self, model: keras.Model) -> Iterator[None]:
        """Normalise batches over the images of all devices while `run` calls `model`.

        One all-reduce a layer, where Keras' own `synchronized=True` makes three; images of weight 0 don't count.
        """
        layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
        try:
            for layer in layers:
                layer._moments = lambda inputs, _mask: _moments(inputs, self._counting.weights)
            yield
        finally:
            for layer in layers:
                del layer._moments


def all_reduce_sum(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """float32 tensors, each summed over all devices by one all-reduce. Only inside `run`."""
    vector = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)
    vector = tf.distribute.get_replica_context().all_reduce(_SUM, vector)
    parts = tf.split(vector, [tensor.shape.num_elements() for tensor in tensors])
    return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def check_replicas_in_sync(cluster: Cluster, variables: Mapping[str, keras.Variable]) -> None:
    """TrainingError if the hosts' variables differ: one would train another model, and nobody would see it."""
    if len(cluster.hosts) == 1:
        return
    digest = hashlib.sha256()
    for name, variable in sorted(variables.items(), key=lambda item: item[0]):
        digest.update(name.encode() + variable.value.numpy().tobytes())
    digests = cluster.all_gather(digest.hexdigest())
    if len(set(digests)) > 1:
        raise TrainingError(f"The hosts' weights differ. Received: {', '.join(digests)}. Expected: the same.")
    _log.info("weights of all hosts: sha256 %s", digests[0])


def _multi_worker_strategy(cluster: Cluster) -> tf.distribute.Strategy:
    """In place of TF_CONFIG, which would be read from the environment."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.workers)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    gpus = tf.config.list_physical_devices("GPU")
    options = tf.distribute.experimental.CommunicationOptions(
        implementation=_COMMUNICATION.NCCL if gpus else _COMMUNICATION.RING
    )
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    except tf.errors.OpError as error:
        raise TrainingError(f"TensorFlow can't reach the other hosts, {', '.join(cluster.workers)}: {error}") from error
    # TensorFlow's coordination service takes SIGTERM for itself, and does nothing with it that would end a job
    signal.signal(signal.SIGTERM, on_sigterm)
    counts = cluster.all_gather(max(1, len(gpus)))
    if len(set(counts)) > 1:
        raise TrainingError(f"Hosts have different numbers of GPUs. Received: {counts}. Expected: one instance type.")
    return strategy


def _rows(tensor: tf.Tensor, index: tf.Tensor | int, parts: int) -> tf.Tensor:
    if parts == 1 or not tensor.shape.rank:
        return tensor
    return tensor[row_slice(tf.shape(tensor)[0], index, parts)]


def _moments(inputs: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(channels,) mean and variance over all but the last axis, of the pictures of all devices that count."""
    values = tf.cast(inputs, tf.float32)
    counting = tf.reshape(weights, [-1] + [1] * (inputs.shape.rank - 1))
    axes = list(range(inputs.shape.rank - 1))
    places = tf.cast(tf.reduce_prod(tf.shape(inputs)[1:-1]), tf.float32)
    total, squares, count = all_reduce_sum([
        tf.reduce_sum(values * counting, axes),
        tf.reduce_sum(tf.square(values) * counting, axes),
        tf.reshape(tf.reduce_sum(weights) * places, [1]),
    ])  # fmt: skip
    mean = total / count
    variance = tf.maximum(squares / count - tf.square(mean), 0)
    return tf.cast(mean, inputs.dtype), tf.cast(variance, inputs.dtype)
