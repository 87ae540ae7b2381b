"""Processes that answer in order, pass on errors, and are gone when they should be."""

import os
import signal
import time
from pathlib import Path

import pytest

from dataset.errors import DatasetError
from dataset.workers import Workers


class Target:
    """Says who it is, or fails as told."""

    def __call__(self, task: object) -> object:
        if task == "pid":
            return os.getpid()
        if task == "expected":
            raise DatasetError("a.zip: cat.png cannot be decoded")
        if task == "bug":
            raise KeyError("a bug")
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return task


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_answers_come_in_order(count: int) -> None:
    with Workers(Target(), count) as workers:
        assert list(workers.map(range(100))) == list(range(100))
        assert list(workers.map([])) == []


def test_work_is_done_elsewhere_by_all() -> None:
    with Workers(Target(), 2) as workers:
        pids = set(workers.map(["pid"] * 10))
    assert len(pids) == 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("count", [0, 2])
def test_a_map_left_early_does_not_disturb_the_next(count: int) -> None:
    with Workers(Target(), count) as workers:
        for answer in workers.map(range(100)):
            if answer == 5:
                break
        assert list(workers.map("abcdef")) == list("abcdef")


@pytest.mark.parametrize("count", [0, 2])
def test_an_expected_failure_is_raised_here(count: int) -> None:
    with Workers(Target(), count) as workers, pytest.raises(DatasetError, match=r"a.zip: cat.png cannot be decoded"):
        list(workers.map([1, 2, "expected", 4, 5, 6, 7, 8]))


def test_a_bug_comes_with_the_lines_of_its_process() -> None:
    with (
        Workers(Target(), 2) as workers,
        pytest.raises(RuntimeError, match=r"(?s)in a decoding process.*KeyError: 'a bug'"),
    ):
        list(workers.map(["bug"]))


def test_a_killed_process_is_noticed() -> None:
    with (
        Workers(Target(), 2) as workers,
        pytest.raises(DatasetError, match=r"ended with exit code -9: out of memory\?"),
    ):
        list(workers.map([1, "die", 3, 4, 5, 6, 7, 8]))


def test_none_is_left() -> None:
    with Workers(Target(), 2) as workers:
        pids = set(workers.map(["pid"] * 10))
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_ctrl_c_is_the_parents_business() -> None:
    with Workers(Target(), 1) as workers:
        (pid,) = workers.map(["pid"])
        os.kill(pid, signal.SIGINT)
        assert list(workers.map("ab")) == ["a", "b"]


def test_ending_does_not_wait_for_long_work() -> None:
    started = time.monotonic()
    with Workers(time.sleep, 1) as workers:
        workers._send(0, 100)
    assert time.monotonic() - started < 90
