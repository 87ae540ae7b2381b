"""What the platform gives a host: channels and their modes, hosts, folders, below the root folder."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from train.errors import TrainingError

OPT_ML = PurePosixPath("/opt/ml")


@dataclass(frozen=True)
class Channel:
    """One entry of inputdataconfig.json. FastFile mode arrives here as File, as on the service."""

    name: str
    mode: str  # "Pipe" or "File"
    data: Path  # /opt/ml/input/data: <name>_<n> are the FIFOs of Pipe mode, <name>/ the folder of File mode
    sharded: bool = False  # ShardedByS3Key: each host has objects of its own; otherwise each has all of them
    attributes: tuple[str, ...] = ()  # of an augmented manifest's lines, each of which is a RecordIO record

    @property
    def folder(self) -> Path:
        return self.data / self.name

    def files(self) -> list[Path]:
        """The files of File mode, sorted. Hidden ones are left out, and what lies in hidden folders: editors and tools
        keep copies there, such as .ipynb_checkpoints/."""
        return sorted(path for path in self.folder.rglob("*") if not self._is_hidden(path) and path.is_file())

    def _is_hidden(self, path: Path) -> bool:
        return any(part.startswith(".") for part in path.relative_to(self.folder).parts)


@dataclass(frozen=True)
class Environment:
    """A host's view of its job."""

    channels: Mapping[str, Channel]
    hyperparameters: Mapping[str, str]
    host: str
    hosts: tuple[str, ...]
    model: Path
    output_data: Path
    checkpoints: Path
    tensorboard: Path | None = None  # where event files are wanted, if they are
    variables: Mapping[str, str] = field(default_factory=dict)  # the container's own
    instance_type: str = ""
    job: str = ""  # its name
    image: str = ""  # as the request names it

    def channel(self, name: str) -> Channel:
        """The channel of that name; TrainingError names those that the job has."""
        if name not in self.channels:
            has = ", ".join(self.channels) or "none"
            raise TrainingError(
                f"The job has no channel {name}. Received: {has}. Add it to InputDataConfig "
                "(locally: python -m local_test train --channel NAME=PATH)."
            )
        return self.channels[name]


def read(root: Path, variables: Mapping[str, str] = os.environ) -> Environment:
    """The environment below `root`, which is /opt/ml on the service and SAGEMAKER_BASE_DIR elsewhere."""
    config = root / "input/config"
    resources, request = _json(config / "resourceconfig.json"), _json(config / "trainingjobconfig.json")
    host = resources.get("current_host", "algo-1")
    return Environment(
        channels=_channels(_json(config / "inputdataconfig.json"), root / "input/data", request),
        hyperparameters=_json(config / "hyperparameters.json"),
        host=host,
        hosts=tuple(sorted(resources.get("hosts", [host]))),
        model=root / "model",
        output_data=root / "output/data",
        checkpoints=_moved(_json(config / "checkpointconfig.json").get("LocalPath") or OPT_ML / "checkpoints", root),
        tensorboard=_tensorboard(request, root),
        variables=dict(variables),
        instance_type=resources.get("current_instance_type", ""),
        job=request.get("TrainingJobName", ""),
        image=request.get("AlgorithmSpecification", {}).get("TrainingImage", ""),
    )


def _channels(config: Mapping[str, Any], data: Path, request: Mapping[str, Any]) -> dict[str, Channel]:
    """Attribute names are in the request's echo alone (trainingjobconfig.json)."""
    sources = {
        channel.get("ChannelName"): channel.get("DataSource", {}).get("S3DataSource", {})
        for channel in request.get("InputDataConfig") or ()
    }
    attributes = {name: tuple(source.get("AttributeNames") or ()) for name, source in sources.items()}
    return {
        name: Channel(
            name,
            channel.get("TrainingInputMode", "File"),
            data,
            channel.get("S3DistributionType") == "ShardedByS3Key",
            attributes.get(name, ()),
        )
        for name, channel in config.items()
    }


def _tensorboard(request: Mapping[str, Any], root: Path) -> Path | None:
    """TensorBoardOutputConfig.LocalPath; without that configuration the service's default, if somebody made it."""
    default = OPT_ML / "output/tensorboard"
    config = request.get("TensorBoardOutputConfig")
    if config:
        return _moved(config.get("LocalPath") or default, root)
    return _moved(default, root) if _moved(default, root).is_dir() else None


def _moved(path: str | PurePosixPath, root: Path) -> Path:
    """A folder of the container; those below /opt/ml move with the root."""
    pure = PurePosixPath(path)
    return root / pure.relative_to(OPT_ML) if pure.is_relative_to(OPT_ML) else Path(pure)


def _json(path: Path) -> dict[str, Any]:
    """The object in `path`; empty where the file is absent (checkpointconfig.json is, without CheckpointConfig)."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise TrainingError(f"{path} is not JSON: {error}. The platform writes it; is /opt/ml mounted whole?") from None
