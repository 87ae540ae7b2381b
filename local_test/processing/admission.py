"""A CreateProcessingJob request is admitted as a job, or refused in one line while nothing of it is on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_test.data.channels import Channel, find_objects
from local_test.data.manifests import manifest_objects
from local_test.data.object_store import ObjectStore
from local_test.hosts.host import make_paths
from local_test.processing.host import ProcessingHost, input_folder, make_processing_spec
from local_test.request.job_kind import PROCESSING
from local_test.request.processing import (
    check_processing_request,
    managed_inputs,
    managed_outputs,
    processing_normal_form,
)
from local_test.runners.base import Runner
from local_test.training.admission import AcceptedJob, check_buckets, check_name, check_start, container_environment
from local_test.util.arns import format_arn, region


def admit_processing(
    request: Mapping[str, Any],
    out: Path,
    storage: ObjectStore,
    runner: Runner,
    environ: Mapping[str, str],
    *,
    again: bool,
) -> AcceptedJob:
    """The job `out/<name>`. BadRequest, ResourceInUse or RunnerError if it can't be run here. `again`: it was admitted
    before, and its folder is there with this request, which is in its normal form."""
    ignored = [] if again else check_processing_request(request)
    request = request if again else processing_normal_form(request)
    name = request["ProcessingJobName"]
    folder, arn = out / name, format_arn(region(environ), PROCESSING.resource, name)
    paths = make_paths(request["ProcessingResources"]["ClusterConfig"]["InstanceCount"], folder)
    isolated = request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
    environment = container_environment(request.get("Environment", {}), {}, environ, isolated=isolated)
    specs = [make_processing_spec(request, host, environment) for host in paths]
    if not again:
        check_name(PROCESSING, folder, arn)
    notes = check_start(specs[0], ignored, runner)
    inputs = managed_inputs(request)
    channels = [_find_channel(item, request["RoleArn"], storage) for item in inputs]
    folders = [input_folder(item) for item in inputs]
    uris = ((f"Output {item['OutputName']}", item["S3Output"]["S3Uri"]) for item in managed_outputs(request))
    check_buckets(uris, storage)
    hosts = [
        ProcessingHost(host, spec, [channel.for_host(index, len(paths)) for channel in channels], folders)
        for index, (host, spec) in enumerate(zip(paths, specs, strict=True))
    ]
    return AcceptedJob(request, folder, arn, hosts, notes)


def _find_channel(given: Mapping[str, Any], role: str, storage: ObjectStore) -> Channel:
    """An input with its objects, as a channel of File mode."""
    source = given["S3Input"]
    uri, kind = source["S3Uri"], source["S3DataType"]
    objects = find_objects(uri, role, storage)
    return Channel(
        name=given["InputName"],
        mode="File",
        uri=uri,
        objects=tuple(manifest_objects(uri, storage) if kind == "ManifestFile" else objects),
        distribution=source.get("S3DataDistributionType", "FullyReplicated"),
        data_type=kind,
    )
