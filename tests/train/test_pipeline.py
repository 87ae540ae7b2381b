import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.conftest import CLASSES, SHAPE, channel_bytes, examples, serialized, write_shard
from train import pipeline
from train.environment import Channel
from train.errors import DataError, StopRequested
from train.fifo import source
from train.pictures import Pictures

PICTURES = Pictures(SHAPE, CLASSES)


def numbered(*sizes: int):
    """Pieces of the given sizes; the pictures are one number each, the labels the same number."""
    start = 0
    for size in sizes:
        numbers = np.arange(start, start + size)
        yield (numbers[:, None] % 256).astype(np.uint8), numbers
        start += size


def labels_of(pieces) -> list[int]:
    return [label for _, labels in pieces for label in labels.tolist()]


def shuffle(sizes, batch: int, buffer: int, seed: int = 0) -> list:
    return list(pipeline.shuffled(numbered(*sizes), 1, batch, buffer, np.random.default_rng(seed)))


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 60))
def test_batches_in_order_hold_the_same_records(sizes, size):
    pieces = list(pipeline.in_order(numbered(*sizes), 1, size))
    assert labels_of(pieces) == list(range(sum(sizes)))
    assert all(len(labels) == size for _, labels in pieces[:-1])
    assert all((images[:, 0] == labels % 256).all() for images, labels in pieces)


@given(st.lists(st.integers(1, 40), max_size=20), st.integers(1, 40), st.integers(1, 400), st.integers(0, 9))
def test_shuffling_gives_each_record_exactly_once_with_its_label(sizes, batch, buffer, seed):
    pieces = shuffle(sizes, batch, buffer, seed)
    assert sorted(labels_of(pieces)) == list(range(sum(sizes)))
    assert all(len(labels) == batch for _, labels in pieces[:-1])
    assert all((images[:, 0] == labels % 256).all() for images, labels in pieces)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 40), st.integers(1, 40))
def test_the_order_depends_neither_on_arrival_nor_on_the_batch_size(sizes, batch, other):
    assert labels_of(shuffle(sizes, batch, 50)) == labels_of(shuffle([sum(sizes)], other, 50))


@given(st.integers(1, 100), st.integers(1, 20))
def test_a_batch_stays_as_it_is_while_others_are_made(count, size):
    made = pipeline.shuffled(numbered(*[1] * count), 1, size, 30, np.random.default_rng(1))
    kept, copies = [], []
    for images, labels in made:
        kept.append((images, labels))
        copies.append((images.copy(), labels.copy()))
    for ours, theirs in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_shuffling_mixes_over_the_buffer():
    """A record leaves, on average, about a buffer after it came; neighbours come apart."""
    order = np.array(labels_of(shuffle([20_000], 100, 5_000)))
    assert np.abs(np.diff(order)).mean() > 1_500  # 1 unshuffled; a third of 5,000 in a perfect shuffle of a buffer
    assert (np.diff(order) == 1).mean() < 0.01
    left_behind = np.arange(len(order)) - order
    assert left_behind.max() > 5_000


def test_a_buffer_over_all_is_a_uniform_shuffle():
    orders = [labels_of(shuffle([4], 4, 100, seed)) for seed in range(600)]
    counts = {tuple(order): 0 for order in orders}
    for order in orders:
        counts[tuple(order)] += 1
    assert len(counts) == 24
    assert max(counts.values()) < 3 * min(counts.values()) + 20


def collect(batches) -> tuple[np.ndarray, np.ndarray]:
    parts = [(images.numpy(), labels.numpy()) for images, labels in batches]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def training(where, mode="File", epoch=0, seed=0, batch=32, stop=None):
    reader = source(Channel("train", mode, where), 10.0, stop or threading.Event())
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
    reader = source(Channel("validation", "File", shards))
    got = collect(pipeline.for_validation(reader, PICTURES, 32))
    np.testing.assert_array_equal(got[0], images)
    np.testing.assert_array_equal(got[1], labels)


def test_two_epochs_of_validation_take_two_fifos(shards, tmp_path, feed):
    feeder = feed(tmp_path, "validation", channel_bytes(shards, "validation"))
    reader = source(Channel("validation", "Pipe", tmp_path), 10.0)
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
