"""SageMaker Metrics, a separate service: BatchPutMetrics and BatchGetMetrics of trial components."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from local_test.api.dispatch import Operation, Request
from local_test.errors import LocalTestError, ResourceNotFound
from local_test.experiments.entities import Experiments
from local_test.experiments.metric_store import MetricPoint

SERVICE = "sagemaker-metrics"
_SECONDS = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600}
_POINTS = 2880  # of a query's answer


class MetricsApi:
    """The operations over the components of one set of experiments."""

    def __init__(self, experiments: Experiments) -> None:
        self._all = experiments

    def operations(self) -> dict[str, Operation]:
        return {"BatchPutMetrics": self._put, "BatchGetMetrics": self._get}

    def _put(self, request: Request) -> Mapping[str, Any]:
        """Keeps finite values. Each other value, and every value of an unknown component, is an error in the answer."""
        try:
            store = self._all.metric_store(request["TrialComponentName"])
        except ResourceNotFound:
            return {"Errors": [_error(index) for index in range(len(request["MetricData"]))]}
        errors = []
        points = []
        for index, item in enumerate(request["MetricData"]):
            if math.isfinite(item["Value"]):
                time = datetime.fromtimestamp(item["Timestamp"], UTC)
                points.append(MetricPoint(item["MetricName"], time, float(item["Value"]), item.get("Step")))
            else:
                errors.append(_error(index))
        store.add(points)
        return {"Errors": errors}

    def _get(self, request: Request) -> Mapping[str, Any]:
        return {"MetricQueryResults": [self._answer(query) for query in request["MetricQueries"]]}

    def _answer(self, query: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            name = query["ResourceArn"].rpartition("/")[2]
            points = [point for point in self._all.metric_store(name).points() if point.name == query["MetricName"]]
        except LocalTestError as error:
            return {"Status": "ValidationError", "Message": str(error), "XAxisValues": [], "MetricValues": []}
        groups: dict[int, list[float]] = {}
        for point in points:
            place = _place(point, query)
            if place is not None and query.get("Start", place) <= place <= query.get("End", place):
                groups.setdefault(place, []).append(point.value)
        places = sorted(groups)
        return {
            "Status": "Complete" if len(places) <= _POINTS else "Truncated",
            "XAxisValues": places[:_POINTS],
            "MetricValues": [_STATISTICS[query["MetricStat"]](groups[place]) for place in places[:_POINTS]],
        }


def _error(index: int) -> Mapping[str, Any]:
    return {"Code": "VALIDATION_ERROR", "MetricIndex": index}


def _place(point: MetricPoint, query: Mapping[str, Any]) -> int | None:
    """The point's x value: the step, or the start of its period in epoch seconds."""
    if query["XAxisType"] == "IterationNumber":
        return point.step
    seconds = int(point.timestamp.timestamp())
    return seconds // _SECONDS.get(query["Period"], 1) * _SECONDS.get(query["Period"], 1)


def _deviation(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Min": min,
    "Max": max,
    "Avg": lambda values: math.fsum(values) / len(values),
    "Count": len,
    "StdDev": _deviation,
    "Last": lambda values: values[-1],
}
