"""Which places of jobs a command looks at, and where a job of a name is."""

import os
import shlex
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from local_test.errors import BadRequest
from local_test.places.base import Job, Place, is_name
from local_test.places.folders import open_folders
from local_test.places.service import ServicePlace
from local_test.request.job_kind import KINDS, JobKind

DEFAULT_URL = "http://127.0.0.1:4580"
DEFAULT_OUT = Path("jobs")
_PROBE_SECONDS = 5.0
_LIKELY = 50  # jobs, the newest: one of them may be meant by a name that there is not


@dataclass(frozen=True)
class Where:
    """What the command line says about the place: one of the first three, or none."""

    url: str | None = None
    out: Path | None = None
    aws: bool = False
    region: str | None = None


class Finder:
    """The places where jobs are: the one that is named; else the server of the environment or of this machine, if it
    answers, and the folder `jobs`. AWS is asked only if it is named."""

    def __init__(self, where: Where, warn: Callable[[str], object]) -> None:
        self._where, self._warn = where, warn
        self.places: Sequence[Place] = self._open()

    def _open(self) -> list[Place]:
        where = self._where
        if where.aws:
            return [ServicePlace(None, where.region)]
        if where.url:
            return [ServicePlace(where.url, where.region)]
        if where.out:
            if not where.out.is_dir():
                raise BadRequest(f"There is no such folder of jobs. Received: {where.out}")
            return list(open_folders(where.out, where.region))
        return [*self._find_server(), *open_folders(DEFAULT_OUT, where.region)]

    def _find_server(self) -> list[Place]:
        named = os.environ.get("AWS_ENDPOINT_URL_SAGEMAKER") or os.environ.get("AWS_ENDPOINT_URL")
        url = (named or DEFAULT_URL).rstrip("/")
        if reason := _why_silent(url):
            if named:
                self._warn(f"no server answers at {url}, which AWS_ENDPOINT_URL names: {reason}")
            return []
        return [ServicePlace(url, self._where.region)]

    def __str__(self) -> str:
        return ", ".join(map(str, self.places))

    def newest(self, kinds: Sequence[JobKind], limit: int) -> list[Job]:
        """The newest jobs of all places, the newest first; each once, where it is seen first."""
        found: dict[tuple[str, float], Job] = {}
        for place in self.places:
            for kind in kinds:
                for job in (Job(place, kind, description) for description in place.newest(kind, limit)):
                    known = found.setdefault(job.identity, job)
                    if job.metric and not known.metric:  # a folder has it while the job runs
                        found[job.identity] = replace(known, description=job.description)
        newest = sorted(found.values(), key=lambda job: (job.description["CreationTime"], job.name), reverse=True)
        return newest[:limit]

    def find(self, name: str, kind: JobKind | None, command: str) -> Job:
        """The one job of that name. BadRequest if there is none, or several: then with the command for each."""
        found: dict[tuple[str, float], Job] = {}
        for place in self.places:
            for one in (kind,) if kind else KINDS:
                if (description := place.describe(one, name)) is not None:
                    job = Job(place, one, description)
                    found.setdefault(job.identity, job)
            if found and place.is_first and self._where.out:
                break
        if len(found) > 1:
            several = "; ".join(
                f"{job.kind.noun} in {job.place}: {format_command(job, command, with_kind=True)}"
                for job in found.values()
            )
            raise BadRequest(f"Several jobs have this name. Received: {name}. Say which: {several}")
        if not found:
            what = kind.noun if kind else "job"
            places = "" if self._where.aws else ", --endpoint-url URL, --out DIR or --aws"
            elsewhere = f". Elsewhere: --region REGION{places}"
            if is_name(Path(name).name) and not is_name(name):  # a folder, as a shell completes it
                elsewhere = f". Did you mean {Path(name).name}?"
            elif not self._where.aws and (close := self._close_to(name, (kind,) if kind else KINDS)):
                elsewhere = f". Did you mean {close}? python -m local_test jobs lists them{elsewhere}"
            raise BadRequest(
                f"There is no {what} of this name in {self or 'any folder or server'}. Received: {name}{elsewhere}"
            )
        return next(iter(found.values()))

    def _close_to(self, name: str, kinds: Sequence[JobKind]) -> str | None:
        """The job that somebody may mean: the newest whose name begins so, else one that is spelt nearly so."""
        names = [job.name for job in self.newest(kinds, _LIKELY)]
        close = [one for one in names if one.startswith(name)] or get_close_matches(name, names, 1)
        return close[0] if close else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for place in self.places:
            place.close()


def format_command(job: Job, command: str, *options: str, with_kind: bool = False) -> str:
    """A command on a job, to be copied: with what finds it from here."""
    kind = ["--kind", job.kind.word] if with_kind else []
    return shlex.join(["python", "-m", "local_test", command, job.name, *options, *kind, *job.place.options])


def _why_silent(url: str) -> str:
    """Why nothing answers at the address; nothing if anything does, whatever it is."""
    handlers = [urllib.request.ProxyHandler({})] if urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1") else []
    try:
        urllib.request.build_opener(*handlers).open(f"{url}/health", timeout=_PROBE_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return ""
