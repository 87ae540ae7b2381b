"""Jobs on disk: a folder each below the root, so that a restart of the server loses none.

What a job is lies in its folder's describe.json, which a job writes whole at every step of its life. One server a root.
"""

import fcntl
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.model import Shape

from local_test.errors import BadRequest
from local_test.request.job_kind import PROCESSING, TRAINING, JobKind
from local_test.request.validation import service_model
from local_test.util.arns import DEFAULT_REGION, is_region
from local_test.util.atomic_files import DAMAGE, remove_tree, write_json
from local_test.util.console import warn_on_stderr
from local_test.util.late_writes import LateWrites

Tag = Mapping[str, str]
PIPELINE_TAG = "sagemaker:pipeline-execution-arn"  # the service gives it to what a pipeline's execution creates
_DELETED = ".deleted-"  # no job's name begins with a dot
_DAMAGED = ".damaged-"
_ARNS = ("TrainingJobArn", "HyperParameterTuningJobArn", "ExperimentArn", "TrialArn", "TrialComponentArn")
_KINDS = ("experiment", "trial", "trial-component")
_MARKER = ".local-test"  # says that this program made the root
_FIRST = {"logs", "request.json", "training_jobs.json"}  # what a job's folder has before it has a describe.json


class JobFolders:
    """The folders of a region's jobs of one kind, below `path`."""

    def __init__(self, kind: JobKind, path: Path, late: LateWrites) -> None:
        self.kind, self.path, self._late = kind, path, late
        path.mkdir(parents=True, exist_ok=True)

    def load(self) -> Iterator[dict[str, Any]]:
        """Every job's description, times as datetimes."""
        return load(self.path, f"Describe{self.kind.name}")

    def folder(self, name: str) -> Path:
        return self.path / name

    def request(self, name: str) -> dict[str, Any]:
        """The request of a job in its normal form. OSError or ValueError if it can't be read."""
        return json.loads((self.folder(name) / "request.json").read_text())

    def save(self, description: Mapping[str, Any]) -> None:
        """Writes the description of a job that nothing runs any more."""
        self._late.write(self.folder(self.kind.name_of(description)) / "describe.json", description)

    def remove(self, name: str) -> None:
        self._late.drop(self.folder(name))
        remove(self.folder(name))

    def remove_trees(self, name: str) -> None:
        """Removes the /opt/ml that hosts of an earlier program have left."""
        for tree in self.folder(name).glob("algo-*"):
            remove_tree(tree)


class RegionStore:
    """What is kept of one region, below one folder."""

    def __init__(self, folder: Path, late: LateWrites) -> None:
        self.late = late
        self.training, self.processing = (JobFolders(kind, folder / kind.word, late) for kind in (TRAINING, PROCESSING))
        self.tuning, self.experiments, self.pipelines = folder / "tuning", folder / "experiments", folder / "pipelines"
        self.executions = folder / "executions"
        self.tuning.mkdir(exist_ok=True)


class JobStore(RegionStore):
    """The folder `root`, locked until `close`. BadRequest if it can't be used.

    What is the default region's lies in the folder itself, what is another's in `regions/<region>`.
    """

    def __init__(self, root: Path) -> None:
        top = Path(os.path.abspath(root))  # noqa: PTH100 - links stay
        self.s3, self.stored, self._regions = top / "s3", top / "stored.jsonl", top / "regions"
        try:
            _check_own(top)
            super().__init__(top, LateWrites())
            (top / _MARKER).touch()
            self._lock = (top / ".lock").open("w")
        except OSError as error:
            raise BadRequest(f"The folder of jobs can't be used: {error.strerror}. Received: {root}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise BadRequest(f"Another program keeps its jobs there. Received: {root}. Name another folder") from None
        for folder in (self.training.path, self.tuning, *(self.experiments / kind for kind in _KINDS)):
            self._move_to_regions(folder)

    def close(self) -> None:
        self.late.close()
        self._lock.close()

    def regions(self) -> list[str]:
        """Those of which something is kept."""
        return [DEFAULT_REGION, *(path.name for path in sorted(self._regions.glob("*")) if is_region(path.name))]

    def region(self, name: str) -> RegionStore:
        """BadRequest for what is no region's name."""
        if not is_region(name):
            raise BadRequest(f"It is no name of a region. Received: {name[:64]!r}")
        return self if name == DEFAULT_REGION else RegionStore(self._regions / name, self.late)

    def _move_to_regions(self, folder: Path) -> None:
        """An earlier version kept the entities of all regions in one folder."""
        for path in sorted(folder.iterdir()) if folder.exists() else ():
            with suppress(*DAMAGE, StopIteration):  # damaged: it stays
                description = json.loads((path / "describe.json").read_text())
                region = description[next(name for name in _ARNS if name in description)].split(":")[3]
                if region != DEFAULT_REGION and is_region(region):
                    place = self._regions / region / path.relative_to(self.tuning.parent)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    path.rename(place)


def is_root(folder: Path) -> bool:
    """Whether jobs are kept below it, as `serve` and `tune` do."""
    return (folder / _MARKER).is_file()


def _check_own(root: Path) -> None:
    """BadRequest for a folder with files of somebody else's: what lies in a root may be removed by a later start.

    An earlier version left no marker, but its lock.
    """
    names = {path.name for path in root.iterdir()} if root.exists() else set()
    made_here = names <= {".lock", "training", "tuning", "experiments", "s3", ".s3.old", ".s3.new"} and ".lock" in names
    if names and _MARKER not in names and not made_here:
        raise BadRequest(
            f"The folder of jobs must be new or empty, or one that serve or tune has made. Received: {root}, which has "
            f"{min(names)}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        )


def goes_on(folder: Path) -> bool:
    """Whether the job of the folder, which a server has left before its end, goes on with the next one: a pipeline's
    execution waits for it. Other jobs have failed."""
    with suppress(*DAMAGE):
        return is_of_pipeline(json.loads((folder / "request.json").read_text()))
    return False


def is_of_pipeline(request: Mapping[str, Any]) -> bool:
    """Whether the request was made by a step of a pipeline's execution."""
    return any(tag["Key"] == PIPELINE_TAG for tag in request.get("Tags", []))


def load(folder: Path, operation: str, warn: Callable[[str], object] = warn_on_stderr) -> Iterator[dict[str, Any]]:
    """The descriptions below a folder, by the output of the operation that shows them.

    What was being deleted, or was cut off before it was accepted, is removed for good. What can't be read, or names
    another folder than its own, is put aside under another name, and `warn` is told.
    """
    shape = service_model().operation_model(operation).output_shape
    for path in sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()):
        if path.name.startswith(_DELETED) or _was_cut_off(path):
            remove_tree(path)
        elif not path.name.startswith(_DAMAGED):
            try:
                description = parse(json.loads((path / "describe.json").read_text()), shape)
                if path.name not in description.values():
                    raise ValueError(f"it does not name {path.name}")
            except DAMAGE as error:
                put_aside(path, error, warn)
            else:
                yield description


def _was_cut_off(path: Path) -> bool:
    """Whether it is what a job's creation leaves that did not come to its end, and nothing else."""
    return {below.name for below in path.iterdir() if not below.name.endswith(".part")} <= _FIRST


def put_aside(path: Path, error: Exception, warn: Callable[[str], object] = warn_on_stderr) -> None:
    """Under a name that no later start reads."""
    aside = path.with_name(f"{_DAMAGED}{path.name}")
    for number in itertools.count(1):
        if not aside.exists():
            break
        aside = path.with_name(f"{_DAMAGED}{path.name}-{number}")
    path.rename(aside)
    warn(f"{path} can't be read, so it is left out: {error}. It is kept as {aside}")


def remove(folder: Path) -> None:
    """Deletes the folder. It is renamed first, so that half of it is never taken for a job."""
    deleted = folder.with_name(f"{_DELETED}{folder.name}")
    folder.rename(deleted)
    remove_tree(deleted)


def read_tags(folder: Path) -> list[dict[str, str]]:
    """Of a job, as they are now; those of the request until they were changed. None where neither can be read."""
    with suppress(*DAMAGE):
        return [{"Key": tag["Key"], "Value": tag["Value"]} for tag in json.loads((folder / "tags.json").read_text())]
    with suppress(*DAMAGE):
        return list(json.loads((folder / "request.json").read_text()).get("Tags", []))
    return []


def change_tags(folder: Path, change: Callable[[list[Tag]], list[Tag]]) -> list[Tag]:
    """The tags after `change`, which gets those before."""
    before = read_tags(folder)
    after = change(list(before))
    if after != before:
        write_json(folder / "tags.json", after)
    return after


def parse(value: Any, shape: Shape) -> Any:
    """What atomic_files.write_json wrote, with the times of the shape as datetimes again."""
    if shape.type_name == "timestamp":
        return datetime.fromisoformat(value)
    if shape.type_name == "list":
        return [parse(item, shape.member) for item in value]
    if shape.type_name == "structure":
        return {
            name: parse(item, shape.members[name]) if name in shape.members else item for name, item in value.items()
        }
    return value
