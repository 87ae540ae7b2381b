"""The files of /opt/ml/config. Names, members and their order are those of files captured from real jobs."""

from collections.abc import Mapping
from typing import Any

from local_test.hosts.opt_ml import HostPaths
from local_test.request.defaults import fill_processing_job


def config_files(host: HostPaths, request: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """Name → content."""
    return {
        "processingjobconfig.json": _job_config(fill_processing_job(request), arn),
        "resourceconfig.json": {"current_host": host.name, "hosts": sorted(host.hosts)},
    }


def _job_config(request: Mapping[str, Any], arn: str) -> dict[str, Any]:
    """What the request does not say is null; without Environment there is no such member."""
    output = request.get("ProcessingOutputConfig", {})
    cluster = ("InstanceCount", "InstanceType", "VolumeSizeInGB", "VolumeKmsKeyId")
    return {
        "ProcessingJobArn": arn,
        "ProcessingJobName": request["ProcessingJobName"],
        "AppSpecification": _pick(request["AppSpecification"], "ImageUri", "ContainerEntrypoint", "ContainerArguments"),
        **({"Environment": request["Environment"]} if "Environment" in request else {}),
        "ProcessingInputs": [_input(item) for item in request.get("ProcessingInputs", [])],
        "ProcessingOutputConfig": {
            "Outputs": [_output(item) for item in output.get("Outputs", [])],
            "KmsKeyId": output.get("KmsKeyId"),
        },
        "ProcessingResources": {"ClusterConfig": _pick(request["ProcessingResources"]["ClusterConfig"], *cluster)},
        "RoleArn": request["RoleArn"],
        "StoppingCondition": request["StoppingCondition"],
    }


def _input(item: Mapping[str, Any]) -> dict[str, Any]:
    places, ways = ("LocalPath", "S3Uri"), ("S3InputMode", "S3CompressionType")
    source = _pick(item["S3Input"], *places, "S3DataDistributionType", "S3DataType", *ways)
    return {
        **_pick(item, "InputName", "AppManaged"),
        "S3Input": {**source, "S3DownloadMode": "StartOfJob"},
        "DatasetDefinition": None,
    }


def _output(item: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_pick(item, "OutputName", "AppManaged"),
        "S3Output": _pick(item["S3Output"], "LocalPath", "S3Uri", "S3UploadMode"),
        "FeatureStoreOutput": None,
    }


def _pick(members: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: members.get(name) for name in names}
