import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.outputs.metric_lines import EpochMetrics, print_metrics

LAUNCH = Path(__file__).parents[3] / "launch"
DEFINITIONS = json.loads((LAUNCH / "training_job.json").read_text())["AlgorithmSpecification"]["MetricDefinitions"]


def read(line: str) -> dict[str, float]:
    """What the service reads from a line: the first group of each definition that is found."""
    found = {definition["Name"]: re.search(definition["Regex"], line) for definition in DEFINITIONS}
    return {name: float(match.group(1)) for name, match in found.items() if match}


values = st.one_of(st.sampled_from([1e-05, 12.5, 0.0, 1.0, 9.9e-07]), st.floats(0, 1e6))


@given(st.integers(1, 10**6), st.tuples(values, values, values, values, values))
def test_the_definitions_read_what_the_line_says(epoch, given):
    line = EpochMetrics(epoch, epoch * 391, *given).line()
    assert line.startswith(f"epoch={epoch} step={epoch * 391} train:loss=")
    for name, value in zip(
        ("train:loss", "train:accuracy", "validation:loss", "validation:accuracy"), given, strict=False
    ):
        assert read(line)[name] == pytest.approx(value, abs=5.1e-7)
    assert read(line)["images/s"] == pytest.approx(given[4], abs=0.051)


@pytest.mark.parametrize(("text", "value"), [("1e-05", 1e-05), ("12.5", 12.5), ("0", 0.0), ("3E+2", 300.0)])
def test_the_definitions_read_numbers_as_other_programs_print_them(text, value):
    assert read(f"epoch=1 validation:loss={text} more")["validation:loss"] == value


def test_the_line_is_the_documented_one(capsys):
    print_metrics(EpochMetrics(3, 1170, 0.912345, 0.68123, 0.95, 0.66, 1234.56))
    assert capsys.readouterr().out == (
        "epoch=3 step=1170 train:loss=0.912345 train:accuracy=0.681230 validation:loss=0.950000 "
        "validation:accuracy=0.660000 images/s=1234.6\n"
    )


def test_the_first_step_line_is_no_metric():
    assert read("step=1 loss=2.302585") == {}


def test_every_request_has_the_same_definitions():
    tuning = json.loads((LAUNCH / "tuning_job.json").read_text())["TrainingJobDefinition"]
    steps = {step["Name"]: step["Arguments"] for step in json.loads((LAUNCH / "pipeline.json").read_text())["Steps"]}
    for job in (tuning, steps["Train"], steps["Tune"]["TrainingJobDefinition"]):
        assert job["AlgorithmSpecification"]["MetricDefinitions"] == DEFINITIONS
