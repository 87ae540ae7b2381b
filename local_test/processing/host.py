"""One host of a processing job: its /opt/ml, its inputs, its outputs, its last words."""

import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from local_test.data.object_store import ObjectStore
from local_test.errors import DataError
from local_test.hosts.container_tree import ContainerTree
from local_test.hosts.host import Host, outermost
from local_test.hosts.opt_ml import HostPaths, fetch_objects, write_files
from local_test.processing.config import config_files
from local_test.request.job_kind import PROCESSING
from local_test.request.processing import local_folders
from local_test.runners.base import OPT_ML, ContainerSpec

_FOLDERS = ("config", "output")
_MESSAGE_BYTES = 4096  # at least as many characters as an ExitMessage has


@dataclass(frozen=True)
class ProcessingHost(Host):
    """`channels` are the inputs that the platform fetches, `folders` where each lies below /opt/ml."""

    folders: Sequence[str]

    def prepare(
        self,
        request: Mapping[str, Any],
        arn: str,
        run: int,  # noqa: ARG002 - a Host
        storage: ObjectStore,
        check: Callable[[], None],
    ) -> None:
        """As a training job's host. Out of reach for other users: a container's root may leave setuid files there."""
        base = self.paths.base
        base.parent.mkdir(0o700, parents=True, exist_ok=True)
        for name in (*_FOLDERS, *local_folders(request)):
            (base / name).mkdir(parents=True, exist_ok=True)
        write_files(base / "config", config_files(self.paths, request, arn))
        for folder, channel in zip(self.folders, self.channels, strict=True):
            fetch_objects(base / folder, f"input {channel.name}", channel, storage, check)


def output_tree(paths: HostPaths, output: Mapping[str, Any]) -> ContainerTree:
    """The folder of an output. As on the service, a link in it is not followed."""
    return ContainerTree(paths.base, _below_opt_ml(output["S3Output"]["LocalPath"]), links=False)


def input_folder(given: Mapping[str, Any]) -> str:
    return _below_opt_ml(given["S3Input"]["LocalPath"])


def _below_opt_ml(path: str) -> str:
    return str(PurePosixPath(path).relative_to(OPT_ML))


def exit_message(paths: HostPaths) -> str:
    """The start of what the program has written to /opt/ml/output/message. DataError if that is not UTF-8."""
    data = ContainerTree(paths.base).read_start("output/message", _MESSAGE_BYTES)
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=len(data) < _MESSAGE_BYTES)
    except UnicodeDecodeError as error:
        raise DataError(f"{OPT_ML}/output/message of {paths.name} is not UTF-8: {error.reason}") from None


def make_processing_spec(request: Mapping[str, Any], paths: HostPaths, environment: Mapping[str, str]) -> ContainerSpec:
    """The container of a host."""
    application = request["AppSpecification"]
    return ContainerSpec(
        kind=PROCESSING,
        job=request["ProcessingJobName"],
        host=paths.name,
        image=application["ImageUri"],
        base=paths.base,
        environment=environment,
        entrypoint=application.get("ContainerEntrypoint"),
        arguments=application.get("ContainerArguments", ()),
        folders=outermost(_FOLDERS, local_folders(request)),
        network=not request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
        hosts=paths.hosts,
        instance_type=request["ProcessingResources"]["ClusterConfig"]["InstanceType"],
    )
