"""Experiments: runs put together and compared. `python -m launch.experiments compare --experiment NAME --plot FILE.png`

An experiment groups trials, a trial groups trial components. SageMaker makes a component for every training job; a
job's ExperimentConfig puts it into a trial at once (`--experiment` of the clients), those of a tuning job are found by
Search and associated afterwards.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    from botocore.exceptions import ClientError

    from launch.core.console import begin_program, say, say_error
    from launch.core.errors import LaunchError, user_message
    from launch.core.preflight import client
except ModuleNotFoundError as missing:
    if __name__ != "__main__":
        raise  # whoever imports it says which environment is needed
    sys.exit(f"{missing.name} is not installed. Run `make env`, then .venv/bin/python instead of {sys.executable}")

OBJECTIVE = "validation:accuracy"
_APPEARS_SECONDS, _LOOK_SECONDS = 60.0, 2.0  # a job's component is made a moment after the job
_CHILD = r"(-\d{3,}-[0-9a-f]+)?"  # what a tuning job adds to its name for each training job's
_PLATFORM = "SageMaker."  # begins what is not a hyperparameter


@dataclass(frozen=True)
class Run:
    """One trial component: what went in, what came out."""

    name: str
    status: str
    seconds: float | None
    parameters: Mapping[str, float | str]
    metrics: Mapping[str, Mapping[str, float]]  # name → Last, Min, Max, …

    def best(self, metric: str) -> float | None:
        """The highest value; the lowest where a loss is meant."""
        found = self.metrics.get(metric, {})
        return found.get("Min" if metric.endswith("loss") else "Max")


def ensure(experiment: str, trial: str) -> None:
    """Make the experiment and its trial, unless they are there. LaunchError if the trial is another experiment's."""
    sagemaker = client("sagemaker")
    _create_unless_exists(sagemaker.create_experiment, ExperimentName=experiment)
    _create_unless_exists(sagemaker.create_trial, TrialName=trial, ExperimentName=experiment)
    owner = sagemaker.describe_trial(TrialName=trial)["ExperimentName"]
    if owner != experiment:
        raise LaunchError(
            f"The trial is part of another experiment. Received: {trial} of {owner}. Name another --trial."
        )


def _create_unless_exists(create: Any, **members: str) -> None:
    try:
        create(**members)
    except ClientError as error:
        if "already exists" not in error.response["Error"]["Message"]:
            raise


def find_components(job: str) -> Iterator[str]:
    """Names of the trial components of a training job, or of all training jobs of a tuning job."""
    arn = f":training-job/{job.lower()}"
    condition = {"Name": "Source.SourceArn", "Operator": "Contains", "Value": arn}
    for item in _search({"Filters": [condition]}):
        if re.fullmatch(_CHILD, item["Source"]["SourceArn"].partition(arn)[2]):
            yield item["TrialComponentName"]


def associate(job: str, trial: str, expected: int = 1) -> list[str]:
    """Put the components of a job, or of all training jobs of a tuning job, into a trial; their names.

    `expected`: how many to wait for, a minute at most. LaunchError if there are none.
    """
    limit = time.monotonic() + _APPEARS_SECONDS
    while len(names := sorted(find_components(job))) < expected and time.monotonic() < limit:
        time.sleep(_LOOK_SECONDS)
    if not names:
        raise LaunchError(f"No trial component belongs to the job. Received: {job}. Is that the name of a job?")
    sagemaker = client("sagemaker")
    for name in names:
        sagemaker.associate_trial_component(TrialComponentName=name, TrialName=trial)
    return names


def list_runs(experiment: str) -> list[Run]:
    """All components of an experiment's trials, the oldest first."""
    condition = {"Name": "Parents.ExperimentName", "Operator": "Equals", "Value": experiment}
    items = sorted(
        _search({"Filters": [condition]}), key=lambda item: (item["CreationTime"], item["TrialComponentName"])
    )
    return [_to_run(item) for item in items]


def _search(expression: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    pages = client("sagemaker").get_paginator("search")
    for page in pages.paginate(Resource="ExperimentTrialComponent", SearchExpression=expression):
        for result in page["Results"]:
            yield result["TrialComponent"]


def _to_run(item: Mapping[str, Any]) -> Run:
    times = [item[name] for name in ("StartTime", "EndTime") if name in item]
    parameters: dict[str, float | str] = {
        # the SDKs put strings into quotes
        name: value["NumberValue"] if "NumberValue" in value else value["StringValue"].strip('"')
        for name, value in item.get("Parameters", {}).items()
    }
    return Run(
        item["TrialComponentName"].removesuffix("-aws-training-job"),
        item.get("Status", {}).get("PrimaryStatus", ""),
        (times[1] - times[0]).total_seconds() if len(times) == 2 else None,
        parameters,
        {metric["MetricName"]: metric for metric in item.get("Metrics", [])},
    )


def build_table(found: Sequence[Run], metric: str = OBJECTIVE) -> list[list[str]]:
    """A head, then a row a run, the best first: name, status, seconds, metric, and the hyperparameters that differ."""
    names = sorted({name for run in found for name in run.parameters if not name.startswith(("_", _PLATFORM))})
    differing = [name for name in names if len({run.parameters.get(name) for run in found}) > 1]
    lowest = metric.endswith("loss")

    def order(run: Run) -> tuple[bool, float]:
        value = run.best(metric)
        return value is None, 0.0 if value is None else value if lowest else -value

    rows = [["run", "status", "seconds", metric, *differing]]
    for run in sorted(found, key=order):
        value = run.best(metric)
        cells = [run.name, run.status, "" if run.seconds is None else f"{run.seconds:.0f}"]
        cells.append("" if value is None else f"{value:.4f}")
        rows.append([*cells, *(_text(run.parameters.get(name, "")) for name in differing)])
    return rows


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def format_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The table's lines."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def plot(found: Sequence[Run], metric: str = OBJECTIVE) -> Any:
    """A Matplotlib figure: the metric of every run, best to worst, coloured by status."""
    from matplotlib.figure import Figure

    pairs = [(run, value) for run in found if (value := run.best(metric)) is not None]
    pairs.sort(key=lambda pair: pair[1], reverse=metric.endswith("loss"))
    figure = Figure(figsize=(8, 1 + 0.35 * max(1, len(pairs))), layout="constrained")
    axes = figure.add_subplot()
    colours = {"Completed": "tab:blue", "Failed": "tab:red", "Stopped": "tab:orange"}
    bars = axes.barh(
        [run.name for run, _ in pairs],
        [value for _, value in pairs],
        color=[colours.get(run.status, "tab:grey") for run, _ in pairs],
    )
    axes.bar_label(bars, fmt="%.4f", padding=3)
    axes.set_xlabel(metric)
    axes.margins(x=0.15)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code; errors are one line."""
    if argv is None:  # this is a program of its own
        begin_program()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser("compare", help="the runs of an experiment as a table, the best first")
    compare.add_argument("--experiment", required=True)
    compare.add_argument("--metric", default=OBJECTIVE, help=f"default: {OBJECTIVE}")
    compare.add_argument("--plot", type=Path, help="write a picture, too; needs matplotlib")
    add = commands.add_parser("associate", help="put the runs of a job or a tuning job into a trial")
    add.add_argument("--job", required=True, help="name of a training or tuning job")
    add.add_argument("--experiment", required=True)
    add.add_argument("--trial", help="default: the job's name")
    arguments = parser.parse_args(argv)
    try:
        lines = _compare(arguments) if arguments.command == "compare" else _associate(arguments)
        for line in lines:
            say(line)
    except Exception as error:
        if (message := user_message(error)) is None:
            raise
        say_error(message)
        return 1
    return 0


def _compare(arguments: argparse.Namespace) -> Iterator[str]:
    client("sagemaker").describe_experiment(ExperimentName=arguments.experiment)
    found = list_runs(arguments.experiment)
    yield from format_table(build_table(found, arguments.metric))
    if arguments.plot:
        plot(found, arguments.metric).savefig(arguments.plot)
        yield f"plot: {arguments.plot}"


def _associate(arguments: argparse.Namespace) -> Iterator[str]:
    trial = arguments.trial or arguments.job
    ensure(arguments.experiment, trial)
    for name in associate(arguments.job, trial):
        yield f"{name} is part of {trial}"


if __name__ == "__main__":
    sys.exit(main())
