import copy
from pathlib import Path
from typing import Any

import pytest

from local_test.errors import BadRequest
from local_test.request.support import ACCEPTED, ACTED_ON, VALUES, check_request
from local_test.request.validation import service_model
from tests.support.local_jobs import request_for

REQUEST = request_for("job-1", Path("/out"), {"train": Path("/data")})


def with_channel(**members: Any) -> dict[str, Any]:
    return {**REQUEST, "InputDataConfig": [{**REQUEST["InputDataConfig"][0], **members}]}


def with_source(**members: Any) -> dict[str, Any]:
    source = {**REQUEST["InputDataConfig"][0]["DataSource"]["S3DataSource"], **members}
    return with_channel(DataSource={"S3DataSource": source})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (with_source(S3DataType="Converse"), "S3DataType .* Received: Converse. Supported: S3Prefix, ManifestFile"),
        (with_source(InstanceGroupNames=["a"]), "InstanceGroupNames"),
        (
            {**REQUEST, "VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}},
            "VpcConfig.SecurityGroupIds",
        ),
        ({**REQUEST, "OutputDataConfig": {"S3OutputPath": "s3://b/", "CompressionType": "NONE"}}, "CompressionType"),
        (
            {**REQUEST, "AlgorithmSpecification": {"TrainingInputMode": "File"}},
            "AlgorithmSpecification.TrainingImage is missing",
        ),
        ({**REQUEST, "ResourceConfig": {"InstanceCount": 1}}, "ResourceConfig.InstanceType is missing"),
        (
            {key: REQUEST[key] for key in REQUEST if key != "AlgorithmSpecification"},
            "AlgorithmSpecification is missing",
        ),
        (
            {**REQUEST, "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}},
            "for EnableManagedSpot",
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


def test_what_has_no_effect_is_listed() -> None:
    request = {**REQUEST, "Tags": [{"Key": "a", "Value": "b"}], "InfraCheckConfig": {"EnableInfraCheck": True}}
    request["EnableInterContainerTrafficEncryption"] = False
    assert check_request(request) == ["InfraCheckConfig", "ResourceConfig.VolumeSizeInGB"]


def test_the_tables_name_members_that_exist() -> None:
    def exists(path: str) -> bool:
        shape = service_model().operation_model("CreateTrainingJob").input_shape
        for name in path.replace("[]", ".[]").split("."):
            if name == "[]":
                shape = shape.member
            elif name in shape.members:
                shape = shape.members[name]
            else:
                return False
        return True

    assert [path for path in ACTED_ON | ACCEPTED | set(VALUES) if not exists(path)] == []
    assert not ACTED_ON & ACCEPTED


# ---- the level of support: a test for each row

SERVICE, JOB, CHANNELS = "test_service.py", "test_job.py", "test_channels.py"
EXPERIMENTS, DOCKER = "api/test_experiments.py", "runners/test_docker.py"
TRACKED = f"{EXPERIMENTS}::test_a_job_of_an_experiment_is_described_by_a_component_of_its_trial"
# member → a test that sees it acted on
TESTED = {
    "TrainingJobName": "api/test_training.py::test_a_job_over_fifos_from_s3_to_s3",
    "HyperParameters": "test_optml.py::test_hyperparameters_are_strings_in_their_order",
    "AlgorithmSpecification.TrainingImage": f"{SERVICE}::test_a_container_reads_its_fifo_and_reaches_s3",
    "AlgorithmSpecification.TrainingInputMode": "test_optml.py::test_inputdataconfig",
    "AlgorithmSpecification.MetricDefinitions[].Name": "api/test_training.py::test_a_job_over_fifos_from_s3_to_s3",
    "AlgorithmSpecification.MetricDefinitions[].Regex": "api/test_training.py::test_a_job_over_fifos_from_s3_to_s3",
    "AlgorithmSpecification.ContainerEntrypoint[]": f"{DOCKER}::test_entry_point_and_arguments",
    "AlgorithmSpecification.ContainerArguments[]": f"{DOCKER}::test_entry_point_and_arguments",
    "RoleArn": "api/test_training.py::test_what_is_checked_before_the_answer",
    "InputDataConfig[].ChannelName": "test_storage.py::test_channel_defaults_and_modes",
    "InputDataConfig[].DataSource.S3DataSource.S3DataType": f"{CHANNELS}::test_a_manifest_names_objects_in_its_order",
    "InputDataConfig[].DataSource.S3DataSource.S3Uri": "test_storage.py::test_a_channel_without_objects_names_its_uri",
    "InputDataConfig[].DataSource.S3DataSource.S3DataDistributionType": (
        f"{CHANNELS}::test_64_hosts_read_each_of_10_000_objects_once"
    ),
    "InputDataConfig[].DataSource.S3DataSource.AttributeNames[]": (
        f"{CHANNELS}::test_an_augmented_manifest_gives_a_record_an_attribute"
    ),
    "InputDataConfig[].ContentType": "test_optml.py::test_inputdataconfig_of_other_modes",
    "InputDataConfig[].CompressionType": f"{CHANNELS}::test_an_unpacked_object_is_one_record",
    "InputDataConfig[].RecordWrapperType": f"{CHANNELS}::test_each_object_is_one_record",
    "InputDataConfig[].InputMode": "test_storage.py::test_channel_defaults_and_modes",
    "InputDataConfig[].ShuffleConfig.Seed": f"{CHANNELS}::test_64_hosts_read_each_of_10_000_objects_once",
    "OutputDataConfig.S3OutputPath": "api/test_training.py::test_a_job_over_fifos_from_s3_to_s3",
    "OutputDataConfig.CompressionType": "test_support.py::test_what_would_change_the_result_is_refused_by_name",
    "ResourceConfig.InstanceType": f"{DOCKER}::test_an_instance_larger_than_the_machine_is_said_once",
    "ResourceConfig.InstanceCount": f"{SERVICE}::test_two_hosts_get_disjoint_halves_and_find_each_other",
    "StoppingCondition.MaxRuntimeInSeconds": f"{JOB}::test_max_runtime",
    "StoppingCondition.MaxWaitTimeInSeconds": f"{JOB}::test_max_wait_time_stops_a_job",
    "RetryStrategy": f"{JOB}::test_a_failure_of_the_platform_is_retried",
    "EnableManagedSpotTraining": f"{SERVICE}::test_an_interruption_by_command_and_by_tag",
    "EnableNetworkIsolation": f"{DOCKER}::test_network_isolation",
    "ExperimentConfig.ExperimentName": TRACKED,
    "ExperimentConfig.TrialName": TRACKED,
    "ExperimentConfig.TrialComponentDisplayName": TRACKED,
    "ExperimentConfig.RunName": TRACKED,
    "CheckpointConfig.S3Uri": f"{SERVICE}::test_an_interruption_by_command_and_by_tag",
    "CheckpointConfig.LocalPath": f"{DOCKER}::test_checkpoints_outside_opt_ml",
    "TensorBoardOutputConfig.LocalPath": f"{JOB}::test_tensorboards_events_are_copied_up",
    "TensorBoardOutputConfig.S3OutputPath": f"{JOB}::test_tensorboards_events_are_copied_up",
    "Environment": f"{JOB}::test_a_job_that_reads_its_channels_and_leaves_a_model",
    "Tags": "api/test_tags.py::test_tags_of_a_job",
}
# member → a value that asks for something
WITHOUT_EFFECT: dict[str, Any] = {
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries": True,
    "AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAccessMode": "Platform",
    "OutputDataConfig.KmsKeyId": "a-key",
    "ResourceConfig.VolumeSizeInGB": 30,
    "ResourceConfig.VolumeKmsKeyId": "a-key",
    "ResourceConfig.KeepAlivePeriodInSeconds": 60,
    "StoppingCondition.MaxPendingTimeInSeconds": 7200,
    "EnableInterContainerTrafficEncryption": True,
    "DebugHookConfig": {"S3OutputPath": "s3://bucket/debug"},
    "DebugRuleConfigurations": [{"RuleConfigurationName": "rule", "RuleEvaluatorImage": "image"}],
    "ProfilerConfig": {"DisableProfiler": True},
    "ProfilerRuleConfigurations": [{"RuleConfigurationName": "rule", "RuleEvaluatorImage": "image"}],
    "RemoteDebugConfig": {"EnableRemoteDebug": True},
    "InfraCheckConfig": {"EnableInfraCheck": True},
    "SessionChainingConfig": {"EnableSessionTagChaining": True},
}


def test_each_row_has_a_test() -> None:
    assert set(TESTED) == ACTED_ON
    assert set(WITHOUT_EFFECT) == ACCEPTED
    folder = Path(__file__).parent
    missing = [
        (member, test)
        for member, test in TESTED.items()
        if f"def {test.partition('::')[2]}(" not in (folder / test.partition("::")[0]).read_text()
    ]
    assert missing == []


@pytest.mark.parametrize("path", WITHOUT_EFFECT)
def test_a_member_without_effect_is_accepted_and_said(path: str) -> None:
    *outer, last = path.split(".")
    request = copy.deepcopy(REQUEST)
    place = request
    for name in outer:
        place = place.setdefault(name, {})
    place[last] = WITHOUT_EFFECT[path]
    request.setdefault("StoppingCondition", {}).setdefault("MaxRuntimeInSeconds", 100)
    assert path in check_request(request)
