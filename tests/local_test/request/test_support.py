import copy
from pathlib import Path
from typing import Any

import pytest

from local_test.errors import BadRequest
from local_test.request.processing import PROCESSING_SUPPORT
from local_test.request.support import IGNORED, TRAINING_SUPPORT, Support, check_request
from local_test.request.validation import service_model
from tests.support.local_jobs import request_for

REQUEST = request_for("job-1", Path("/out"), {"train": Path("/data")})


GROUP = [{"InstanceType": "ml.m5.large", "InstanceCount": 1, "InstanceGroupName": "a"}]


def with_channel(**members: Any) -> dict[str, Any]:
    return {**REQUEST, "InputDataConfig": [{**REQUEST["InputDataConfig"][0], **members}]}


def with_source(**members: Any) -> dict[str, Any]:
    source = {**REQUEST["InputDataConfig"][0]["DataSource"]["S3DataSource"], **members}
    return with_channel(DataSource={"S3DataSource": source})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (with_source(S3DataType="Converse"), "S3DataType .* Received: Converse. Supported: S3Prefix, ManifestFile"),
        (with_source(InstanceGroupNames=["a"]), "Channel train: no instance group has that name. Received: a"),
        ({**REQUEST, "ResourceConfig": {"InstanceGroups": [*GROUP, *GROUP]}}, "one instance group here.*: a, a"),
        ({**REQUEST, "ResourceConfig": {"InstanceGroups": GROUP, "InstanceCount": 1}}, "either InstanceType and"),
        ({**REQUEST, "OutputDataConfig": {"S3OutputPath": "https://bucket/key"}}, "no address of S3. Received: https:"),
        (
            {**REQUEST, "AlgorithmSpecification": {"TrainingInputMode": "File"}},
            "AlgorithmSpecification.TrainingImage is missing",
        ),
        ({**REQUEST, "ResourceConfig": {"InstanceCount": 1}}, "ResourceConfig.InstanceType is missing"),
        (
            {**REQUEST, "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 0, "VolumeSizeInGB": 1}},
            'ResourceConfig.InstanceCount is missing or 0. Received: .*"InstanceCount": 0',
        ),
        (
            {key: REQUEST[key] for key in REQUEST if key != "AlgorithmSpecification"},
            "AlgorithmSpecification is missing",
        ),
        (
            {**REQUEST, "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}},
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining",
        ),
        (
            {
                **REQUEST,
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 8},
            },
            "Received: 8 < 9",
        ),
    ],
)
def test_what_would_change_the_result_is_refused_by_name(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        check_request(request_)


def test_what_is_ignored_is_listed() -> None:
    request = {**REQUEST, "Tags": [{"Key": "a", "Value": "b"}], "InfraCheckConfig": {"EnableInfraCheck": True}}
    request["EnableInterContainerTrafficEncryption"] = False
    assert check_request(request) == ["InfraCheckConfig", "ResourceConfig.VolumeSizeInGB"]


@pytest.mark.parametrize("support", [TRAINING_SUPPORT, PROCESSING_SUPPORT], ids=lambda support: support.operation)
def test_the_tables_name_members_that_exist(support: Support) -> None:
    def exists(path: str) -> bool:
        shape = service_model().operation_model(support.operation).input_shape
        for name in path.replace("[]", ".[]").split("."):
            if name == "[]":
                shape = shape.member
            elif name in shape.members:
                shape = shape.members[name]
            else:
                return False
        return True

    assert [path for path in support.acted_on | support.ignored | set(support.values) if not exists(path)] == []
    assert not support.acted_on & support.ignored


# member → a value that asks for something
LAMBDA = "arn:aws:lambda:us-east-1:123456789012:function:a"
IGNORED_VALUES: dict[str, Any] = {
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries": True,
    "ExperimentConfig.RunName": "run-1",
    "AlgorithmSpecification.TrainingImageConfig": {
        "TrainingRepositoryAccessMode": "Vpc",
        "TrainingRepositoryAuthConfig": {"TrainingRepositoryCredentialsProviderArn": LAMBDA},
    },
    "InputDataConfig[].DataSource.S3DataSource.ModelAccessConfig": {"AcceptEula": True},
    "OutputDataConfig.KmsKeyId": "a-key",
    "ResourceConfig.VolumeSizeInGB": 30,
    "ResourceConfig.VolumeKmsKeyId": "a-key",
    "ResourceConfig.KeepAlivePeriodInSeconds": 60,
    "ResourceConfig.InstancePlacementConfig": {"EnableMultipleJobs": True},
    "ResourceConfig.TrainingPlanArn": "arn:aws:sagemaker:us-east-1:123456789012:training-plan/a",
    "StoppingCondition.MaxPendingTimeInSeconds": 7200,
    "EnableInterContainerTrafficEncryption": True,
    "DebugHookConfig": {"S3OutputPath": "s3://bucket/debug"},
    "DebugRuleConfigurations": [{"RuleConfigurationName": "rule", "RuleEvaluatorImage": "image"}],
    "ProfilerConfig": {"DisableProfiler": True},
    "ProfilerRuleConfigurations": [{"RuleConfigurationName": "rule", "RuleEvaluatorImage": "image"}],
    "RemoteDebugConfig": {"EnableRemoteDebug": True},
    "InfraCheckConfig": {"EnableInfraCheck": True},
    "SessionChainingConfig": {"EnableSessionTagChaining": True},
    "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
}


def test_every_member_that_is_ignored_has_a_value() -> None:
    assert set(IGNORED_VALUES) == IGNORED


@pytest.mark.parametrize("path", IGNORED_VALUES)
def test_a_member_that_is_ignored_is_named(path: str) -> None:
    *outer, last = path.split(".")
    request = copy.deepcopy(REQUEST)
    place = request
    for name in outer:
        place = place[name[:-2]][0] if name.endswith("[]") else place.setdefault(name, {})
    place[last] = IGNORED_VALUES[path]
    request.setdefault("StoppingCondition", {}).setdefault("MaxRuntimeInSeconds", 100)
    assert path in check_request(request)
