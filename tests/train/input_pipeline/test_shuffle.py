import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.input_pipeline import batch_ring as memory
from train.input_pipeline.shuffle import batch_in_order, shuffle_records
from train.records import native


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
    return list(shuffle_records(numbered(*sizes), 1, batch, buffer, np.random.default_rng(seed)))


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 60))
def test_batches_in_order_hold_the_same_records(sizes, size):
    pieces = list(batch_in_order(numbered(*sizes), 1, size))
    assert labels_of(pieces) == list(range(sum(sizes)))
    assert all(len(labels) == size for _, labels in pieces[:-1])
    assert all((images[:, 0] == labels % 256).all() for images, labels in pieces)


@given(st.lists(st.integers(1, 40), max_size=20), st.integers(1, 40), st.integers(1, 400), st.integers(0, 9))
def test_shuffling_gives_each_record_exactly_once_with_its_label(sizes, batch, buffer, seed):
    pieces = shuffle(sizes, batch, buffer, seed)
    assert sorted(labels_of(pieces)) == list(range(sum(sizes)))
    assert all(len(labels) == batch for _, labels in pieces[:-1])
    assert all((images[:, 0] == labels % 256).all() for images, labels in pieces)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 40), st.integers(1, 90), st.booleans())
def test_the_order_depends_neither_on_arrival_nor_on_the_helper(sizes, batch, buffer, helper):
    with pytest.MonkeyPatch.context() as patch:
        expected = labels_of(shuffle(sizes, batch, buffer))
        if not helper:
            patch.setattr(native, "library", None)
        assert labels_of(shuffle([sum(sizes)], batch, buffer)) == expected


@given(st.integers(1, 100), st.integers(1, 20))
def test_a_batch_stays_as_it_is_while_others_are_made(count, size):
    made = shuffle_records(numbered(*[1] * count), 1, size, 30, np.random.default_rng(1))
    kept, copies = [], []
    for images, labels in made:
        kept.append((images, labels))
        copies.append((images.copy(), labels.copy()))
    for ours, theirs in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_a_record_waits_up_to_a_buffer_and_all_delays_are_equally_likely():
    order = np.array(labels_of(shuffle([60_000], 100, 5_000)))
    steady = slice(5_000, 50_000)
    delays = (np.arange(len(order)) - order)[steady]
    assert delays.max() - delays.min() <= 5_000 + 2 * 100
    shares, _ = np.histogram(delays, bins=10)
    assert shares.min() > 0.08 * delays.size  # of a tenth each
    assert shares.max() < 0.12 * delays.size
    assert (np.diff(order) == 1).mean() < 0.01  # neighbours come apart


def test_a_batch_has_an_equal_share_of_each_of_the_last_groups():
    """5,000 records in batches of 100 are 50 batches open, so two records of each group of 100 that arrived."""
    order = np.array(labels_of(shuffle([30_000], 100, 5_000)))
    for batch in order[5_000:25_000].reshape(-1, 100):
        groups, counts = np.unique((batch - 2_500 + 50) // 100, return_counts=True)
        assert np.ptp(groups) <= 51
        assert counts.max() <= 4
    assert len({tuple(batch // 100) for batch in order[5_000:25_000].reshape(-1, 100)}) > 190  # in no fixed order


def test_the_memory_is_the_buffers(monkeypatch):
    rows = []
    monkeypatch.setattr(memory.BatchRing, "__init__", spied(memory.BatchRing.__init__, rows))
    shuffle([1_000], 10, 300)
    assert rows == [30 + 8]


def spied(init, rows):
    def spy(self, count, size, width):
        rows.append(count)
        init(self, count, size, width)

    return spy


def test_a_buffer_over_all_is_a_uniform_shuffle():
    orders = [labels_of(shuffle([4], 4, 100, seed)) for seed in range(600)]
    counts = {tuple(order): 0 for order in orders}
    for order in orders:
        counts[tuple(order)] += 1
    assert len(counts) == 24
    assert max(counts.values()) < 3 * min(counts.values()) + 20
