"""Byte for byte what was captured from real jobs, where it was captured."""

import json
from pathlib import Path
from typing import Any

import pytest

from local_test.data.channels import Channel, find_channels
from local_test.data.object_store import ObjectStore, StoredObject
from local_test.errors import Cancelled, DataError
from local_test.hosts.opt_ml import HostPaths, fetch_channel, make_folders, write_config
from local_test.util.atomic_files import file_uri
from tests.support.local_jobs import request_for

ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/job-a"


def config(tmp_path: Path, request: dict[str, Any], channels: list[Channel]) -> dict[str, str]:
    host = HostPaths(tmp_path / "ml")
    make_folders(host, request)
    write_config(host, request, channels, ARN)
    return {path.name: path.read_text() for path in (tmp_path / "ml/input/config").iterdir()}


@pytest.fixture
def request_(tmp_path: Path) -> dict[str, Any]:
    return request_for("Job-A", tmp_path)


def channel(name: str, **members: Any) -> Channel:
    return Channel(name, members.pop("mode", "File"), "s3://bucket/input", (), **members)


def test_inputdataconfig(tmp_path: Path, request_: dict[str, Any]) -> None:
    files = config(tmp_path, request_, [channel("data", distribution="ShardedByS3Key")])
    assert files["inputdataconfig.json"] == (
        '{"data":{"TrainingInputMode":"File","S3DistributionType":"ShardedByS3Key","RecordWrapperType":"None"}}'
    )


def test_inputdataconfig_has_the_size_of_a_real_listing(tmp_path: Path, request_: dict[str, Any]) -> None:
    assert len(config(tmp_path, request_, [channel("training")])["inputdataconfig.json"]) == 107


def test_inputdataconfig_of_other_modes(tmp_path: Path, request_: dict[str, Any]) -> None:
    channels = [channel("a", mode="Pipe", content_type="x/y"), channel("b", mode="FastFile")]
    found = json.loads(config(tmp_path, request_, channels)["inputdataconfig.json"])
    assert list(found) == ["a", "b"]
    assert list(found["a"]) == ["ContentType", "TrainingInputMode", "S3DistributionType", "RecordWrapperType"]
    assert (found["a"]["TrainingInputMode"], found["b"]["TrainingInputMode"]) == ("Pipe", "File")


def test_hyperparameters_are_strings_in_their_order(tmp_path: Path, request_: dict[str, Any]) -> None:
    values = {"arg2": '"hello"', "sagemaker_program": '"algo.py"', "arg1": "5"}
    files = config(tmp_path, {**request_, "HyperParameters": values}, [])
    assert files["hyperparameters.json"] == r'{"arg2":"\"hello\"","sagemaker_program":"\"algo.py\"","arg1":"5"}'


def test_no_hyperparameters(tmp_path: Path, request_: dict[str, Any]) -> None:
    assert config(tmp_path, request_, [])["hyperparameters.json"] == "{}"


def test_resourceconfig(tmp_path: Path, request_: dict[str, Any]) -> None:
    request_["ResourceConfig"]["InstanceType"] = "ml.g4dn.12xlarge"
    found = config(tmp_path, request_, [])["resourceconfig.json"]
    assert found == (
        '{"current_host":"algo-1","current_instance_type":"ml.g4dn.12xlarge","current_group_name":"homogeneousCluster",'
        '"hosts":["algo-1"],"instance_groups":[{"instance_group_name":"homogeneousCluster",'
        '"instance_type":"ml.g4dn.12xlarge","hosts":["algo-1"]}],"network_interface_name":"eth0"}'
    )
    assert len(found) == 280


def test_init_config(tmp_path: Path, request_: dict[str, Any]) -> None:
    request_["AlgorithmSpecification"]["TrainingInputMode"] = "File"
    request_["CheckpointConfig"] = {"S3Uri": "s3://bucket/checkpoints", "LocalPath": "/state"}  # not in outputPath
    files = config(tmp_path, request_, [channel("data", distribution="ShardedByS3Key")])
    assert files["init-config.json"] == (
        '{"inputMode":"FILE","channels":{"data":{"s3DataSource":{"s3DataType":"S3_PREFIX","s3Uri":"s3://bucket/input",'
        '"s3DataDistributionType":"SHARDED_BY_S3_KEY","attributeNames":null},"fileSystemDataSource":null,'
        '"compressionType":"NONE","recordWrapper":"NONE","shuffleConfig":null,"inputMode":"FILE","sharded":true}},'
        '"checkpointChannel":{"name":"checkpoints","channel":{"s3DataSource":{"s3DataType":"S3_PREFIX",'
        '"s3Uri":"s3://bucket/checkpoints","s3DataDistributionType":null,"attributeNames":null},'
        '"fileSystemDataSource":null,"compressionType":null,"recordWrapper":null,"shuffleConfig":null,'
        '"inputMode":"FILE","sharded":false},"outputPath":"/opt/ml/checkpoints","allowEmpty":true},'
        '"hostConfig":{"clusterSize":1,"hostNumber":1},"enableAdditionalPlatformLoggingForCustomer":false,'
        '"jobRunInfo":{"jobRunNumber":1}}'
    )


def test_checkpointconfig_is_there_with_checkpoints_only(tmp_path: Path, request_: dict[str, Any]) -> None:
    assert "checkpointconfig.json" not in config(tmp_path / "a", request_, [])
    request_["CheckpointConfig"] = {"S3Uri": "s3://b/c", "LocalPath": "/state"}
    assert config(tmp_path / "b", request_, [])["checkpointconfig.json"] == '{"LocalPath":"/state"}'
    request_["CheckpointConfig"] = {"S3Uri": "s3://b/c"}
    assert config(tmp_path / "c", request_, [])["checkpointconfig.json"] == '{"LocalPath":"/opt/ml/checkpoints"}'


def test_tensorboardoutputconfig(tmp_path: Path, request_: dict[str, Any]) -> None:
    assert "tensorboardoutputconfig.json" not in config(tmp_path / "a", request_, [])
    request_["TensorBoardOutputConfig"] = {"S3OutputPath": "s3://b/t", "LocalPath": "/opt/ml/output/tensorboard/"}
    found = config(tmp_path / "b", request_, [])["tensorboardoutputconfig.json"]
    assert found == '{"S3OutputPath":"s3://b/t","LocalPath":"/opt/ml/output/tensorboard/"}'
    request_["TensorBoardOutputConfig"] = {"S3OutputPath": "s3://b/t"}
    found = config(tmp_path / "c", request_, [])["tensorboardoutputconfig.json"]
    assert found == '{"S3OutputPath":"s3://b/t","LocalPath":"/opt/ml/output/tensorboard"}'


def test_trainingjobconfig(tmp_path: Path) -> None:
    tags = [{"Key": "SimpleSagemakerTask", "Value": "Task1"}]
    request = {  # as an SDK sends it
        "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": "image", "MetricDefinitions": []},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/Task1"},
        "TrainingJobName": "Task1-OfVYqRYG",
        "StoppingCondition": {"MaxRuntimeInSeconds": 900, "MaxWaitTimeInSeconds": 900},
        "ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30},
        "RoleArn": "arn:aws:iam::667232328135:role/SageMakerIAMRole",
        "InputDataConfig": [
            {
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": "s3://bucket/input",
                        "S3DataDistributionType": "ShardedByS3Key",
                    }
                },
                "ChannelName": "data",
            }
        ],
        "HyperParameters": {"arg1": "5"},
        "Environment": {"A": "b"},
        "Tags": tags,
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": "s3://bucket/state", "LocalPath": "/state"},
    }
    assert config(tmp_path, request, [])["trainingjobconfig.json"] == (
        '{"EnableInterContainerTrafficEncryption":false,"EnableNetworkIsolation":false,'
        '"EnableManagedSpotTraining":true,"HyperParameters":{"arg1":"5"},"InputDataConfig":[{"ChannelName":"data",'
        '"DataSource":{"S3DataSource":{"S3DataType":"S3_PREFIX","S3Uri":"s3://bucket/input",'
        '"S3DataDistributionType":"SHARDED_BY_S3_KEY"}},"CompressionType":"NONE","RecordWrapperType":"NONE"}],'
        '"OutputDataConfig":{"KmsKeyId":"","S3OutputPath":"s3://bucket/Task1"},'
        '"ResourceConfig":{"InstanceCount":2,"InstanceType":"ml.m5.large","VolumeSizeInGB":30},'
        '"RoleArn":"arn:aws:iam::667232328135:role/SageMakerIAMRole",'
        '"Tags":[{"Key":"SimpleSagemakerTask","Value":"Task1"}],'
        '"BaseTags":[{"Key":"SimpleSagemakerTask","Value":"Task1"}],"TrainingJobName":"Task1-OfVYqRYG",'
        '"StoppingCondition":{"MaxRuntimeInSeconds":900,"MaxWaitTimeInSeconds":900},'
        '"AlgorithmSpecification":{"MetricDefinitions":[],"TrainingImage":"image","TrainingInputMode":"File"},'
        f'"TrainingJobArn":"{ARN}","CheckpointConfig":{{"S3Uri":"s3://bucket/state","LocalPath":"/state"}},'
        '"Environment":{"A":"b"}}'  # its place was not captured
    )


def test_the_manifest_of_a_sharded_channel_lists_all_hosts_objects(
    tmp_path: Path, storage: ObjectStore, data: Path
) -> None:
    request = request_for("job", tmp_path, {"train": data})
    request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    (train,) = find_channels(request, storage)
    host = HostPaths(tmp_path / "ml")
    make_folders(host, request)
    fetch_channel(host, train.for_host(1, 2), storage, lambda: None)
    assert [path.name for path in (host.input_data / "train").iterdir()] == ["b"]
    manifest = (host.input_data / "train-manifest").read_text().splitlines()
    assert manifest[1:] == [file_uri(data / name) for name in "abc"]


def test_the_other_files(tmp_path: Path, data: Path) -> None:
    files = config(tmp_path, request_for("Job-A", tmp_path, {"train": data}), [])
    assert files["metric-definition-regex.json"] == files["upstreamoutputdataconfig.json"] == "[]"
    echo = json.loads(files["trainingjobconfig.json"])
    assert (echo["TrainingJobName"], echo["TrainingJobArn"]) == ("Job-A", ARN)
    assert echo["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3DataType"] == "S3_PREFIX"
    assert '": ' not in files["trainingjobconfig.json"]


def test_folders(tmp_path: Path, request_: dict[str, Any]) -> None:
    request_["CheckpointConfig"] = {"S3Uri": "s3://b/c"}
    make_folders(HostPaths(tmp_path), request_)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert found == {
        *("model", "output", "output/data", "output/metrics", "output/metrics/sagemaker", "output/profiler"),
        *("input", "input/data", "input/config", "code", "checkpoints"),
    }


def test_file_mode_puts_objects_into_the_channels_folder(tmp_path: Path, storage: ObjectStore, data: Path) -> None:
    (data / "sub").mkdir()
    (data / "sub/d").write_bytes(b"d")
    (data / "link").symlink_to(data / "a")
    request = request_for("job", tmp_path, {"train": data})
    host = HostPaths(tmp_path / "ml")
    make_folders(host, request)
    (train,) = find_channels(request, storage)
    fetch_channel(host, train, storage, lambda: None)
    folder = host.input_data / "train"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        "a",
        "b",
        "c",
        "link",
        "sub",
        "sub/d",
    ]
    assert (folder / "a").read_bytes() == (folder / "link").read_bytes() == b"1" * 10
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    manifest = (host.input_data / "train-manifest").read_text().splitlines()
    assert manifest[:2] == [str(data)[1:], file_uri(data / "a")]
    assert len(manifest) == 6


def test_what_a_program_changes_is_its_own(tmp_path: Path, storage: ObjectStore, data: Path) -> None:
    request = request_for("job", tmp_path, {"train": data})
    host = HostPaths(tmp_path / "ml")
    make_folders(host, request)
    fetch_channel(host, find_channels(request, storage)[0], storage, lambda: None)
    copy = host.input_data / "train/a"
    assert (copy.read_bytes(), copy.stat().st_nlink) == (b"1" * 10, 1)
    copy.write_bytes(b"changed")
    copy.chmod(0o777)
    assert (data / "a").read_bytes() == b"1" * 10
    assert (data / "a").stat().st_mode & 0o111 == 0


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a", "a")])
def test_names_that_exclude_each_other_are_named(
    tmp_path: Path, storage: ObjectStore, data: Path, names: tuple[str, str]
) -> None:
    host = HostPaths(tmp_path / "ml")
    host.input_data.mkdir(parents=True)
    path = next(path for path in data.rglob("*") if path.is_file())
    items = [StoredObject(file_uri(path), name, path.stat().st_size) for name in names]
    with pytest.raises(DataError, match=f"^channel x: a file and a folder, or two files, .* called {names[1]},"):
        fetch_channel(host, Channel("x", "File", file_uri(data), tuple(items)), storage, lambda: None)


def test_fetching_can_be_ended_between_objects(tmp_path: Path, storage: ObjectStore, data: Path) -> None:
    def check() -> None:
        if (tmp_path / "input/data/x/a").exists():
            raise Cancelled

    objects = tuple(StoredObject(file_uri(data / name), name, 10) for name in "abc")
    (tmp_path / "input/data").mkdir(parents=True)
    with pytest.raises(Cancelled):
        fetch_channel(HostPaths(tmp_path), Channel("x", "File", file_uri(data), objects), storage, check)
    assert [path.name for path in (tmp_path / "input/data/x").iterdir()] == ["a"]
