"""The page of a tuning job's results: whole, safe, and every dot in its place."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.errors import BadRequest
from local_test.tuning.html_report import _place, _ticks, page, write_page
from local_test.tuning.search_space import Categorical, Numeric
from tests.support.pages import RANGES, Page, training_job, tuning_job
from tests.support.served import ROOT, Served, until
from tests.support.tuning import tuning_request


def test_it_is_whole_and_needs_nothing_else() -> None:
    children = [
        training_job(1, 0.5),
        training_job(2, 0.75),
        training_job(3, None, FailureReason="<script>no</script>"),
        training_job(4, 0.625),
    ]
    text = page(tuning_job(children), children)
    found = Page(text)
    assert not re.search(r"https?://|//cdn|<script|<link|@import|url\(|<b>", text)
    assert "<h1>Best accuracy: 0.75</h1>" in text
    assert "Reached by training job job-2. Tuning job tune is Completed; training jobs: 3 Completed, 1 Failed." in text
    assert "prefers-color-scheme:dark" in text
    assert found.count("circle", "dot") == 3 * 4  # over time, and for each of three ranges
    assert found.count("circle", "top") == 4
    assert found.count("polyline", "job") == 3
    rows = re.findall(r"<tr><td>(job-\d)</td><td>([^<]*)</td><td>([^<]*)</td>", text)
    assert rows == [
        ("job-2", "Completed", "0.75"), ("job-4", "Completed", "0.625"), ("job-1", "Completed", "0.5"),
        ("job-3", "Failed: &lt;script&gt;no&lt;/script&gt;", ""),
    ]  # fmt: skip


def test_the_line_of_the_best_only_gets_better() -> None:
    for kind, values in (("Maximize", [0.2, 0.1, 0.9, 0.5]), ("Minimize", [0.8, 0.9, 0.1, 0.5])):
        children = [training_job(number, value) for number, value in enumerate(values, 1)]
        text = page(tuning_job(children, kind), children)
        (line,) = re.findall(r'<polyline points="([^"]+)" class="best"', text)
        heights = [float(point.split(",")[1]) for point in line.split()]
        down = sorted(heights, reverse=kind == "Maximize")  # y grows downwards
        assert heights == down
        assert len(set(heights)) == 2


def test_each_definition_has_a_part_of_its_own() -> None:
    def definition(name: str, metric: str, kind: str) -> dict[str, Any]:
        objective = {"Type": kind, "MetricName": metric}
        return {"DefinitionName": name, "TuningObjective": objective, "HyperParameterRanges": RANGES}

    children = [
        training_job(1, 0.5, TrainingJobDefinitionName="a"), training_job(2, 0.25, TrainingJobDefinitionName="a"),
        training_job(3, None, TrainingJobDefinitionName="b"),
    ]  # fmt: skip
    description = tuning_job(
        children, TrainingJobDefinitions=[definition("a", "loss", "Minimize"), definition("b & c", "acc", "Maximize")]
    )
    del description["TrainingJobDefinition"]
    text = page(description, children)
    assert Page(text).count("circle", "dot") == 8
    assert "<h2>a</h2>" in text
    assert "<h2>b &amp; c</h2><p>No training job has measured acc.</p>" in text
    assert re.findall(r"<tr><td>(job-\d)", text) == ["job-2", "job-1", "job-3"]  # of a, lower is better


@pytest.mark.parametrize(
    ("children", "title"),
    [
        ([], "No training job has a result"),
        ([training_job(1, None)], "No training job has a result"),
        ([training_job(1, math.nan), training_job(2, math.inf)], "No training job has a result"),
        ([training_job(1, 0.5)], "Best accuracy: 0.5"),
        ([training_job(0, 0.0), training_job(0, 0.0)], "Best accuracy: 0"),
    ],
)
def test_few_and_odd_results(children: list[dict[str, Any]], title: str) -> None:
    text = page(tuning_job(children), children)
    Page(text)
    assert f"<h1>{title}</h1>" in text
    assert not re.search(r'(?:cx|cy|x1|x2|y1|y2|x|y)="-?(nan|inf)', text)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=8), st.sampled_from(["Maximize", "Minimize"]), st.text())
def test_any_values_are_inside_of_the_chart(values: list[float], kind: str, odd: str) -> None:
    children = [training_job(number, value) for number, value in enumerate(values)]
    children[0]["TunedHyperParameters"] = {"learning-rate": odd, "batch-size": "7", "optimizer": odd}
    text = page(tuning_job(children, kind), children)
    Page(text)
    heights = [float(y) for y in re.findall(r'<circle cx="[^"]+" cy="([^"]+)"', text)]
    assert len(heights) >= len(values)
    assert all(0 < y < 220 for y in heights)


def test_a_value_is_where_its_scaling_has_it() -> None:
    logarithmic = Numeric("x", 1e-4, 1e-2, "Logarithmic", False)
    assert _place(logarithmic, "0.001") == pytest.approx(0.5)
    assert [label for _, label in _ticks(logarithmic)] == [
        "0.0001",
        "0.0002",
        "0.0005",
        "0.001",
        "0.002",
        "0.005",
        "0.01",
    ]
    assert [label for _, label in _ticks(Numeric("x", 0.9, 0.999, "ReverseLogarithmic", False))][-3:] == [
        "0.98",
        "0.95",
        "0.9",
    ]
    assert [label for _, label in _ticks(Numeric("x", 1, 3, "Linear", True))] == ["1", "2", "3"]
    assert [label for _, label in _ticks(Numeric("x", 0.13, 0.89, "Linear", False))] == ["0.2", "0.4", "0.6", "0.8"]
    assert _place(Numeric("x", 0, 10, "Linear", True), "5") == pytest.approx(0.5)
    assert _place(Numeric("x", 0.9, 0.999, "ReverseLogarithmic", False), "0.99") == pytest.approx(0.5)
    assert _place(Categorical("x", ("a", "b")), "b") == 0.75
    for text in (None, "c", ""):
        assert _place(Categorical("x", ("a", "b")), text) is None
        assert _place(logarithmic, text) is None


def test_a_page_that_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_page(tmp_path / "no-folder/report.html", tuning_job([]), [])
    children = [training_job(1, 0.5)]
    broken = tuning_job(children)
    broken["HyperParameterTuningJobConfig"]["ParameterRanges"] = {"AutoParameters": [{"Name": "x"}]}
    with pytest.raises(BadRequest, match="AutoParameters"):
        write_page(tmp_path / "report.html", broken, children)
    assert list(tmp_path.iterdir()) == []


def run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """`report` as a person runs it, who has nothing of AWS's but `environ`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "local_test", "report", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_the_page_of_a_tuning_job_that_a_server_has_run(tmp_path: Path) -> None:
    with Served(tmp_path) as served:
        served.client("s3").create_bucket(Bucket="bucket")
        sagemaker = served.client("sagemaker")
        request = tuning_request(3, 2)
        request["TrainingJobDefinition"]["Environment"] = {"PROGRAM": "print('acc=0.5', flush=True)"}
        sagemaker.create_hyper_parameter_tuning_job(**request)
        status = "HyperParameterTuningJobStatus"
        ask = sagemaker.describe_hyper_parameter_tuning_job
        until(lambda: ask(HyperParameterTuningJobName="tune")[status] == "Completed")
        done = run(tmp_path, "tune", **served.exports)
        assert (done.returncode, done.stdout, done.stderr) == (0, "tune-report.html\n", "")
        text = (tmp_path / "tune-report.html").read_text()
        assert Page(text).count("circle", "dot") == 6
        assert "<h1>Best acc: 0.5</h1>" in text
        refused = run(tmp_path, "other", **served.exports)
        assert refused.returncode == 2
        assert "Received: other" in refused.stderr
        assert ".." not in refused.stderr
        assert refused.stderr.count("\n") == 1
        nowhere = run(tmp_path, "tune", "--to", "no/report.html", **served.exports)
        expected = "local_test: The report can't be written: No such file or directory. Received: no/report.html\n"
        assert (nowhere.returncode, nowhere.stderr) == (2, expected)
    unset = run(tmp_path, "tune")
    assert unset.returncode == 2
    assert unset.stderr.startswith("local_test: There is no job of this name in folder jobs. Received: tune.")
