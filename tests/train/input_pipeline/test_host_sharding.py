from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.errors import NoRecordsError
from train.input_pipeline.host_sharding import SINGLE_HOST, HostShard, host_shard, row_slice
from train.input_pipeline.shuffle import batch_in_order, shuffle_records
from train.runtime.environment import Channel


def numbered(count: int):
    yield np.zeros((count, 1), np.uint8), np.arange(count)


def parts(count: int, hosts: int, batch: int, buffer: int) -> list[list[list[int]]]:
    """Each host's labels, a list a batch, of a FullyReplicated channel of `count` records."""
    return [
        [
            labels.tolist()
            for _, labels in HostShard(index, hosts).select(
                shuffle_records(numbered(count), 1, batch * hosts, buffer, np.random.default_rng(3))
            )
        ]
        for index in range(hosts)
    ]


@given(st.integers(0, 300), st.integers(1, 5), st.integers(1, 40), st.integers(1, 200))
def test_the_hosts_batches_together_are_those_of_one_host(count, hosts, batch, buffer):
    shared = parts(count, hosts, batch, buffer)
    whole = [
        labels.tolist()
        for _, labels in shuffle_records(numbered(count), 1, batch * hosts, buffer, np.random.default_rng(3))
    ]
    assert [list(chain(*step)) for step in zip(*shared, strict=True)] == whole
    assert all(max(map(len, step)) - min(map(len, step)) <= 1 for step in zip(*shared, strict=True))


@given(st.integers(0, 1000), st.integers(1, 9))
def test_rows_are_cut_without_gap_or_overlap(count, number):
    assert list(chain(*(range(count)[row_slice(count, index, number)] for index in range(number)))) == list(
        range(count)
    )


def test_a_dealt_channel_is_used_as_it_comes():
    labels = [labels.tolist() for _, labels in HostShard(1, 2, True).select(batch_in_order(numbered(5), 1, 3))]
    assert labels == [[0, 1, 2], [3, 4]]


def test_hosts_shuffle_alike_unless_the_records_are_their_own():
    assert SINGLE_HOST.seed == HostShard(1, 2).seed == ()
    assert HostShard(0, 2, True).seed != HostShard(1, 2, True).seed


def test_only_a_dealt_channel_may_be_empty():
    def nothing():
        raise NoRecordsError("empty")
        yield

    assert list(HostShard(1, 2, True).select(nothing())) == []
    for whole in (SINGLE_HOST, HostShard(1, 2), HostShard(0, 1, True)):
        with pytest.raises(NoRecordsError):
            list(whole.select(nothing()))


def test_the_channel_says_whether_it_is_dealt(tmp_path):
    assert host_shard(Channel("train", "Pipe", tmp_path, True), 1, 3) == HostShard(1, 3, True)
    assert host_shard(Channel("train", "Pipe", tmp_path), 1, 3) == HostShard(1, 3, False)
