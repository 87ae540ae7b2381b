"""TensorBoard's event files: metrics by epoch, and the hyperparameters with their outcome for its HParams page.

TensorFlow 2.21 writes events, but what they are to TensorBoard is said in metadata of TensorBoard's own, which is not
in the image. The HParams plugin's (tensorboard/plugins/hparams/plugin_data.proto, version 0) is short enough to be
encoded here: its map of hyperparameters is, byte for byte, a google.protobuf.Struct.
"""

import struct
import time
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from google.protobuf.struct_pb2 import Struct

from train.outputs.metric_lines import EpochMetrics

SCALARS = {
    "train/loss": "train_loss",
    "train/accuracy": "train_accuracy",
    "validation/loss": "validation_loss",
    "validation/accuracy": "validation_accuracy",
    "images per second": "images_per_second",
    "input wait": "input_wait",
}
_START_INFO, _END_INFO = b"\x1a", b"\x22"  # HParamsPluginData.session_start_info = 3, session_end_info = 4
_START_TIME, _END_TIME = b"\x29", b"\x11"  # SessionStartInfo.start_time_secs = 5, SessionEndInfo.end_time_secs = 2
_SUCCESS, _FAILURE = b"\x08\x01", b"\x08\x02"  # SessionEndInfo.status = 1


class EventWriter:
    """Writes a run's events into `folder`. A resumed job adds to them."""

    def __init__(self, folder: Path, hyperparameters: Mapping[str, bool | float | str]) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))
        self._step = 0  # TensorBoard takes a step back for a restart, and drops what came after
        named = Struct()
        named.update(dict(hyperparameters))
        self._session("start", _START_INFO, named.SerializeToString() + _START_TIME + struct.pack("<d", time.time()))

    def on_epoch_end(self, metrics: EpochMetrics) -> None:
        """An epoch's metrics, on disk when this returns."""
        metadata = _metadata("scalars")
        metadata.data_class = (
            metadata.DESCRIPTOR.fields_by_name["data_class"].enum_type.values_by_name["DATA_CLASS_SCALAR"].number
        )
        self._step = metrics.epoch
        with self._writer.as_default():
            for tag, name in SCALARS.items():
                value = tf.constant(getattr(metrics, name), tf.float32)
                tf.summary.write(tag, value, step=metrics.epoch, metadata=metadata)
        self._writer.flush()

    def on_stop(self) -> None:
        """Nothing: a resumed job adds to the same run."""

    def on_failure(self) -> None:
        """The job has failed."""
        self._end(_FAILURE)

    def on_end(self) -> None:
        """The run is complete."""
        self._end(_SUCCESS)

    def _end(self, status: bytes) -> None:
        self._session("end", _END_INFO, status + _END_TIME + struct.pack("<d", time.time()))
        self._writer.close()

    def _session(self, what: str, member: bytes, info: bytes) -> None:
        metadata = _metadata("hparams", member + _varint(len(info)) + info)
        with self._writer.as_default():
            tf.summary.write(f"_hparams_/session_{what}_info", tf.zeros((0,)), step=self._step, metadata=metadata)
        self._writer.flush()


def _metadata(plugin: str, content: bytes = b"") -> tf.compat.v1.SummaryMetadata:
    data = tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin, content=content)
    return tf.compat.v1.SummaryMetadata(plugin_data=data)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
