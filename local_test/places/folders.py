"""Jobs in folders of this machine: those of `train`, each for itself, and those of `tune` and `serve`, below a root.

What a job is, was and prints is in its files, whether the program that runs it lives or not. Only what changes a job
needs that program: it is asked through its mailbox.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from local_test.errors import BadRequest
from local_test.hosts.artifacts import REPORT
from local_test.hosts.report import open_enclosed
from local_test.page.live import Tail
from local_test.places.base import Description, Log, Place, is_name
from local_test.request.job_kind import TRAINING, TUNING, JobKind
from local_test.request.validation import service_model
from local_test.training.job_status import FINAL_STATUSES, PLATFORM
from local_test.training.job_store import is_root, parse
from local_test.training.runtime import last_seen
from local_test.util.arns import DEFAULT_REGION, is_region
from local_test.util.atomic_files import DAMAGE
from local_test.util.console import warn_on_stderr
from local_test.util.mailbox import ask, has_owner
from local_test.util.numbers import number

_ENDED = f"{PLATFORM}: The program that ran the job has ended before it. Start the job again"
_PLATFORM_LOG = "platform"


def open_folders(out: Path, region: str | None = None) -> list["FolderPlace"]:
    """The places of jobs that are in a folder given as --out: of one region, or of all."""
    if is_root(out):
        found = list(_regions(out, out))
    else:
        roots = sorted(path for path in out.iterdir() if is_root(path)) if out.is_dir() else []
        found = [FolderPlace(out, out), *(place for root in roots for place in _regions(root, out))]
    return [place for place in found if region in (None, place.region) or not place.root]


def _regions(root: Path, out: Path) -> Iterator["FolderPlace"]:
    yield FolderPlace(root, out, root)
    for folder in sorted((root / "regions").glob("*")):
        if is_region(folder.name):
            yield FolderPlace(folder, out, root, folder.name)


class FolderPlace(Place):
    """Jobs of `train` in folders of their names; below the `root` of a `tune` or a `serve`, of one region, a folder for
    each kind. `out` is what a person names it by."""

    def __init__(self, folder: Path, out: Path, root: Path | None = None, region: str = DEFAULT_REGION) -> None:
        self._folder, self.root, self.region, self.is_first = folder, root, region, not root
        self.label = f"folder {folder}"
        several = root and (root / "regions").is_dir()
        self.options = ["--out", str(root or out), *(["--region", region] if several else [])]

    def _jobs(self, kind: JobKind) -> Path | None:
        if self.root:
            return self._folder / kind.word
        return self._folder if kind is TRAINING else None

    def newest(self, kind: JobKind, limit: int) -> Sequence[Description]:
        jobs = self._jobs(kind)
        paths = jobs.glob("[!.]*/describe.json") if jobs else ()
        found = [description for path in paths if (description := self._read(kind, path.parent.name))]
        return sorted(found, key=lambda job: (job["CreationTime"], kind.name_of(job)), reverse=True)[:limit]

    def describe(self, kind: JobKind, name: str) -> Description | None:
        return self._read(kind, name)

    def _read(self, kind: JobKind, name: str) -> dict[str, Any] | None:
        jobs = self._jobs(kind)
        if not jobs or not is_name(name):
            return None
        path = jobs / name / "describe.json"
        if not path.is_file():  # nor is a FIFO waited for
            return None
        try:
            shape = service_model().operation_model(f"Describe{kind.name}").output_shape
            description = parse(json.loads(path.read_text()), shape)
            if kind.name_of(description) != name:
                raise ValueError(f"it is another job's: {kind.name_of(description)}")
            shown = {key: value for key, value in description.items() if key in shape.members}
            return self._complete(kind, shown, path.parent)
        except FileNotFoundError:
            return None
        except DAMAGE as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            warn_on_stderr(f"{path} can't be read, so it is left out: {reason}")
            return None

    def _complete(self, kind: JobKind, description: dict[str, Any], folder: Path) -> dict[str, Any]:
        """With what its program would have added: metrics so far, and an end where it was killed."""
        if kind.status_of(description) in FINAL_STATUSES:
            return description
        if has_owner(self.root or folder) is False:
            at = last_seen(folder) or description["LastModifiedTime"]
            ended = {f"{kind.name}Status": "Failed", "FailureReason": _ENDED, "LastModifiedTime": at}
            return {
                **description,
                **ended,
                **({"SecondaryStatus": "Failed"} if "SecondaryStatus" in description else {}),
            }
        if kind is TRAINING and (metrics := _read_metrics(folder / "metrics.csv")):
            return {**description, "FinalMetricDataList": metrics}
        return description

    def children(self, name: str) -> Sequence[Description]:
        shape = service_model().operation_model("ListTrainingJobsForHyperParameterTuningJob").output_shape
        path = self._folder / TUNING.word / name / "training_jobs.json"
        try:
            return parse(json.loads(path.read_text()), shape.members["TrainingJobSummaries"])
        except DAMAGE as error:
            raise BadRequest(f"{path} can't be read: {error}") from None

    def stop(self, kind: JobKind, name: str) -> None:
        self._ask(f"Stop{kind.name}", kind, name)

    def interrupt(self, name: str) -> None:
        self._ask("InterruptTrainingJob", TRAINING, name)

    def _ask(self, operation: str, kind: JobKind, name: str) -> None:
        jobs = self._jobs(kind)
        assert jobs
        folder = self.root or jobs / name
        try:
            answer = ask(folder, {"operation": operation, "name": name, "region": self.region})
        except ProcessLookupError:
            raise BadRequest(f"No program runs this job any more. Received: {name}, see {jobs / name}") from None
        except TimeoutError:
            raise BadRequest(f"The program that runs this job does not answer. Received: {name}") from None
        except OSError as error:
            raise BadRequest(f"The program that runs this job can't be asked: {error}. Received: {name}") from None
        if answer.get("error"):
            raise BadRequest(answer["error"])

    def log(self, kind: JobKind, description: Description) -> Log:
        jobs = self._jobs(kind)
        assert jobs
        return FolderLog(jobs / kind.name_of(description) / "logs")

    def report(self, description: Description) -> bytes | None:
        with suppress(FileNotFoundError):
            page = self.report_path(TRAINING, description).read_bytes()
            return open_enclosed(page) or page
        return None

    def report_path(self, kind: JobKind, description: Description) -> Path:
        jobs = self._jobs(kind)
        assert jobs
        return jobs / kind.name_of(description) / REPORT


class FolderLog:
    """logs/*.log of a job's folder, also while they grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails: dict[str, Tail] = {}

    def read(self) -> Iterator[tuple[str, str]]:
        for path in sorted(self._folder.glob("*.log"), key=_host_number):
            tail = self._tails.setdefault(path.stem, Tail(path))
            while lines := tail.read():
                # a note of the platform's begins with its time
                without_time = path.stem == _PLATFORM_LOG
                yield from ((path.stem, line.partition(" ")[2] if without_time else line) for line in lines)


def _host_number(path: Path) -> tuple[int, str]:
    """algo-2 comes before algo-10."""
    tail = path.stem.rpartition("-")[2]
    return int(tail) if tail.isdecimal() else 0, path.stem


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    """The last value of every metric, as FinalMetricDataList."""
    found: dict[str, dict[str, Any]] = {}
    with suppress(OSError, csv.Error, ValueError), path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            value = number(row[2]) if len(row) == 4 else None
            if value is not None and value - value == 0:  # neither NaN nor infinite, nor the header
                found[row[1]] = {"MetricName": row[1], "Value": value, "Timestamp": datetime.fromisoformat(row[0])}
    return list(found.values())
