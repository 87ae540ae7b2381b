"""A CreateProcessingJob request: what of it is acted on, ignored or refused, and its normal form."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from local_test.errors import BadRequest
from local_test.request.normal_form import with_s3_uris
from local_test.request.support import Support
from local_test.request.validation import Unknown, validate

_ROOT = PurePosixPath("/opt/ml/processing")

PROCESSING_SUPPORT = Support(
    "CreateProcessingJob",
    acted_on=frozenset(
        {
            "ProcessingJobName",
            "ProcessingInputs[].InputName",
            "ProcessingInputs[].AppManaged",
            "ProcessingInputs[].S3Input.S3Uri",
            "ProcessingInputs[].S3Input.LocalPath",
            "ProcessingInputs[].S3Input.S3DataType",
            "ProcessingInputs[].S3Input.S3InputMode",
            "ProcessingInputs[].S3Input.S3DataDistributionType",
            "ProcessingInputs[].S3Input.S3CompressionType",
            "ProcessingOutputConfig.Outputs[].OutputName",
            "ProcessingOutputConfig.Outputs[].AppManaged",
            "ProcessingOutputConfig.Outputs[].S3Output.S3Uri",
            "ProcessingOutputConfig.Outputs[].S3Output.LocalPath",
            "ProcessingOutputConfig.Outputs[].S3Output.S3UploadMode",
            "ProcessingResources.ClusterConfig.InstanceCount",
            "ProcessingResources.ClusterConfig.InstanceType",
            "StoppingCondition.MaxRuntimeInSeconds",
            "AppSpecification.ImageUri",
            "AppSpecification.ContainerEntrypoint[]",
            "AppSpecification.ContainerArguments[]",
            "Environment",
            "NetworkConfig.EnableNetworkIsolation",
            "RoleArn",
            "Tags",
            "ExperimentConfig.ExperimentName",
            "ExperimentConfig.TrialName",
            "ExperimentConfig.TrialComponentDisplayName",
        }
    ),
    ignored=frozenset(
        {
            "ExperimentConfig.RunName",
            "NetworkConfig.EnableInterContainerTrafficEncryption",
            "NetworkConfig.VpcConfig",
            "ProcessingOutputConfig.KmsKeyId",
            "ProcessingResources.ClusterConfig.VolumeKmsKeyId",
            "ProcessingResources.ClusterConfig.VolumeSizeInGB",
        }
    ),
    values={
        # how its FIFOs are named is nowhere written down
        "ProcessingInputs[].S3Input.S3InputMode": (lambda value: value == "File", "File"),
        # the service's own rule: Gzip is for Pipe
        "ProcessingInputs[].S3Input.S3CompressionType": (lambda value: value == "None", "None"),
    },
)


def check_processing_request(request: Mapping[str, Any]) -> list[str]:
    """The members that are ignored locally. BadRequest, one line, if the service or this platform would refuse it,
    whatever an Unknown in the place of a text or a number stands for."""
    validate(request, PROCESSING_SUPPORT.operation)
    ignored = PROCESSING_SUPPORT.check(request)
    cluster = request["ProcessingResources"]["ClusterConfig"]
    for name in ("InstanceCount", "InstanceType"):
        if name not in cluster:
            raise BadRequest(f"ProcessingResources.ClusterConfig.{name} is missing. Received: {cluster}")
    paths: dict[PurePosixPath, str] = {}
    for what, member, items in (
        ("Input", "S3Input", request.get("ProcessingInputs", [])),
        ("Output", "S3Output", request.get("ProcessingOutputConfig", {}).get("Outputs", [])),
    ):
        names = [item[f"{what}Name"] for item in items]
        for name, item in zip(names, items, strict=True):
            label = f"{what} {name!r}"  # it may hold anything
            if names.count(name) > 1:
                raise BadRequest(f"{what} names must be unique. Received: {name!r} {names.count(name)} times")
            if member not in item:
                raise BadRequest(f"{label} has no {member}. Received: {', '.join(item)}")
            if path := _local_path(label, member, item):
                if path in paths:
                    raise BadRequest(f"{label}: {paths[path]} has its LocalPath, too. Received: {path}")
                paths[path] = label
    return ignored


def _local_path(label: str, member: str, item: Mapping[str, Any]) -> PurePosixPath | None:
    """None where the program fetches its input itself, or that is not known. BadRequest for what is no folder below
    /opt/ml/processing: `..` leads out of it on this machine."""
    text = item[member].get("LocalPath")
    if isinstance(text, Unknown) or (text is None and item.get("AppManaged")):
        return None
    if text is None:
        raise BadRequest(f"{label}: {member}.LocalPath is missing, which only AppManaged may leave out")
    path = PurePosixPath(text)
    below = path != _ROOT and path.is_relative_to(_ROOT)
    if not below or ".." in path.parts or "\0" in text:
        raise BadRequest(f"{label}: {member}.LocalPath must begin with {_ROOT}/ and be without .. Received: {text!r}")
    return path


def processing_normal_form(request: Mapping[str, Any]) -> dict[str, Any]:
    """The request with S3 addresses in one form. BadRequest for an address that has none."""
    return with_s3_uris(request, PROCESSING_SUPPORT.operation)


def managed_inputs(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those that the platform fetches, not the program itself."""
    return [item for item in request.get("ProcessingInputs", []) if not item.get("AppManaged")]


def managed_outputs(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those that the platform uploads."""
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    return [item for item in outputs if not item.get("AppManaged")]


def local_folders(request: Mapping[str, Any]) -> Iterator[str]:
    """Every LocalPath, relative to /opt/ml."""
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", [])
    for item in (*request.get("ProcessingInputs", []), *outputs):
        place = item.get("S3Input") or item.get("S3Output") or {}
        if "LocalPath" in place:
            yield str(PurePosixPath(place["LocalPath"]).relative_to(_ROOT.parent))
