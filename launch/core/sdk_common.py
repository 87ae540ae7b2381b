"""What the clients of both SageMaker SDKs have in common: a session, a tuner's arguments."""

from collections.abc import Mapping
from typing import Any

import boto3

# telemetry has no time limit where there is no network
_QUIET = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}


def make_session(kind: Any, bucket: str) -> Any:
    """A session of the SDK's; `kind`: its class. Without a bucket of ours the SDK would make one of its own."""
    return kind(boto3.session.Session(), default_bucket=bucket, sagemaker_config=_QUIET)


def tuner_arguments(request: Mapping[str, Any], parameter: Any) -> dict[str, Any]:
    """Of HyperparameterTuner, for a CreateHyperParameterTuningJob request; `parameter`: the SDK's module of ranges."""
    config = request["HyperParameterTuningJobConfig"]
    limits, objective = config["ResourceLimits"], config["HyperParameterTuningJobObjective"]
    return {
        "objective_metric_name": objective["MetricName"],
        "hyperparameter_ranges": _ranges(config["ParameterRanges"], parameter),
        "metric_definitions": request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"],
        "strategy": config["Strategy"],
        "objective_type": objective["Type"],
        "max_jobs": limits["MaxNumberOfTrainingJobs"],
        "max_parallel_jobs": limits["MaxParallelTrainingJobs"],
    }


def _ranges(ranges: Mapping[str, Any], parameter: Any) -> dict[str, Any]:
    numbers = (
        ("ContinuousParameterRanges", parameter.ContinuousParameter, float),
        ("IntegerParameterRanges", parameter.IntegerParameter, int),
    )
    found: dict[str, Any] = {
        item["Name"]: kind(number(item["MinValue"]), number(item["MaxValue"]), item["ScalingType"])
        for name, kind, number in numbers
        for item in ranges.get(name, [])
    }
    options = ranges.get("CategoricalParameterRanges", [])
    return found | {item["Name"]: parameter.CategoricalParameter(item["Values"]) for item in options}
