"""What of CreateTrainingJob is acted on, what is ignored locally, and what is refused.

Everything not named here is refused: a member that a newer botocore brings must not be dropped in silence.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from local_test.errors import BadRequest
from local_test.request.normal_form import normal_form
from local_test.request.validation import Unknown, validate

ACTED_ON = frozenset(
    {
        "TrainingJobName",
        "HyperParameters",
        "AlgorithmSpecification.TrainingImage",
        "AlgorithmSpecification.TrainingInputMode",
        "AlgorithmSpecification.MetricDefinitions[].Name",
        "AlgorithmSpecification.MetricDefinitions[].Regex",
        "AlgorithmSpecification.ContainerEntrypoint[]",
        "AlgorithmSpecification.ContainerArguments[]",
        "RoleArn",
        "InputDataConfig[].ChannelName",
        "InputDataConfig[].DataSource.S3DataSource.S3DataType",
        "InputDataConfig[].DataSource.S3DataSource.S3Uri",
        "InputDataConfig[].DataSource.S3DataSource.S3DataDistributionType",
        "InputDataConfig[].DataSource.S3DataSource.AttributeNames[]",
        "InputDataConfig[].DataSource.S3DataSource.InstanceGroupNames[]",
        "InputDataConfig[].ContentType",
        "InputDataConfig[].CompressionType",
        "InputDataConfig[].RecordWrapperType",
        "InputDataConfig[].InputMode",
        "InputDataConfig[].ShuffleConfig.Seed",
        "OutputDataConfig.S3OutputPath",
        "OutputDataConfig.CompressionType",
        "ResourceConfig.InstanceType",
        "ResourceConfig.InstanceCount",
        "ResourceConfig.InstanceGroups[].InstanceCount",
        "ResourceConfig.InstanceGroups[].InstanceGroupName",
        "ResourceConfig.InstanceGroups[].InstanceType",
        "StoppingCondition.MaxRuntimeInSeconds",
        "StoppingCondition.MaxWaitTimeInSeconds",
        "RetryStrategy",
        "EnableManagedSpotTraining",
        "EnableNetworkIsolation",
        "ExperimentConfig.ExperimentName",
        "ExperimentConfig.TrialName",
        "ExperimentConfig.TrialComponentDisplayName",
        "CheckpointConfig.S3Uri",
        "CheckpointConfig.LocalPath",
        "TensorBoardOutputConfig.LocalPath",
        "TensorBoardOutputConfig.S3OutputPath",
        "Environment",
        "Tags",
    }
)

# They change nothing of what the container computes: billing, encryption, placement, observation.
IGNORED = frozenset(
    {
        "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries",
        # where the image is pulled from; here it lies on this machine
        "AlgorithmSpecification.TrainingImageConfig",
        "ExperimentConfig.RunName",  # names a run of SageMaker's Experiments SDK; no component shows it
        "InputDataConfig[].DataSource.S3DataSource.ModelAccessConfig",
        "OutputDataConfig.KmsKeyId",
        "ResourceConfig.VolumeSizeInGB",
        "ResourceConfig.VolumeKmsKeyId",
        "ResourceConfig.KeepAlivePeriodInSeconds",
        "ResourceConfig.InstancePlacementConfig",
        "ResourceConfig.TrainingPlanArn",
        "StoppingCondition.MaxPendingTimeInSeconds",
        "EnableInterContainerTrafficEncryption",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "ProfilerConfig",
        "ProfilerRuleConfigurations",
        "RemoteDebugConfig",
        "InfraCheckConfig",
        "SessionChainingConfig",
        "VpcConfig",  # which network a container is in; here it is the engine's own
    }
)

# Members that are acted on, but not with every value: path → (test, what is supported).
VALUES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "InputDataConfig[].DataSource.S3DataSource.S3DataType": (
        lambda value: value in ("S3Prefix", "ManifestFile", "AugmentedManifestFile"),
        "S3Prefix, ManifestFile, AugmentedManifestFile",
    ),
}
_OPAQUE = IGNORED | {path for path in ACTED_ON if "." not in path and "[" not in path}


def check_supported(request: Mapping[str, Any]) -> list[str]:
    """The members of a valid request that are ignored locally; BadRequest names one that would change the result."""
    ignored: set[str] = set()
    for path, value in _members(request, ""):
        if path in VALUES and not isinstance(value, Unknown) and not VALUES[path][0](value):
            raise BadRequest(
                f"{path} has a value that is not supported locally. Received: {value}. Supported: {VALUES[path][1]}"
            )
        if path in IGNORED and value:
            ignored.add(path)
        elif path not in ACTED_ON | IGNORED:
            raise BadRequest(
                f"{path} is not supported locally and would change the result. Received: {value}. Take it out"
            )
    return sorted(ignored)


def _members(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(path, value) of every leaf; maps and ignored members are leaves, list items share one path."""
    if isinstance(value, Mapping) and path not in _OPAQUE:
        for name, item in value.items():
            yield from _members(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and path not in _OPAQUE:
        for item in value:
            yield from _members(item, f"{path}[]")
    else:
        yield path, value


def check_request(request: Mapping[str, Any]) -> list[str]:
    """The members that are ignored locally. BadRequest, one line, if the service or this platform would refuse it."""
    validate(request)
    if "AlgorithmSpecification" not in request:
        raise BadRequest("AlgorithmSpecification is missing: TrainingImage and TrainingInputMode")
    ignored = check_supported(request)
    normal = normal_form(request)
    for path in ("AlgorithmSpecification.TrainingImage", "ResourceConfig.InstanceType", "ResourceConfig.InstanceCount"):
        outer, inner = path.split(".")
        if not normal[outer].get(inner):  # the model allows InstanceCount 0, for requests of instance groups
            raise BadRequest(f"{path} is missing or 0. Received: {json.dumps(request.get(outer, {}))}")
    _check_waiting(request)
    return ignored


def _check_waiting(request: Mapping[str, Any]) -> None:
    condition = request.get("StoppingCondition", {})
    wait, runtime = condition.get("MaxWaitTimeInSeconds"), condition.get("MaxRuntimeInSeconds", 0)
    if wait is not None and not request.get("EnableManagedSpotTraining"):
        raise BadRequest("StoppingCondition.MaxWaitTimeInSeconds is for EnableManagedSpotTraining only")
    if wait is not None and wait < runtime:
        raise BadRequest(f"MaxWaitTimeInSeconds must be at least MaxRuntimeInSeconds. Received: {wait} < {runtime}")
