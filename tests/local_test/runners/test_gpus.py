"""Which GPUs a container gets; that a container gets them at all is the engine's doing, and needs one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.errors import RunnerError
from local_test.runners.gpus import Gpus


def machine(folder: Path, count: int) -> Path:
    for number in range(count):
        (folder / f"0000:0{number}:00.0").mkdir()
    return folder


def test_containers_take_different_ones_and_then_share(tmp_path: Path) -> None:
    gpus = Gpus(folder=machine(tmp_path, 4))
    assert len(gpus) == 4
    first, second = gpus.take(1), gpus.take(2)
    assert (first, second) == ([0], [1, 2])
    assert gpus.take(2) == [0, 3], "the one that is free, and the first of the others"
    gpus.give_back(second)
    assert gpus.take(1) == [1]
    assert gpus.take(0) == []


def test_only_those_that_are_named_are_taken(tmp_path: Path) -> None:
    gpus = Gpus([3, 1, 1], machine(tmp_path, 4))
    assert len(gpus) == 2
    assert [gpus.take(1), gpus.take(1), gpus.take(1)] == [[1], [3], [1]]
    assert len(Gpus([], tmp_path)) == 0
    assert Gpus([], tmp_path).take(0) == []


def test_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match=r"^--gpus names .* Received: 4, 7\. It has 0 to 3$"):
        Gpus([7, 0, 4], machine(tmp_path, 4))
    with pytest.raises(RunnerError, match=r"It has no GPU of NVIDIA's driver$"):
        Gpus([0], tmp_path / "nosuch")


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return machine(tmp_path_factory.mktemp("gpus"), 4)


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=60))
def test_those_that_fewest_have_are_taken(four: Path, steps: list[tuple[bool, int]]) -> None:
    gpus, taken = Gpus(folder=four), list[list[int]]()
    for takes, count in steps:
        users = [sum(number in numbers for numbers in taken) for number in range(4)]
        if takes or not taken:
            numbers = gpus.take(count)
            assert len(set(numbers)) == count
            assert sorted(users[number] for number in numbers) == sorted(users)[:count]
            taken.append(numbers)
        else:
            gpus.give_back(taken.pop(count % len(taken)))
