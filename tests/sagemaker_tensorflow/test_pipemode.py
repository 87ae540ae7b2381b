"""The drop-in over real FIFOs, used as scripts for the official reader use it."""

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from sagemaker_tensorflow import PipeModeDataset, PipeModeDatasetException
from sagemaker_tensorflow.state import PipeState
from tests.support.records import damaged, frame, part, plain
from train.records.channels import FifoSource

ROOT = Path(__file__).parents[2]

RECORDS = [b"bear", b"", b"caterpillar", b"x" * 100_000, b"last\r"]
FORMATS = {
    "RecordIO": b"".join(map(part, RECORDS)),
    "TFRecord": b"".join(map(frame, RECORDS)),
    "TextLine": b"\n".join(RECORDS),
}


@pytest.fixture
def make(tmp_path) -> Callable[..., PipeModeDataset]:
    """make(…) is a dataset over channel `train` of folders below tmp_path."""
    (tmp_path / "inputdataconfig.json").write_text(
        json.dumps({"train": {"TrainingInputMode": "Pipe"}, "files": {"TrainingInputMode": "File"}})
    )
    folders = {"state_dir": str(tmp_path / "state"), "pipe_dir": str(tmp_path), "config_dir": str(tmp_path)}

    def make_dataset(channel: str = "train", **arguments) -> PipeModeDataset:
        return PipeModeDataset(channel, **{**folders, **arguments})

    return make_dataset


def values(dataset: tf.data.Dataset) -> list:
    return [element.numpy() for element in dataset]


def reader_closes(descriptor: int, seconds: float = 60) -> bool:
    """Whether the reader of a pipe, whose writing end we have, closes it in time."""
    poll = select.poll()
    poll.register(descriptor, 0)  # POLLERR, which needs no asking for: nobody reads any more
    return bool(poll.poll(seconds * 1000))


@pytest.mark.parametrize("record_format", FORMATS)
def test_records_are_scalar_strings_and_each_iterator_takes_the_next_fifo(tmp_path, feed, make, record_format):
    feed(tmp_path, "train", FORMATS[record_format])
    dataset = make(record_format=record_format)
    assert isinstance(dataset, tf.data.Dataset)
    assert dataset.element_spec == tf.TensorSpec((), tf.string)
    assert (tmp_path / "state/.train-pipe_mode-state").read_text() == "0"
    assert (dataset.output_types, dataset.output_shapes) == (tf.string, tf.TensorShape([]))
    for turn in range(3):
        assert values(dataset) == RECORDS
        assert (tmp_path / "state/.train-pipe_mode-state").read_text() == str(turn + 1)


def test_recordio_is_the_default_and_parts_are_joined_as_they_are(tmp_path, feed, make):
    feed(tmp_path, "train", plain(bytes(range(100)), 30))
    assert values(make()) == [bytes(range(100))]


def test_operations_of_a_dataset(tmp_path, feed, make):
    feed(tmp_path, "train", lambda turn: b"".join(frame(b"%d-%d" % (turn, number)) for number in range(10)))
    dataset = make(record_format="TFRecord")
    batches = values(dataset.map(tf.strings.length, num_parallel_calls=2).repeat(2).prefetch(3).batch(4))
    assert [batch.shape for batch in batches] == [(4,)] * 5
    shuffled = values(dataset.shuffle(10).take(10))
    assert sorted(shuffled) == [b"2-%d" % number for number in range(10)]
    assert values(dataset.take(3)) == [b"3-0", b"3-1", b"3-2"]
    assert values(dataset.skip(8).padded_batch(2))[0].tolist() == [b"4-8", b"4-9"]
    assert values(dataset.batch(5).map(lambda rows: rows[0])) == [b"5-0", b"5-5"]


ALTERNATELY = tf.data.Dataset.from_tensor_slices(np.int64([0, 1] * 3))
TOGETHER = {
    "zip": (
        lambda a, b: tf.data.Dataset.zip((a, b)).map(lambda *both: tf.strings.join(both)),
        ["a0b0", "a1b1", "a2b2"],
    ),
    "concatenate": (lambda a, b: a.concatenate(b), ["a0", "a1", "a2", "b0", "b1", "b2"]),
    "choose": (
        lambda a, b: tf.data.Dataset.choose_from_datasets([a, b], ALTERNATELY),
        ["a0", "b0", "a1", "b1", "a2", "b2"],
    ),
    "sample": (lambda a, b: tf.data.Dataset.sample_from_datasets([a, b], [1.0, 0.0]).take(3), ["a0", "a1", "a2"]),
}


@pytest.mark.parametrize("way", TOGETHER)
def test_two_channels_together(tmp_path, feed, make, way):
    config = {name: {"TrainingInputMode": "Pipe"} for name in ("a", "b")}
    (tmp_path / "inputdataconfig.json").write_text(json.dumps(config))
    feed(tmp_path, "a", b"a0\na1\na2\n")
    feed(tmp_path, "b", b"b0\nb1\nb2\n")
    join, expected = TOGETHER[way]
    both = join(make("a", record_format="TextLine"), make("b", record_format="TextLine"))
    assert values(both.repeat(2)) == [one.encode() for one in expected] * 2


def taken(tmp_path: Path) -> int:
    """The number of the next FIFO."""
    return int((tmp_path / "state/.train-pipe_mode-state").read_text())


def turns(number: int) -> bytes:
    return b"%d-first\n%d-second\n" % (number, number)


def test_an_iterator_has_its_fifo_from_the_beginning(tmp_path, make):
    for turn in range(2):
        (tmp_path / f"train_{turn}").write_bytes(turns(turn))
    dataset = make(record_format="TextLine").map(lambda line: line)
    first = iter(dataset)
    assert taken(tmp_path) == 1
    second = iter(dataset)
    assert taken(tmp_path) == 2
    assert [next(second).numpy(), next(first).numpy()] == [b"1-first", b"0-first"]


def test_a_fifo_whose_iterator_was_never_read_is_left_to_the_next(tmp_path, feed, make):
    """The platform makes no FIFO before the one ahead of it has been read."""
    feed(tmp_path, "train", turns)
    dataset = make(record_format="TextLine")
    unread = iter(dataset)
    del unread
    assert taken(tmp_path) == 0
    unread = iter(dataset)
    following = iter(dataset)
    del unread
    assert [line.numpy() for line in following] == [b"0-first", b"0-second"]
    assert taken(tmp_path) == 1
    assert values(dataset.repeat(2))[-1] == b"2-second"
    assert taken(tmp_path) == 3


def test_an_iterator_restored_gives_what_was_read_ahead_then_the_next_fifo(tmp_path, feed, make):
    feed(tmp_path, "train", turns)
    dataset = make(record_format="TextLine").batch(1)
    iterator = iter(dataset)
    assert next(iterator).numpy() == [b"0-first"]
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
    restored = iter(dataset)
    tf.train.Checkpoint(iterator=restored).restore(saved)
    assert [line.numpy()[0] for line in restored] == [b"0-second", b"1-first", b"1-second"]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras' word for a dataset of unknown length
def test_keras_fits_one_fifo_an_epoch(tmp_path, feed, make):
    import keras

    feed(tmp_path, "train", b"".join(part(np.float32([n, 2 * n]).tobytes()) for n in range(32)))

    def parse(record):
        numbers = tf.io.decode_raw(record, tf.float32)
        return tf.ensure_shape(numbers, [2])[:1], numbers[1:]

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(make().map(parse).batch(8), epochs=3, shuffle=False, verbose=0)
    assert len(history.history["loss"]) == 3
    assert (tmp_path / "state/.train-pipe_mode-state").read_text() == "3"


def test_many_records_of_many_lengths_arrive_in_order(tmp_path, feed, make):
    lengths = np.random.default_rng(0).integers(0, 500, 20_000)
    contents = [b"%d:" % number + b"x" * length for number, length in enumerate(lengths)]
    feed(tmp_path, "train", b"".join(map(part, contents)))
    assert values(make()) == contents


def test_an_iterator_dropped_early_closes_its_fifo_and_the_next_takes_the_next(tmp_path, make):
    dataset = make(record_format="TextLine")
    for turn in range(2):
        os.mkfifo(tmp_path / f"train_{turn}")
        keep = os.open(tmp_path / f"train_{turn}", os.O_RDWR | os.O_NONBLOCK)  # so that opening to write can't block
        writer = os.open(tmp_path / f"train_{turn}", os.O_WRONLY)
        os.write(writer, b"%d-first\nsecond\n" % turn)
        iterator = iter(dataset.prefetch(1))
        assert next(iterator).numpy() == b"%d-first" % turn
        os.close(keep)
        del iterator  # the reader waits for more: nobody closes the writing end
        assert reader_closes(writer)
        os.close(writer)


def test_a_record_is_handed_over_while_the_next_is_not_there_yet(tmp_path, make):
    os.mkfifo(tmp_path / "train_0")
    keep = os.open(tmp_path / "train_0", os.O_RDWR)
    iterator = iter(make())
    for number in range(3):
        os.write(keep, part(b"%d" % number))
        assert next(iterator).numpy() == b"%d" % number
    del iterator
    os.close(keep)


CORRUPT = {
    "not RecordIO": (b"adfsafasfd", {}, r"channel train, FIFO train_0, record 0 at byte 0 is not RecordIO"),
    "RecordIO truncated": (FORMATS["RecordIO"][:-3], {}, r"record 4 at byte \d+ is truncated"),
    "RecordIO cut in its head": (part(b"a") + part(b"b")[:5], {}, "record 1 at byte 12 is truncated"),
    "TFRecord truncated": (FORMATS["TFRecord"][:-3], {"record_format": "TFRecord"}, "record 4 at byte .* is truncated"),
    "TFRecord truncated, skipping": (
        damaged(True, False) + frame(b"x")[:-1],
        {"record_format": "TFRecord", "max_corrupted_records_to_skip": 5},
        "record 2 at byte 38 is truncated",
    ),
    "TFRecord damaged": (damaged(True, False), {"record_format": "TFRecord"}, "record 1 at byte 19: the data's CRC"),
    "TFRecord too many": (
        damaged(True, False, False, True),
        {"record_format": "TFRecord", "max_corrupted_records_to_skip": 1},
        "record 2 at byte 38: the data's CRC is wrong",
    ),
}


@pytest.mark.parametrize(("data", "arguments", "message"), CORRUPT.values(), ids=CORRUPT)
@pytest.mark.parametrize("use", [lambda ds: ds, lambda ds: ds.map(tf.strings.length).batch(1).prefetch(2)])
def test_corrupt_data_is_an_internal_error(tmp_path, feed, make, data, arguments, message, use):
    feed(tmp_path, "train", data)
    with pytest.raises(tf.errors.InternalError, match=message):
        values(use(make(**arguments)))


def test_good_records_before_the_corrupt_one_are_given(tmp_path, feed, make):
    feed(tmp_path, "train", part(b"good") + part(b"too") + b"damage!!")
    iterator = iter(make())
    assert [next(iterator).numpy(), next(iterator).numpy()] == [b"good", b"too"]
    with pytest.raises(tf.errors.InternalError, match="record 2 at byte 24 has no RecordIO magic"):
        next(iterator)


def test_corrupted_records_are_skipped_with_a_warning(tmp_path, feed, make, caplog):
    feed(tmp_path, "train", damaged(False, True, False, False, True, False))
    dataset = make(record_format="TFRecord", max_corrupted_records_to_skip=2)
    assert values(dataset) == [b"001", b"004"]
    assert caplog.text.count("the data's CRC is wrong") == 4


def test_a_fifo_that_never_comes_is_an_internal_error_and_stays_the_next(tmp_path, feed, make, monkeypatch):
    monkeypatch.setattr(FifoSource.__init__, "__defaults__", (0.3, threading.Event()))
    dataset = make(record_format="TextLine")
    with pytest.raises(tf.errors.InternalError, match=r"FIFO train_0 did not appear within 0\.3 s"):
        values(dataset)
    feed(tmp_path, "train", b"now\n")
    assert values(dataset) == [b"now"]


def test_an_ordinary_file_is_taken_too(tmp_path, make):
    (tmp_path / "train_0").write_bytes(FORMATS["RecordIO"])
    assert values(make()) == RECORDS


def test_what_construction_refuses(make, tmp_path):
    with pytest.raises(PipeModeDatasetException, match="Channel other not found in Training Job InputDataConfig"):
        make("other")
    with pytest.raises(PipeModeDatasetException, match="Channel files is not a PipeMode channel"):
        make("files")
    with pytest.raises(tf.errors.InvalidArgumentError, match="Invalid record format: CSV"):
        make(record_format="CSV")
    with pytest.raises(ValueError, match=r"max_corrupted_records_to_skip is negative\. Received: -1"):
        make(max_corrupted_records_to_skip=-1)
    for record_format in ("RecordIO", "TextLine"):
        with pytest.raises(PipeModeDatasetException, match="can only be set for record_format='TFRecord'"):
            make(record_format=record_format, max_corrupted_records_to_skip=1)
    with pytest.raises(FileNotFoundError):
        make(config_dir=str(tmp_path / "nothing"))


def test_the_platforms_folders_are_the_defaults_and_move_with_its_root(tmp_path, feed, monkeypatch):
    config = tmp_path / "input/config"
    config.mkdir(parents=True)
    (config / "inputdataconfig.json").write_text('{"train": {"TrainingInputMode": "Pipe"}}')
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    feed(tmp_path / "input/data", "train", FORMATS["RecordIO"])
    assert values(PipeModeDataset("train")) == RECORDS
    assert (tmp_path / "pipe_state/.train-pipe_mode-state").read_text() == "1"


def test_benchmark_output(tmp_path, feed, make, capsys):
    feed(tmp_path, "train", b"".join(map(part, [b"12345", b"123", b"1234", b"1", b"12"])))
    values(make(benchmark=True, benchmark_records_interval=2))
    said = [line.removeprefix("PipeModeDatasetOp::Dataset::Iterator ") for line in capsys.readouterr().out.splitlines()]
    names = [line.partition(": ")[0] for line in said]
    one = ["records", "records read_time_ns", "records read_bytes"]
    assert names == [*one, *one, "total read_time_ms", "total read_bytes", "total read_GB/s"]
    assert [line for line in said if line.startswith(("records:", "records read_b", "total read_b"))] == [
        "records: 2", "records read_bytes: 3", "records: 4", "records read_bytes: 1", "total read_bytes: 15",
    ]  # fmt: skip


TAKER = """
import sys
from pathlib import Path
from sagemaker_tensorflow.state import PipeState
state = PipeState(Path(sys.argv[1]), "train")
print(*[state.take() for _ in range(100)])
"""


def test_processes_never_take_the_same_fifo(tmp_path):
    (tmp_path / "taker.py").write_text(TAKER)
    command = [sys.executable, str(tmp_path / "taker.py"), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    takers = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    taken = [int(number) for taker in takers for number in taker.communicate()[0].split()]
    assert sorted(taken) == list(range(200))


def test_state_survives_and_a_fifo_not_read_is_given_back(tmp_path):
    state = PipeState(tmp_path, "train")
    assert [state.take(), state.take()] == [0, 1]
    state.give_back(0)  # somebody has taken the next already
    assert state.first_unread(1) == 0
    assert state.take() == 1
    assert PipeState(tmp_path, "train").take() == 2
    state.give_back(2)
    assert state.take() == 2
    assert PipeState(tmp_path, "validation").take() == 0
    (tmp_path / ".train-pipe_mode-state").write_text("")
    with pytest.raises(RuntimeError, match=r"Received: ''\. Expected: the number of the channel's next FIFO"):
        state.take()
