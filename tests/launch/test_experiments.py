"""Experiments over the local API: runs of all clients, compared."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from launch import experiments
from launch.experiments import Run, build_table, format_table
from tests.support.clients import CLIENTS, Client, LaunchServer, require_client


@pytest.mark.parametrize("command", ["train", "tune"])
def test_the_runs_of_a_job_are_part_of_its_trial(launched: LaunchServer, client: Client, command: str) -> None:
    name = f"e-{command}-{client.name.replace('_', '-')}"
    begins_so = require_client(CLIENTS[0]).arguments("train", wait=True, name=f"{name}-2")
    assert launched.run(begins_so).returncode == 0
    done = launched.run(client.arguments(command, wait=True, name=name, experiment="all-clients"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    if found := re.search(r"afterwards: python -m (.*)", done.stdout):
        assert launched.run([CLIENTS[0].command[0], "-m", *found[1].split()]).returncode == 0
    sagemaker = launched.client("sagemaker")
    assert sagemaker.describe_trial(TrialName=name)["ExperimentName"] == "all-clients"
    parts = sagemaker.list_trial_components(TrialName=name, MaxResults=100)["TrialComponentSummaries"]
    assert len(parts) == (1 if command == "train" else 6)
    assert all(part["TrialComponentName"].startswith(name) for part in parts)


def test_runs_are_compared(launched: LaunchServer, tmp_path: Path) -> None:
    client = require_client(CLIENTS[0])
    for rate in ("0.0001", "0.0009"):
        options: dict[str, Any] = {"name": f"cmp-{rate[-1]}", "experiment": "compared", "wait": True}
        assert (
            launched.run(client.arguments("train", hyperparameter=f"learning-rate={rate}", **options)).returncode == 0
        )
    python = client.command[0]
    compare = [python, "-m", "launch.experiments", "compare", "--experiment", "compared"]
    done = launched.run(compare)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["run", "status", "seconds", "validation:accuracy", "learning-rate"]
    assert [line[0] for line in lines[1:]] == ["cmp-9", "cmp-1"]
    assert [line[3:] for line in lines[1:]] == [["0.5009", "0.0009"], ["0.5001", "0.0001"]]
    unknown = launched.run([*compare[:-1], "none"])
    assert unknown.returncode == 1
    assert "Experiment 'none' does not exist" in unknown.stderr
    assert len(unknown.stderr.strip().splitlines()) == 1


def test_a_tuning_job_that_nobody_waited_for(launched: LaunchServer) -> None:
    client = require_client(CLIENTS[0])
    done = launched.run(client.arguments("tune", name="later", experiment="later-on"))
    found = re.search(r"afterwards: python -m (launch\.experiments .*)", done.stdout)
    assert found, done.stdout
    added = launched.run([client.command[0], "-m", *found[1].split()])
    assert added.returncode == 0, added.stderr
    assert "is part of later" in added.stdout
    nothing = launched.run([client.command[0], "-m", "launch.experiments", "compare", "--experiment", "later-on"])
    assert nothing.returncode == 0


# ---- without a service


def run(name: str, accuracy: float | None, **parameters: float | str) -> Run:
    metrics = {} if accuracy is None else {"validation:accuracy": {"Max": accuracy, "Min": 0.1, "Last": 0.2}}
    return Run(name, "Completed", 12.4, {"SageMaker.InstanceCount": 1.0, "_hidden": "x", **parameters}, metrics)


def test_the_table_has_the_best_first_and_only_what_differs() -> None:
    runs = [run("a", 0.5, lr=0.1, epochs=3.0), run("b", None, lr=0.2, epochs=3.0), run("c", 0.75, epochs=3.0)]
    rows = build_table(runs)
    assert rows == [
        ["run", "status", "seconds", "validation:accuracy", "lr"],
        ["c", "Completed", "12", "0.7500", ""],
        ["a", "Completed", "12", "0.5000", "0.1"],
        ["b", "Completed", "12", "", "0.2"],
    ]
    assert len({len(line.rstrip()) for line in format_table(rows[:2])}) <= 2
    assert run("a", 0.5).best("validation:loss") is None


def test_the_plot_has_a_bar_a_run() -> None:
    figure = experiments.plot([run("a", 0.5), run("b", None), run("c", 0.75)])
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "c"]
    assert axes.get_xlabel() == "validation:accuracy"


def test_a_component_becomes_a_run() -> None:
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    item = {
        "TrialComponentName": "job-aws-training-job", "StartTime": start, "EndTime": end,
        "Parameters": {"a": {"NumberValue": 2.0}, "b": {"StringValue": '"x"'}},
        "Metrics": [{"MetricName": "m", "Last": 1.0}],
    }  # fmt: skip
    assert experiments._to_run(item) == Run("job", "", 60.0, {"a": 2.0, "b": "x"}, {"m": item["Metrics"][0]})
