"""What of a request is acted on, what is ignored locally, and what is refused; of CreateTrainingJob the lists.

Everything not named here is refused: a member that a newer botocore brings must not be dropped in silence.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from local_test.errors import BadRequest
from local_test.request.normal_form import normal_form
from local_test.request.validation import Unknown, validate

Values = Mapping[str, tuple[Callable[[Any], bool], str]]


@dataclass(frozen=True)
class Support:
    """Of one operation, by paths such as `InputDataConfig[].ChannelName`. `values`: members that are acted on, but not
    with every value: path → (test, what is supported)."""

    operation: str
    acted_on: frozenset[str]
    ignored: frozenset[str]
    values: Values = field(default_factory=dict)

    def check(self, request: Mapping[str, Any]) -> list[str]:
        """The members of a valid request that are ignored; BadRequest names one that would change the result."""
        ignored: set[str] = set()
        for path, value in self._members(request, ""):
            if isinstance(value, Unknown) and self._acts_within(path):
                continue
            if path in self.values and not self.values[path][0](value):
                raise BadRequest(
                    f"{path} has a value that is not supported locally. Received: {value}. "
                    f"Supported: {self.values[path][1]}"
                )
            if path in self.ignored and value:
                ignored.add(path)
            elif path not in self.acted_on | self.ignored:
                raise BadRequest(
                    f"{path} is not supported locally and would change the result. Received: {value}. Take it out"
                )
        return sorted(ignored)

    def _acts_within(self, path: str) -> bool:
        return any(one == path or one.startswith((f"{path}.", f"{path}[")) for one in self.acted_on)

    def _members(self, value: Any, path: str) -> Iterator[tuple[str, Any]]:
        """(path, value) of every leaf; maps and ignored members are leaves, list items share one path."""
        opaque = path in self.ignored or (path in self.acted_on and "." not in path and "[" not in path)
        if isinstance(value, Mapping) and not opaque:
            for name, item in value.items():
                yield from self._members(item, f"{path}.{name}" if path else name)
        elif isinstance(value, list) and not opaque:
            for item in value:
                yield from self._members(item, f"{path}[]")
        else:
            yield path, value


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

VALUES: Values = {
    "InputDataConfig[].DataSource.S3DataSource.S3DataType": (
        lambda value: value in ("S3Prefix", "ManifestFile", "AugmentedManifestFile"),
        "S3Prefix, ManifestFile, AugmentedManifestFile",
    ),
}
TRAINING_SUPPORT = Support("CreateTrainingJob", ACTED_ON, IGNORED, VALUES)


def check_request(request: Mapping[str, Any]) -> list[str]:
    """The members that are ignored locally. BadRequest, one line, if the service or this platform would refuse it,
    whatever an Unknown in the place of a text or a number stands for."""
    validate(request)
    if "AlgorithmSpecification" not in request:
        raise BadRequest("AlgorithmSpecification is missing: TrainingImage and TrainingInputMode")
    ignored = TRAINING_SUPPORT.check(request)
    normal = normal_form(request)
    for path in ("AlgorithmSpecification.TrainingImage", "ResourceConfig.InstanceType", "ResourceConfig.InstanceCount"):
        outer, inner = path.split(".")
        if not normal[outer].get(inner):  # the model allows InstanceCount 0, for requests of instance groups
            raise BadRequest(f"{path} is missing or 0. Received: {json.dumps(request.get(outer, {}), default=str)}")
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BadRequest(f"Channel names must be unique. Received: {twice} {names.count(twice)} times")
    _check_waiting(request)
    return ignored


def _check_waiting(request: Mapping[str, Any]) -> None:
    condition = request.get("StoppingCondition", {})
    wait, runtime = condition.get("MaxWaitTimeInSeconds"), condition.get("MaxRuntimeInSeconds", 0)
    if wait is not None and not request.get("EnableManagedSpotTraining"):
        raise BadRequest(  # the service's words
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
        )
    if isinstance(wait, int) and isinstance(runtime, int) and wait < runtime:
        raise BadRequest(f"MaxWaitTimeInSeconds must be at least MaxRuntimeInSeconds. Received: {wait} < {runtime}")
