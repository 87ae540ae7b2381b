import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.shards import CLASSES, SHAPE, channel_bytes, examples, serialized, write_shard
from train.errors import DataError, StopRequested
from train.input_pipeline import pipeline
from train.input_pipeline.host_sharding import HostShard
from train.records.channels import open_channel
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.environment import Channel

PICTURES = ImageDatasetInfo(SHAPE, CLASSES)


def collect(batches) -> tuple[np.ndarray, np.ndarray]:
    parts = [(images.numpy(), labels.numpy()) for images, labels in batches]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def training(where, mode="File", epoch=0, seed=0, batch=32, stop=None):
    reader = open_channel(Channel("train", mode, where), 10.0, stop or threading.Event())
    return pipeline.for_training(reader, PICTURES, batch, 64, seed, epoch)


def test_pipe_and_file_mode_give_the_same_batches(shards, tmp_path, feed):
    feed(tmp_path, "train", channel_bytes(shards, "train"))
    from_files, from_fifo = list(training(shards)), list(training(tmp_path, "Pipe"))
    assert len(from_files) == 10
    assert from_files[0][0].shape == (32, *SHAPE)
    assert from_files[-1][0].shape == (12, *SHAPE)
    for ours, theirs in zip(from_files, from_fifo, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_every_picture_is_there_once_an_epoch_in_another_order_each(shards):
    images, labels = examples(300, seed=1)
    expected = sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
    orders = []
    for epoch in range(2):
        got = collect(training(shards, epoch=epoch))
        pairs = [(image.tobytes(), int(label)) for image, label in zip(*got, strict=True)]
        assert sorted(pairs) == expected
        orders.append(pairs)
    assert orders[0] != orders[1]
    assert [image for image, _ in orders[0]] == [image.tobytes() for image in collect(training(shards))[0]]


def test_skipped_steps_leave_the_rest_of_the_same_epoch(shards):
    whole = list(training(shards))
    rest = list(training(shards).skip(7))
    assert len(rest) == 3
    for ours, theirs in zip(rest, whole[7:], strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])


def test_validation_keeps_the_order_of_the_records(shards):
    images, labels = examples(60, seed=2)
    reader = open_channel(Channel("validation", "File", shards))
    got = collect(pipeline.for_validation(reader, PICTURES, 32))
    np.testing.assert_array_equal(got[0], images)
    np.testing.assert_array_equal(got[1], labels)


def test_two_epochs_of_validation_take_two_fifos(shards, tmp_path, feed):
    feeder = feed(tmp_path, "validation", channel_bytes(shards, "validation"))
    reader = open_channel(Channel("validation", "Pipe", tmp_path), 10.0)
    for _ in range(2):
        assert len(collect(pipeline.for_validation(reader, PICTURES, 32))[1]) == 60
    assert feeder.opened >= 2


def test_a_damaged_record_ends_the_pass_with_its_name(tmp_path):
    images, labels = examples(50)
    records = [serialized(image, label) for image, label in zip(images, labels, strict=True)]
    path = write_shard(tmp_path / "train/a.tfrecord", records)
    whole = bytearray(path.read_bytes())
    whole[-30] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"channel train, file a\.tfrecord, record 49 at byte \d+: the data's CRC"):
        list(training(tmp_path))


@pytest.mark.parametrize("mode", ["File", "Pipe"])
def test_a_pass_without_a_record_says_so(tmp_path, feed, mode):
    if mode == "Pipe":
        feed(tmp_path, "train", b"")
    else:
        write_shard(tmp_path / "train/a.tfrecord", [])
    with pytest.raises(DataError, match=r"channel train, .* is empty: it ended without a record"):
        list(training(tmp_path, mode))


def test_a_stop_reaches_the_loop_as_itself(tmp_path):
    stop = threading.Event()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    with pytest.raises(StopRequested):
        list(training(tmp_path, "Pipe", stop=stop))
    timer.join()


def test_leaving_a_pass_early_breaks_the_writers_pipe_and_leaves_no_thread(tmp_path, shards, feed):
    """Over and over: a file descriptor closed under a reading thread would be another file's sooner or later."""
    data = channel_bytes(shards, "train") * 20
    feed(tmp_path, "train", data)
    reader = open_channel(Channel("train", "Pipe", tmp_path), 10.0)
    before = threading.active_count()
    for _ in range(20):
        batches = iter(pipeline.for_training(reader, PICTURES, 32, 64, 0, 0))
        next(batches)
        batches.close()
    assert threading.active_count() == before
    assert reader.next_index == 20


def stuck(state: str, path: Path, data: bytes) -> Callable[[], None]:
    """A writer of the FIFO in one of the states that a reader may be left in; what ends it."""
    if state == "no writer":
        return lambda: None
    fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # both ends, so that opening waits for nobody
    fcntl.fcntl(fifo, fcntl.F_SETPIPE_SZ, 1 << 20)
    if state != "silent":
        os.write(fifo, data if state == "between records" else data[:-5])
    return lambda: os.close(fifo)


@pytest.mark.parametrize("ends", ["given up", "stopped", "out of time"])
@pytest.mark.parametrize("state", ["no writer", "silent", "within a record", "between records"])
def test_a_reader_that_waits_can_be_ended_however_its_writer_is(tmp_path, shards, state, ends):
    os.mkfifo(tmp_path / "train_0")
    release = stuck(state, tmp_path / "train_0", channel_bytes(shards, "train"))
    stop = threading.Event()
    reader = open_channel(Channel("train", "Pipe", tmp_path), 0.5 if ends == "out of time" else 300.0, stop)
    before = set(threading.enumerate())
    batches = iter(pipeline.for_validation(reader, PICTURES, 64))
    try:
        if state in ("within a record", "between records"):
            assert next(batches)[0].shape[0] == 64
        if ends == "given up":
            batches.close()
        else:
            if ends == "stopped":
                threading.Timer(0.2, stop.set).start()
            expected = StopRequested if ends == "stopped" else DataError
            with pytest.raises(expected):
                list(batches)
    finally:
        release()
    for thread in set(threading.enumerate()) - before:
        thread.join(100)
        assert not thread.is_alive(), thread.name


def test_the_hosts_of_a_job_have_each_picture_once_some_none_of_the_last_batch(shards):
    def parts(index: int):
        reader = open_channel(Channel("train", "File", shards), 10.0, threading.Event())
        return pipeline.for_training(reader, PICTURES, 13, 64, 0, 0, shard=HostShard(index, 23))  # 299 together, and 1

    batches = [list(parts(index)) for index in range(23)]
    assert [len(of_host) for of_host in batches] == [2] * 23
    assert sorted(int(of_host[1][1].shape[0]) for of_host in batches) == [0] * 22 + [1]
    found = [image.tobytes() for of_host in batches for images, _ in of_host for image in images.numpy()]
    assert sorted(found) == sorted(image.tobytes() for image in examples(300, seed=1)[0])
