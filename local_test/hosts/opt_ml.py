"""A request → the /opt/ml tree of a host: folders, the files of input/config, the objects of File channels.

Names, members, their order and the compact JSON are those of files captured from real jobs.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from local_test.data.channels import Channel
from local_test.data.object_store import CHUNK_BYTES, ObjectStore, StoredObject, split_s3
from local_test.errors import BadRequest, DataError
from local_test.hosts.container_tree import ContainerTree
from local_test.runners.base import OPT_ML

# as the service's listings show them
_FOLDERS = ("model", "output/data", "output/metrics/sagemaker", "output/profiler", "input/data", "input/config", "code")
_FICLONE = 0x40049409  # of linux/fs.h: one file becomes a copy of another that shares its blocks
GROUP = "homogeneousCluster"
_ENUMS = {
    "S3Prefix": "S3_PREFIX",
    "ManifestFile": "MANIFEST_FILE",
    "AugmentedManifestFile": "AUGMENTED_MANIFEST_FILE",
    "FullyReplicated": "FULLY_REPLICATED",
    "ShardedByS3Key": "SHARDED_BY_S3_KEY",
    "Pipe": "PIPE",
    "File": "FILE",
    "FastFile": "FASTFILE",
    "None": "NONE",
    "Gzip": "GZIP",
    "RecordIO": "RECORDIO",
}
# members of trainingjobconfig.json whose values are written in the inner form
_INNER = ("S3DataType", "S3DataDistributionType", "CompressionType", "RecordWrapperType")
# its members' order, as captured, and those whose own members are in the order of their names
_JOB_CONFIG = (
    *("EnableInterContainerTrafficEncryption", "EnableNetworkIsolation", "EnableManagedSpotTraining"),
    *("HyperParameters", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "RoleArn", "Tags", "BaseTags"),
    *("TrainingJobName", "StoppingCondition", "AlgorithmSpecification", "TrainingJobArn", "DebugHookConfig"),
    "CheckpointConfig",
)
_BY_NAME = ("AlgorithmSpecification", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
_CHECKPOINTS = OPT_ML / "checkpoints"


@dataclass(frozen=True)
class HostPaths:
    """One host's place in its job; `base` is the folder that the container sees as /opt/ml."""

    base: Path
    name: str = "algo-1"
    hosts: tuple[str, ...] = ("algo-1",)

    @property
    def model(self) -> ContainerTree:
        return ContainerTree(self.base, "model")

    @property
    def output_data(self) -> ContainerTree:
        return ContainerTree(self.base, "output/data")

    @property
    def input_data(self) -> Path:
        return self.base / "input/data"

    def locate(self, path: str) -> ContainerTree | None:
        """Where a folder of the container lies on this machine, None if it is not below /opt/ml."""
        pure = PurePosixPath(path)
        return ContainerTree(self.base, str(pure.relative_to(OPT_ML))) if pure.is_relative_to(OPT_ML) else None


def checkpoint_path(request: Mapping[str, Any]) -> str | None:
    """CheckpointConfig.LocalPath with the service's default, None without CheckpointConfig."""
    return _local_path(request, "CheckpointConfig", _CHECKPOINTS)


def tensorboard_path(request: Mapping[str, Any]) -> str | None:
    """TensorBoardOutputConfig.LocalPath with the service's default, None without TensorBoardOutputConfig."""
    return _local_path(request, "TensorBoardOutputConfig", OPT_ML / "output/tensorboard")


def _local_path(request: Mapping[str, Any], config: str, default: PurePosixPath) -> str | None:
    """BadRequest for a path that is no folder of the program's own: `..` leads out of /opt/ml on this machine."""
    if not request.get(config):
        return None
    text: str = request[config].get("LocalPath", str(default))
    path = PurePosixPath(text)
    own = path.is_absolute() and path not in (PurePosixPath("/"), OPT_ML) and not path.is_relative_to(OPT_ML / "input")
    if not own or ".." in path.parts or "\0" in text or text.startswith("//"):  # which POSIX keeps apart
        raise BadRequest(
            f"{config}.LocalPath must be the absolute path of a folder, without .., outside of {OPT_ML}/input. "
            f"Received: {text!r}"
        )
    return text


def make_folders(host: HostPaths, request: Mapping[str, Any]) -> None:
    """The folders of a host, empty. Out of reach for other users: a container's root may leave setuid files there."""
    host.base.parent.mkdir(0o700, parents=True, exist_ok=True)
    for name in _FOLDERS:
        (host.base / name).mkdir(parents=True)
    for local_path in filter(None, (checkpoint_path(request), tensorboard_path(request))):
        if inside := host.locate(local_path):
            inside.path.mkdir(parents=True, exist_ok=True)


def write_config(
    host: HostPaths, request: Mapping[str, Any], channels: Sequence[Channel], arn: str, run: int = 1
) -> None:
    """input/config: the files a container reads, and those it was seen with. `run` counts starts of the job."""
    write_files(host.base / "input/config", config_files(host, request, channels, arn, run))


def write_files(folder: Path, files: Mapping[str, Any]) -> None:
    """Compact JSON, as the service writes it: name → content."""
    for name, value in files.items():
        (folder / name).write_text(_compact(value))


def config_files(
    host: HostPaths, request: Mapping[str, Any], channels: Sequence[Channel], arn: str, run: int = 1
) -> dict[str, Any]:
    """Name → content of every file in input/config."""
    files = {
        "hyperparameters.json": request.get("HyperParameters", {}),
        "inputdataconfig.json": {channel.name: _input_data(channel) for channel in channels},
        "resourceconfig.json": _resources(host, request["ResourceConfig"]),
        "init-config.json": _init_config(host, request, channels, run),
        "metric-definition-regex.json": request["AlgorithmSpecification"].get("MetricDefinitions", []),
        "upstreamoutputdataconfig.json": [],
        "trainingjobconfig.json": _job_config(request, arn),
    }
    if local_path := checkpoint_path(request):
        files["checkpointconfig.json"] = {"LocalPath": local_path}
    if local_path := tensorboard_path(request):
        place = request["TensorBoardOutputConfig"]["S3OutputPath"]
        files["tensorboardoutputconfig.json"] = {"S3OutputPath": place, "LocalPath": local_path}
    return files


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _input_data(channel: Channel) -> dict[str, str]:
    """FastFile shows as File; ContentType appears only if it was set."""
    return {
        **({"ContentType": channel.content_type} if channel.content_type else {}),
        "TrainingInputMode": "Pipe" if channel.mode == "Pipe" else "File",
        "S3DistributionType": channel.distribution,
        "RecordWrapperType": channel.record_wrapper,
    }


def _resources(host: HostPaths, resources: Mapping[str, Any]) -> dict[str, Any]:
    hosts, instance_type = sorted(host.hosts), resources["InstanceType"]
    group = (resources.get("InstanceGroups") or [{}])[0].get("InstanceGroupName", GROUP)
    return {
        "current_host": host.name,
        "current_instance_type": instance_type,
        "current_group_name": group,
        "hosts": hosts,
        "instance_groups": [{"instance_group_name": group, "instance_type": instance_type, "hosts": hosts}],
        "network_interface_name": "eth0",
    }


def _init_config(host: HostPaths, request: Mapping[str, Any], channels: Sequence[Channel], run: int) -> dict[str, Any]:
    mode = request["AlgorithmSpecification"]["TrainingInputMode"]
    return {
        "inputMode": _ENUMS[mode],
        "channels": {channel.name: _init_channel(channel) for channel in channels},
        "checkpointChannel": _checkpoint_channel(request),
        "hostConfig": {"clusterSize": len(host.hosts), "hostNumber": host.hosts.index(host.name) + 1},
        "enableAdditionalPlatformLoggingForCustomer": False,
        "jobRunInfo": {"jobRunNumber": run},
    }


def _init_channel(channel: Channel) -> dict[str, Any]:
    return {
        "s3DataSource": {
            "s3DataType": _ENUMS[channel.data_type],
            "s3Uri": channel.uri,
            "s3DataDistributionType": _ENUMS[channel.distribution],
            "attributeNames": list(channel.attributes) or None,
        },
        "fileSystemDataSource": None,
        "compressionType": _ENUMS[channel.compression],
        "recordWrapper": _ENUMS[channel.record_wrapper],
        "shuffleConfig": None if channel.shuffle_seed is None else {"seed": channel.shuffle_seed},
        "inputMode": _ENUMS[channel.mode],
        "sharded": channel.distribution == "ShardedByS3Key",
    }


def _checkpoint_channel(request: Mapping[str, Any]) -> dict[str, Any] | None:
    config = request.get("CheckpointConfig")
    if not config:
        return None
    channel = _init_channel(Channel("checkpoints", "File", config["S3Uri"], ()))
    channel["s3DataSource"]["s3DataDistributionType"] = None
    return {
        "name": "checkpoints",
        "channel": {**channel, "compressionType": None, "recordWrapper": None},
        "outputPath": str(_CHECKPOINTS),  # whatever the LocalPath, which checkpointconfig.json has
        "allowEmpty": True,
    }


def _job_config(request: Mapping[str, Any], arn: str) -> Any:
    """The request with the service's defaults, members in the order of a captured file, those it does not have last."""
    members = {
        "EnableInterContainerTrafficEncryption": False,
        "EnableNetworkIsolation": False,
        "EnableManagedSpotTraining": False,
        "HyperParameters": {},
        **request,
        "InputDataConfig": [_channel_config(channel) for channel in request.get("InputDataConfig", [])],
        "OutputDataConfig": {"KmsKeyId": "", **request["OutputDataConfig"]},
        "TrainingJobArn": arn,
    }
    if "Tags" in request:
        members["BaseTags"] = request["Tags"]
    if local_path := checkpoint_path(request):
        members["CheckpointConfig"] = {**request["CheckpointConfig"], "LocalPath": local_path}
    for name in filter(members.__contains__, _BY_NAME):
        members[name] = dict(sorted(members[name].items()))
    return _inner(_order(members, _JOB_CONFIG))


def _channel_config(given: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of InputDataConfig with its defaults."""
    source = {"S3DataDistributionType": "FullyReplicated"} | given["DataSource"]["S3DataSource"]
    source = _order(source, ("S3DataType", "S3Uri", "S3DataDistributionType"))
    channel = {"CompressionType": "None", "RecordWrapperType": "None", **given, "DataSource": {"S3DataSource": source}}
    return _order(channel, ("ChannelName", "DataSource", "CompressionType", "RecordWrapperType"))


def _order(members: Mapping[str, Any], first: Sequence[str]) -> dict[str, Any]:
    """The members of `first` that are there, in that order, then the others."""
    return {name: members[name] for name in (*first, *members) if name in members}


def _inner(value: Any, name: str = "") -> Any:
    """The request with the enums of the data source in the form that the platform's own files use."""
    if isinstance(value, Mapping):
        return {key: _inner(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_inner(item) for item in value]
    return _ENUMS.get(value, value) if name in _INNER and isinstance(value, str) else value


def fetch_channel(host: HostPaths, channel: Channel, storage: ObjectStore, check: Callable[[], None]) -> None:
    """File mode: every object below input/data/<channel>/, and <channel>-manifest."""
    folder = host.input_data / channel.name
    folder.mkdir()
    fetch_objects(folder, f"channel {channel.name}", channel, storage, check)
    write_manifest(host, channel.name, channel.uri, channel.objects)  # all hosts' objects, as the service lists them


def fetch_objects(folder: Path, what: str, channel: Channel, storage: ObjectStore, check: Callable[[], None]) -> None:
    """The host's objects of a channel below a folder. `check` is called between objects and raises to end the work.
    Local files are copied, where the file system allows without their blocks: as on the service a program may change
    what it gets, and the originals stay as they are. DataError names `what`.
    """
    for item in channel.local_objects:
        check()
        try:
            _fetch(item, folder / item.name, storage)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise DataError(
                f"{what}: a file and a folder, or two files, would have the same name. Received: "
                f"{item.uri}. Expected: no other object called {item.name}, or with that as its folder"
            ) from None


def write_manifest(host: HostPaths, name: str, uri: str, objects: Sequence[StoredObject]) -> None:
    """<channel>-manifest: the prefix's key, then a URI a line."""
    key = split_s3(uri)[1] if uri.startswith("s3://") else uri.removeprefix("file:///")
    lines = [key, *(item.uri for item in objects)]
    (host.input_data / f"{name}-manifest").write_text("".join(f"{line}\n" for line in lines))


def _fetch(item: StoredObject, target: Path, storage: ObjectStore) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not item.path:
        storage.download(item, target)
        return
    with item.path.open("rb") as source, target.open("xb") as copy:
        with suppress(OSError):  # a file system that shares blocks until one side writes
            fcntl.ioctl(copy.fileno(), _FICLONE, source.fileno())
            return
        shutil.copyfileobj(source, copy, CHUNK_BYTES)
