"""What descriptions have beyond their requests, against answers of the service that people have published."""

from datetime import UTC, datetime
from typing import Any

import pytest

from local_test.request.defaults import fill_training_job, fill_tuning_job
from local_test.training.job_status import TrainingJobStatus
from local_test.tuning.state import TuningState
from tests.support.tuning import tuning_request

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST: dict[str, Any] = {
    "TrainingJobName": "a",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "RoleArn": "arn:aws:iam::123456789012:role/local",
    "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/a"}}}],
    "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
    "ResourceConfig": {"InstanceType": "ml.m4.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
}
# describe-training-job of a job made with as much as REQUEST, as answered in 2023 to 2026
RECORDED: dict[str, Any] = {
    "AlgorithmSpecification": {
        "TrainingImage": "image", "TrainingInputMode": "File", "EnableSageMakerMetricsTimeSeries": False,
    },
    "InputDataConfig": [{**REQUEST["InputDataConfig"][0], "CompressionType": "None", "RecordWrapperType": "None"}],
    "OutputDataConfig": {"KmsKeyId": "", "S3OutputPath": "s3://b/out", "CompressionType": "GZIP"},
    "ResourceConfig": REQUEST["ResourceConfig"],
    "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    "EnableNetworkIsolation": False,
    "EnableInterContainerTrafficEncryption": False,
    "EnableManagedSpotTraining": False,
    "ProfilingStatus": "Disabled",
}  # fmt: skip


def test_a_training_job_is_described_as_the_service_does() -> None:
    description = TrainingJobStatus.from_request(REQUEST, "arn", lambda: NOW).describe()
    assert description.items() >= RECORDED.items()
    assert fill_training_job(description) == description
    without = {name: value for name, value in REQUEST.items() if name != "InputDataConfig"}
    assert fill_training_job(without)["InputDataConfig"] == []


def test_what_was_asked_for_stays() -> None:
    output = {"S3OutputPath": "s3://b/o", "KmsKeyId": "key", "CompressionType": "NONE"}
    channel = {"ChannelName": "a", "CompressionType": "Gzip", "RecordWrapperType": "RecordIO"}
    filled = fill_training_job({**REQUEST, "OutputDataConfig": output, "InputDataConfig": [channel]})
    assert [filled["OutputDataConfig"], filled["InputDataConfig"]] == [output, [channel]]


@pytest.mark.parametrize(
    ("asked", "status", "shown"),
    [
        (
            {"S3OutputPath": "s3://b/o"},
            "Enabled",
            {"S3OutputPath": "s3://b/o", "ProfilingIntervalInMilliseconds": 500, "DisableProfiler": False},
        ),
        ({"DisableProfiler": True}, "Disabled", {"DisableProfiler": True}),
    ],
)
def test_the_profiler(asked: dict[str, Any], status: str, shown: dict[str, Any]) -> None:
    job = TrainingJobStatus.from_request({**REQUEST, "ProfilerConfig": asked}, "arn", lambda: NOW)
    assert [job.describe()["ProfilingStatus"], job.describe()["ProfilerConfig"]] == [status, shown]
    job.update({"ProfilerConfig": {"DisableProfiler": True}})
    assert job.describe()["ProfilingStatus"] == "Disabled"


def test_rules_have_a_volume() -> None:
    rule = {"RuleConfigurationName": "r", "RuleEvaluatorImage": "image"}
    filled = fill_training_job({**REQUEST, "ProfilerRuleConfigurations": [rule]})
    assert filled["ProfilerRuleConfigurations"] == [{**rule, "VolumeSizeInGB": 0}]


def test_a_tuning_job_is_described_as_sdk_v2_reads_it() -> None:
    ranges = {"IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "9"}]}
    request = tuning_request(ParameterRanges=ranges)
    definition = request["TrainingJobDefinition"]
    definition["HyperParameterTuningResourceConfig"] = definition.pop("ResourceConfig")
    description = TuningState(request, "arn", [], lambda _: {}, lambda: NOW).describe()
    config, shown = description["HyperParameterTuningJobConfig"], description["TrainingJobDefinition"]
    assert config["TrainingJobEarlyStoppingType"] == "Off"
    assert config["ParameterRanges"] == {
        "IntegerParameterRanges": [{**ranges["IntegerParameterRanges"][0], "ScalingType": "Auto"}],
        "ContinuousParameterRanges": [],
        "CategoricalParameterRanges": [],
    }
    assert shown["OutputDataConfig"].items() >= {"KmsKeyId": "", "CompressionType": "GZIP"}.items()
    assert shown["ResourceConfig"]["InstanceCount"] == shown["HyperParameterTuningResourceConfig"]["InstanceCount"]
    assert description["ConsumedResources"] == {"RuntimeInSeconds": 0}
    assert fill_tuning_job(description) == description
