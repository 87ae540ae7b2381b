"""Pages of results: their HTML as far as tests look into it, and a tuning job's results to make one from."""

import math
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RANGES = {
    "ContinuousParameterRanges": [
        {"Name": "learning-rate", "MinValue": "0.0001", "MaxValue": "0.01", "ScalingType": "Logarithmic"}
    ],
    "IntegerParameterRanges": [{"Name": "batch-size", "MinValue": "32", "MaxValue": "256", "ScalingType": "Linear"}],
    "CategoricalParameterRanges": [{"Name": "optimizer", "Values": ["sgd", "adam <b>"]}],
}
OBJECTIVE = "FinalHyperParameterTuningJobObjectiveMetric"


class Page(HTMLParser):
    """Its tags and their attributes; an end without its start fails, and a start without its end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def count(self, tag: str, kind: str) -> int:
        """How many of the tag are of the class `kind`."""
        return sum(name == tag and kind in (attrs.get("class") or "").split() for name, attrs in self.seen)


def training_job(number: int, value: float | None, **members: Any) -> dict[str, Any]:
    end = BEGAN + timedelta(minutes=number)
    found = {OBJECTIVE: {"MetricName": "accuracy", "Value": value}} if value is not None else {}
    tried = {"learning-rate": "0.001", "batch-size": "64", "optimizer": "sgd"}
    return {
        "TrainingJobName": f"job-{number}", "CreationTime": BEGAN, "TrainingStartTime": BEGAN, "TrainingEndTime": end,
        "TrainingJobStatus": "Failed" if value is None else "Completed", "TunedHyperParameters": tried,
        **found, **members,
    }  # fmt: skip


def tuning_job(children: list[dict[str, Any]], kind: str = "Maximize", **members: Any) -> dict[str, Any]:
    values = [one for one in children if math.isfinite(one.get(OBJECTIVE, {}).get("Value", math.nan))]
    best = (max if kind == "Maximize" else min)(values, key=lambda one: one[OBJECTIVE]["Value"], default=None)
    return {
        "HyperParameterTuningJobName": "tune", "HyperParameterTuningJobStatus": "Completed", "CreationTime": BEGAN,
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random", "ParameterRanges": RANGES,
            "HyperParameterTuningJobObjective": {"Type": kind, "MetricName": "accuracy"},
        },
        "TrainingJobDefinition": {"RoleArn": "a-role"},
        **({"BestTrainingJob": best} if best else {}),
        **members,
    }  # fmt: skip
