"""One host of a job: its /opt/ml, its channels and FIFOs, its checkpoints, what its container is started with."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from local_test.data.channels import Channel
from local_test.data.fifo_feeder import Feeder, FeedProgress
from local_test.data.object_store import ObjectStore, join_uri
from local_test.hosts.checkpoint_sync import CheckpointSync
from local_test.hosts.container_tree import ContainerTree
from local_test.hosts.opt_ml import (
    HostPaths,
    checkpoint_path,
    fetch_channel,
    make_folders,
    tensorboard_path,
    write_config,
    write_manifest,
)
from local_test.runners.base import OPT_ML, ContainerSpec

_FAILURE_BYTES = 4 * 1024  # of which the service shows 1024 characters


@dataclass(frozen=True)
class Host:
    """A host with its container's specification and its part of every channel."""

    paths: HostPaths
    spec: ContainerSpec
    channels: Sequence[Channel]

    def prepare(
        self, request: Mapping[str, Any], arn: str, run: int, storage: ObjectStore, check: Callable[[], None]
    ) -> None:
        """The tree of /opt/ml as the container finds it. `run` counts starts from 1; `check` raises to end the work."""
        make_folders(self.paths, request)
        write_config(self.paths, request, self.channels, arn, run)
        for channel in self.channels:
            if channel.mode != "Pipe":
                fetch_channel(self.paths, channel, storage, check)

    def restore_checkpoints(
        self,
        request: Mapping[str, Any],
        storage: ObjectStore,
        check: Callable[[], None],
        on_problem: Callable[[Exception], None],
    ) -> tuple[CheckpointSync, int]:
        """(what keeps the checkpoints, files restored). Call it for a request with a CheckpointConfig."""
        tree = self._make_folder(checkpoint_path(request) or "")
        uri = request["CheckpointConfig"]["S3Uri"]
        checkpoints = CheckpointSync(tree, uri, storage, on_problem)
        restored = checkpoints.restore(check)
        write_manifest(self.paths, "checkpoints", uri, restored)
        return checkpoints, len(restored)

    def keep_checkpoints(
        self, request: Mapping[str, Any], storage: ObjectStore, on_problem: Callable[[Exception], None]
    ) -> None:
        """Copies up what a server that was killed has left of the host's checkpoints. DataError or OSError if that
        fails."""
        path = checkpoint_path(request)
        if path and self.paths.base.is_dir():
            CheckpointSync(self._find_folder(path), request["CheckpointConfig"]["S3Uri"], storage, on_problem).copy()

    def sync_tensorboard(
        self, request: Mapping[str, Any], storage: ObjectStore, on_problem: Callable[[Exception], None]
    ) -> CheckpointSync:
        """What copies TensorBoard's events up, as checkpoints are. Call it for a request with TensorBoardOutputConfig.

        To `<S3OutputPath>/<job>/tensorboard-output`: there SDK v2 looks (latest_job_tensorboard_artifacts_path).
        """
        tree = self._make_folder(tensorboard_path(request) or "")
        uri = join_uri(request["TensorBoardOutputConfig"]["S3OutputPath"], request["TrainingJobName"])
        return CheckpointSync(tree, join_uri(uri, "tensorboard-output"), storage, on_problem)

    def _make_folder(self, path: str) -> ContainerTree:
        """A folder of the container, before that runs."""
        tree = self._find_folder(path)
        tree.path.mkdir(parents=True, exist_ok=True)
        return tree

    def _find_folder(self, path: str) -> ContainerTree:
        """In /opt/ml, or mounted."""
        mounted = (ContainerTree(here) for here, inside in self.spec.mounts.items() if inside == path)
        return self.paths.locate(path) or next(mounted)

    def start_feeders(
        self,
        stack: ExitStack,
        storage: ObjectStore,
        on_feed: Callable[[FeedProgress], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """One for every Pipe channel, stopped when the stack is left. DataError if a FIFO can't be made."""
        for channel in self.channels:
            if channel.mode == "Pipe":
                feeder = Feeder(
                    self.paths.input_data / channel.name,
                    partial(channel.contents, storage=storage),
                    on_feed,
                    on_error,
                )
                stack.callback(feeder.stop)
                feeder.start()

    def failure_text(self) -> str:
        """The start of what the program has written to /opt/ml/output/failure."""
        return ContainerTree(self.paths.base).read_start("output/failure", _FAILURE_BYTES).decode(errors="replace")


def make_paths(count: int, folder: Path) -> list[HostPaths]:
    """algo-1 … algo-<count>, each with its tree below the job's folder."""
    names = tuple(f"algo-{n}" for n in range(1, count + 1))
    root = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay
    return [HostPaths(root / name / "opt/ml", name, names) for name in names]


def make_spec(request: Mapping[str, Any], paths: HostPaths, environment: Mapping[str, str]) -> ContainerSpec:
    """The container of a host."""
    algorithm = request["AlgorithmSpecification"]
    local = {"checkpoints": checkpoint_path(request), "tensorboard": tensorboard_path(request)}
    outside = {paths.base.parent / name: path for name, path in local.items() if path and paths.locate(path) is None}
    return ContainerSpec(
        job=request["TrainingJobName"],
        host=paths.name,
        image=algorithm.get("TrainingImage", ""),
        base=paths.base,
        environment=environment,
        entrypoint=algorithm.get("ContainerEntrypoint"),
        arguments=algorithm.get("ContainerArguments", () if "ContainerEntrypoint" in algorithm else ("train",)),
        folders=outermost(
            ContainerSpec.folders,
            (str(PurePosixPath(path).relative_to(OPT_ML)) for path in local.values() if path and paths.locate(path)),
        ),
        mounts=outside,
        network=not request.get("EnableNetworkIsolation", False),
        hosts=paths.hosts,
        instance_type=request["ResourceConfig"]["InstanceType"],
    )


def outermost(own: Sequence[str], more: Iterable[str]) -> list[str]:
    """The folders below /opt/ml that are the platform's: those of every container, and others outside of these.

    One by one, as on the service: what else the image has there, such as /opt/ml/code, is its own.
    """
    folders = list(own)
    for path in sorted(map(PurePosixPath, more), key=lambda path: len(path.parts)):
        if not any(path.is_relative_to(folder) for folder in folders):
            folders.append(str(path))
    return folders
