"""PipeModeDataset, as the official sagemaker-tensorflow package has it."""

import functools
import json
import os

import tensorflow as tf
from tensorflow.core.protobuf.snapshot_pb2 import SnapshotMetadataRecord

from sagemaker_tensorflow.failure import fail
from sagemaker_tensorflow.passes import Passes, RecordReader, replace_root
from sagemaker_tensorflow.state import PipeState
from train.records.recordio import read_recordio
from train.records.text_lines import read_lines
from train.records.tfrecord import read_tfrecord_lists, read_tfrecords
from train.runtime.environment import Channel


class PipeModeDatasetException(Exception):  # noqa: N818 - the official name
    """The job has no such channel, or not in Pipe mode."""


class PipeModeDataset(tf.data.Dataset):
    """The records of a Pipe-mode channel, as scalar strings. Each iterator over it takes the channel's next FIFO."""

    def __init__(
        self,
        channel: str,
        record_format: str = "RecordIO",
        state_dir: str = "/opt/ml/pipe_state",
        pipe_dir: str = "/opt/ml/input/data",
        config_dir: str = "/opt/ml/input/config",
        benchmark: bool = False,
        benchmark_records_interval: int = 0,
        max_corrupted_records_to_skip: int = 0,
    ) -> None:
        """
        Args:
            channel: its name in the job's InputDataConfig.
            record_format: RecordIO (parts of split records are joined as they are), TFRecord or TextLine (split at
                line feeds alone, as ever: a carriage return stays).
            state_dir: where the number of the next FIFO is kept, for this and other processes.
            pipe_dir: where the FIFOs are.
            config_dir: where inputdataconfig.json is. All three move with SAGEMAKER_BASE_DIR if below /opt/ml.
            benchmark: print time, bytes and rate when an iterator is gone.
            benchmark_records_interval: print them at every so many records, too; 0: don't.
            max_corrupted_records_to_skip: TFRecords in sequence that may have a wrong data CRC and are skipped.

        Raises:
            PipeModeDatasetException: no such channel, or not in Pipe mode; corrupted records of another format skipped.
            tf.errors.InvalidArgumentError: another record format.
            ValueError: a negative number.
            FileNotFoundError: no inputdataconfig.json.

        A checkpoint of an iterator holds the records that it has read ahead, not the pass. Restored, they come first,
        then those of the next FIFO.

        Iterating raises tf.errors.InternalError, naming FIFO, record and byte, for damaged or truncated data and for a
        FIFO or its bytes that don't come within 300 s.
        """
        self.record_format, self.channel = record_format, channel
        self.pipe_dir, self.state_dir = pipe_dir, state_dir
        self.benchmark, self.benchmark_records_interval = benchmark, benchmark_records_interval
        self.max_corrupted_records_to_skip = max_corrupted_records_to_skip
        root = os.environ.get("SAGEMAKER_BASE_DIR")
        state = replace_root(state_dir, root)
        state.mkdir(parents=True, exist_ok=True)
        self.input_data_config = json.loads((replace_root(config_dir, root) / "inputdataconfig.json").read_text())
        self._validate_input_data_config()
        _check_not_negative("benchmark_records_interval", benchmark_records_interval)
        read_stream = _record_reader(record_format, max_corrupted_records_to_skip)
        source = Channel(channel, "Pipe", replace_root(pipe_dir, root))
        passes = Passes(source, PipeState(state, channel), read_stream, benchmark, benchmark_records_interval)
        self._source = _records(passes)
        super().__init__(self._source._variant_tensor)

    def _validate_input_data_config(self) -> None:
        if self.channel not in self.input_data_config:
            raise PipeModeDatasetException(f"Channel {self.channel} not found in Training Job InputDataConfig")
        if self.input_data_config[self.channel].get("TrainingInputMode", "").lower() != "pipe":
            raise PipeModeDatasetException(f"Channel {self.channel} is not a PipeMode channel")

    def _inputs(self) -> list[tf.data.Dataset]:
        return [self._source]

    @property
    def element_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec((), tf.string)  # without a name: datasets of two channels can be joined

    @property
    def output_classes(self) -> type:
        return tf.Tensor

    @property
    def output_shapes(self) -> tf.TensorShape:
        return tf.TensorShape([])

    @property
    def output_types(self) -> tf.DType:
        return tf.string


def _record_reader(record_format: str, skip: int) -> RecordReader:
    _check_not_negative("max_corrupted_records_to_skip", skip)
    if skip and record_format != "TFRecord":
        raise PipeModeDatasetException("max_corrupted_records_to_skip can only be set for record_format='TFRecord'")
    readers: dict[str, RecordReader] = {
        "RecordIO": functools.partial(read_recordio, splits="plain"),
        "TFRecord": functools.partial(read_tfrecords, skip=skip) if skip else read_tfrecord_lists,
        "TextLine": functools.partial(read_lines, strip_return=False),
    }
    if record_format not in readers:
        raise tf.errors.InvalidArgumentError(None, None, f"Invalid record format: {record_format}")
    return readers[record_format]


def _check_not_negative(name: str, value: int) -> None:
    if value < 0:
        raise ValueError(f"{name} is negative. Received: {value}. Expected: 0 or more.")


def _records(passes: Passes) -> tf.data.Dataset:
    """A dataset of scalar strings whose every iterator is a pass of its own.

    Not Dataset.from_generator: TensorFlow 2.21 has malloc return memory so eagerly once one exists
    (M_TRIM_THRESHOLD in generator_dataset_op.cc) that training takes twice the time, in page faults. The inner dataset
    captures the pass's number, and so keeps it for as long as its iterator lives.
    """

    def one_pass(_: tf.data.Dataset) -> tf.data.Dataset:
        handle = tf.ensure_shape(tf.numpy_function(passes.open, [], tf.int64), [1])
        blocks = tf.data.Dataset.counter().map(lambda _: _block(passes, handle))
        return blocks.take_while(lambda _, more: more).map(lambda block, _: block).unbatch()

    # of all datasets only this one calls its function when an iterator is made, not when that gives its first element
    # (load_dataset_op.cc); what it has loaded is not used
    spec = tf.TensorSpec((), tf.string)
    records = tf.data.Dataset.load(_empty_saved_dataset(), element_spec=spec, reader_func=one_pass)
    options = tf.data.Options()  # iterators can be saved, although a pass is no part of what is saved
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    return records.with_options(options)


@functools.cache
def _empty_saved_dataset() -> str:
    """A saved dataset of an unknown number of elements, in this process's memory."""
    folder = "ram://sagemaker_tensorflow"
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(f"{folder}/snapshot.metadata", "wb") as file:
        metadata = SnapshotMetadataRecord(num_elements=tf.data.UNKNOWN_CARDINALITY, run_id="none")
        file.write(metadata.SerializeToString())
    return folder


def _block(passes: Passes, handle: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The next block, (n,) strings, and whether the pass goes on; InternalError where the data is not right."""
    block, more, text = tf.numpy_function(passes.read, [handle], (tf.string, tf.bool, tf.uint8))
    block, more, text = tf.ensure_shape(block, [None]), tf.ensure_shape(more, []), tf.ensure_shape(text, [None])

    def failed() -> tf.Tensor:
        with tf.control_dependencies([fail(text)]):
            return tf.constant(False)

    with tf.control_dependencies([tf.cond(tf.size(text) > 0, failed, lambda: tf.constant(True))]):
        return tf.identity(block), tf.identity(more)
