"""What an instance type has, and what of it a container gets here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.request.validation import service_model
from local_test.runners.instance_types import Instance, Limits, Machine, find_instance, find_limits

GIB = 1 << 30
TYPES = service_model().shape_for("TrainingInstanceType").enum


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ml.c5.2xlarge", Instance(8, 16 * GIB)),
        ("ml.m5.large", Instance(2, 8 * GIB)),
        ("ml.g4dn.12xlarge", Instance(48, 192 * GIB, 4)),
        ("ml.p3.2xlarge", Instance(8, 61 * GIB, 1)),
        ("ml.none.large", None),
    ],
)
def test_published_figures(name: str, expected: Instance | None) -> None:
    assert find_instance(name) == expected


def test_every_training_instance_type_is_known() -> None:
    assert [name for name in TYPES if not find_instance(name)] == []


def test_an_instance_that_the_machine_has() -> None:
    assert find_limits("ml.m5.large", Machine(2, 8 * GIB)) == Limits(2, 8 * GIB)


def test_what_the_machine_lacks_is_said_by_name() -> None:
    found = find_limits("ml.g4dn.12xlarge", Machine(2, 24 * GIB, 1))
    assert found == Limits(
        None,
        None,
        1,
        (
            "ml.g4dn.12xlarge has 48 vCPUs, this machine 2: no limit",
            "ml.g4dn.12xlarge has 192.0 GiB of memory, this machine 24.0: no limit",
            "ml.g4dn.12xlarge has 4 GPUs, this machine 1 that its engine can give",
        ),
    )


def test_a_type_that_nobody_knows() -> None:
    assert find_limits("ml.x9.huge", Machine(2, GIB)) == Limits(
        notes=("nothing is known about ml.x9.huge: its container has no limits",)
    )


@given(st.sampled_from(TYPES), st.integers(1, 512), st.integers(1, 8192), st.integers(0, 16))
def test_never_more_than_there_is_and_never_less_in_silence(name: str, cpus: int, gib: int, gpus: int) -> None:
    wanted, found = find_instance(name), find_limits(name, Machine(cpus, gib * GIB, gpus))
    assert wanted
    assert found.cpus in (None, wanted.cpus)
    assert (found.cpus or 0) <= cpus
    assert (found.memory or 0) <= gib * GIB
    assert found.gpus <= gpus
    whole = (found.cpus, found.memory, found.gpus) == (wanted.cpus, wanted.memory, wanted.gpus)
    assert whole == (not found.notes)
