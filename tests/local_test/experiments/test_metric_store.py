"""The metrics of a trial component in their file."""

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local_test.experiments.metric_store import MetricPoint, MetricStore
from tests.support.small_disk import fill, mount_small_disk


def test_a_full_disk_leaves_no_half_of_a_value(tmp_path: Path) -> None:
    points = [MetricPoint("acc", datetime.fromtimestamp(n, UTC), n / 2, n) for n in range(300)]
    with mount_small_disk(tmp_path / "disk", "64k") as disk:
        store = MetricStore(disk / "metrics.jsonl")
        store.add(points[:1])
        full = fill(disk)
        with pytest.raises(OSError, match="No space left") as caught:
            store.add(points[1:])
        assert caught.value.errno == errno.ENOSPC
        full.unlink()
        store.add(points[1:3])
        for seen in (store, MetricStore(disk / "metrics.jsonl")):
            assert list(seen.points()) == points[:3]
            assert seen.summary("arn")[0]["Count"] == 3
