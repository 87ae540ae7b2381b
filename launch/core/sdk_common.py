"""What the clients of both SageMaker SDKs have in common: a request to take apart, a session, a tuner's arguments."""

from collections.abc import Iterator, Mapping
from typing import Any

import boto3

from launch.core.errors import LaunchError
from launch.core.request import MAX_RUNTIME, Options, build_request

# telemetry has no time limit where there is no network
_QUIET = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}

_SOURCE = "InputDataConfig.DataSource.S3DataSource"
# what of a request goes into the SDKs' classes, of a training job and, before, of a tuning job
_GIVEN = frozenset(
    {
        *("TrainingJobName", "HyperParameterTuningJobName", "RoleArn", "HyperParameters", "StaticHyperParameters"),
        *("Environment", "ExperimentConfig", "EnableManagedSpotTraining", "CheckpointConfig.S3Uri"),
        *(f"AlgorithmSpecification.{name}" for name in ("TrainingImage", "TrainingInputMode", "MetricDefinitions")),
        *("InputDataConfig.ChannelName", "InputDataConfig.InputMode", "OutputDataConfig.S3OutputPath"),
        *(f"{_SOURCE}.{name}" for name in ("S3DataType", "S3Uri", "S3DataDistributionType")),
        *(f"ResourceConfig.{name}" for name in ("InstanceType", "InstanceCount", "VolumeSizeInGB")),
        *("StoppingCondition.MaxRuntimeInSeconds", "StoppingCondition.MaxWaitTimeInSeconds"),
        *(
            f"HyperParameterTuningJobConfig.{name}"
            for name in (
                "Strategy",
                "HyperParameterTuningJobObjective",
                "ParameterRanges",
                "TrainingJobEarlyStoppingType",
                "ResourceLimits.MaxNumberOfTrainingJobs",
                "ResourceLimits.MaxParallelTrainingJobs",
            )
        ),
    }
)


def build_for_sdk(options: Options) -> dict[str, Any]:
    """A request whose every member the SDKs' classes are given, with defaults for those that they want. LaunchError for
    one of the caller's that has others."""
    request = build_request(options)
    job = request.get("TrainingJobDefinition", request)
    rest = {name: value for name, value in request.items() if name != "TrainingJobDefinition"}
    if lost := sorted({*_find_lost(job), *_find_lost(rest)}):
        raise LaunchError(
            f"The SDK is not given this of a request. Received: {', '.join(lost)}. Send it with `python -m "
            "launch.boto3_client` or launch/aws_cli.sh."
        )
    if "InstanceType" not in job.get("ResourceConfig", {}):
        raise LaunchError("The request has no ResourceConfig.InstanceType. Give --instance-type.")
    job["ResourceConfig"] = {"InstanceCount": 1, "VolumeSizeInGB": 30, **job["ResourceConfig"]}
    job["StoppingCondition"] = {"MaxRuntimeInSeconds": MAX_RUNTIME, **job.get("StoppingCondition", {})}
    job["AlgorithmSpecification"] = {"MetricDefinitions": [], **job["AlgorithmSpecification"]}
    for channel in job.setdefault("InputDataConfig", []):
        channel["DataSource"]["S3DataSource"].setdefault("S3DataDistributionType", "FullyReplicated")
    return request


def _find_lost(value: Any, path: str = "") -> Iterator[str]:
    if path in _GIVEN:
        return
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _find_lost(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            yield from _find_lost(item, path)
    else:
        yield path


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
        "early_stopping_type": config.get("TrainingJobEarlyStoppingType", "Off"),
    }


def _ranges(ranges: Mapping[str, Any], parameter: Any) -> dict[str, Any]:
    numbers = (
        ("ContinuousParameterRanges", parameter.ContinuousParameter, float),
        ("IntegerParameterRanges", parameter.IntegerParameter, int),
    )
    found: dict[str, Any] = {
        item["Name"]: kind(number(item["MinValue"]), number(item["MaxValue"]), item.get("ScalingType", "Auto"))
        for name, kind, number in numbers
        for item in ranges.get(name, [])
    }
    options = ranges.get("CategoricalParameterRanges", [])
    return found | {item["Name"]: parameter.CategoricalParameter(item["Values"]) for item in options}
