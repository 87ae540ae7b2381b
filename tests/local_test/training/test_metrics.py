import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.errors import BadRequest
from local_test.training.metrics import MetricFile, MetricReader

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
NUMBER = r"([-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)"
DEFINITIONS = [{"Name": name, "Regex": f"{name}={NUMBER}"} for name in ("train:loss", "validation:accuracy")]


def test_the_first_group_is_the_value_and_the_last_value_is_final() -> None:
    reader = MetricReader(DEFINITIONS)
    assert [m.value for m in reader.read("epoch=0 train:loss=1e-05 validation:accuracy=12.5", NOW)] == [1e-05, 12.5]
    assert reader.read("nothing here: train:loss=none", NOW) == []
    (metric,) = reader.read("train:loss=0", NOW)
    assert (metric.value, metric.index) == (0.0, 1)
    assert {name: metric.value for name, metric in reader.final.items()} == {
        "train:loss": 0,
        "validation:accuracy": 12.5,
    }


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_printed_number_is_read_back(value: float) -> None:
    (metric,) = MetricReader(DEFINITIONS).read(f"x train:loss={value!r} y", NOW)
    assert metric.value == value


def test_a_nan_is_kept_in_the_file_but_is_never_final(tmp_path: Path) -> None:
    reader = MetricReader([{"Name": "loss", "Regex": r"loss=(\S+)"}])
    found = reader.read("loss=0.5", NOW) + reader.read("loss=nan", NOW)
    assert math.isnan(found[1].value)
    assert reader.final["loss"].value == 0.5
    rows = MetricFile(tmp_path / "metrics.csv")
    rows.write(found)
    rows.close()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "timestamp,metric,value,index",
        "2026-01-02T03:04:05.678+00:00,loss,0.5,0",
        "2026-01-02T03:04:05.678+00:00,loss,nan,1",
    ]


def test_an_optional_group_that_did_not_match_is_no_metric() -> None:
    assert MetricReader([{"Name": "m", "Regex": "m(=[0-9])?"}]).read("m", NOW) == []


@pytest.mark.parametrize(
    ("regex", "message"),
    [("loss=([0-9]", "the regex of loss is not one: .* Received: loss="), ("loss=.*", "has no group for the value")],
)
def test_a_regex_that_cannot_work_is_refused(regex: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        MetricReader([{"Name": "loss", "Regex": regex}])


@pytest.mark.parametrize(
    ("regex", "line"),
    [
        (r"((?:a|a)+)+$", "a" * 40 + "b"),
        (r"loss=([0-9.]+).*?accuracy=([0-9.]+)", "loss=1.0 " * 7000),
    ],
)
def test_a_regex_without_end_costs_no_more_than_its_share(regex: str, line: str) -> None:
    problems: list[str] = []
    reader = MetricReader([{"Name": "slow", "Regex": regex}, *DEFINITIONS])
    for _ in range(12):
        assert reader.read(line, NOW, problems.append) == []
    assert [problem.partition(" on a line")[0] for problem in problems] == [
        "MetricDefinitions: the regex of slow takes more than 0.1 s"
    ] * 2
    assert problems[1].endswith("10 times by now. It is not looked for any more")
    assert [metric.name for metric in reader.read("train:loss=1.5", NOW)] == ["train:loss"]


def test_other_lines_of_a_slow_regex_are_still_read() -> None:
    reader = MetricReader([{"Name": "both", "Regex": r"loss=([0-9.]+).*?accuracy=([0-9.]+)"}])
    assert reader.read("loss=1.0 " * 7000, NOW) == []
    assert [metric.value for metric in reader.read("loss=0.5 accuracy=0.25", NOW)] == [0.5]
