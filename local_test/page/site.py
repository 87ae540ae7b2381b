"""The page's addresses, in front of the API at the same port.

`/`, `/training-jobs/NAME`, `/tuning-jobs/NAME`, `/pipelines/NAME`, … are the page itself, which can be bookmarked and
sent; `?region=NAME` is added for another region than the home one. What it loads is below `/.page/`, a name that no
bucket of S3 can have. `/health` is 200 once the server is ready. Everything else is the API's.
"""

import json
import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from local_test.errors import LocalTestError
from local_test.hosts.artifacts import REPORT
from local_test.page.live import Event, JobTail, Rows, follow
from local_test.tuning.html_report import page as tuning_report
from local_test.util.atomic_files import as_json

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_STATIC = Path(__file__).parent / "static"
_ARTIFACTS = ("model.tar.gz", "output.tar.gz")
# Whatever a job says is text to the page; this holds also if the page should ever be wrong about that
_OWN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; frame-ancestors 'none'"
)
# a report, or an object of S3, is a job's own HTML: shown, but without scripts, requests or this origin's rights
STRANGERS = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_VIEWS = ("training-jobs", "tuning-jobs", "processing-jobs", "pipelines", "experiments")
BELOW = "/.page/"
_JOB = "/.page/<any('training-jobs', 'processing-jobs'):kind>"
_URLS = Map(
    [
        Rule("/", endpoint="document"),
        *(Rule(f"/{kind}{name}", endpoint="document") for kind in _VIEWS for name in ("", "/<name>")),
        Rule("/pipelines/<name>/<execution>", endpoint="document"),
        Rule("/health", endpoint="health"),
        Rule("/.page/feed", endpoint="feed"),
        Rule(f"{_JOB}/<name>", endpoint="describe"),
        Rule(f"{_JOB}/<name>/<any('model.tar.gz', 'output.tar.gz'):file>", endpoint="artifact"),
        Rule(f"{_JOB}/<name>/report.html", endpoint="report"),
        Rule("/.page/tuning-jobs", endpoint="tuning_jobs"),
        Rule("/.page/tuning-jobs/<name>/report.html", endpoint="tuning_report"),
        Rule("/.page/<file>", endpoint="static"),
    ],
    strict_slashes=False,
)


class Jobs(Protocol):
    """All jobs of one kind; BadRequest for the name of none."""

    def describe(self, name: str) -> dict[str, Any]: ...

    def all(self) -> list[dict[str, Any]]: ...


class TuningJobs(Jobs, Protocol):
    def children(self, name: str) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class JobSet:
    """The jobs of one kind that have logs, and where each keeps its files."""

    jobs: Jobs
    folder: Callable[[str], Path]

    def find(self, name: str) -> Path:
        """The folder of a job that there is: no other name gets as far as the file system."""
        self.jobs.describe(name)
        return self.folder(name)


class Region(Protocol):
    """What is shown of one region."""

    @property
    def tuning_jobs(self) -> TuningJobs: ...

    def job_sets(self) -> Mapping[str, JobSet]:
        """training-jobs, and processing-jobs where there can be any."""


class Site:
    """WSGI middleware: answers a browser's GET for the page, and leaves all other requests to `application`.
    `regions`: those that are shown, by name, as of now; the first one if an address names none. `is_ready`: whether
    the server has what an earlier one has kept."""

    def __init__(
        self,
        application: Wsgi,
        regions: Callable[[], Mapping[str, Region]],
        is_ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._application, self._regions, self._is_ready = application, regions, is_ready
        self._rows: dict[tuple[str, str], Rows] = {}  # (region, kind of jobs) → those

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request = Request(environ)
        if not _is_for_page(request):
            return self._application(environ, start_response)
        try:
            endpoint, values = _URLS.bind_to_environ(environ).match()
            response = getattr(self, f"_{endpoint}")(request, **values)
        except HTTPException as error:
            response = Response(f"{error.code} {error.name}\n", error.code)
        except LocalTestError as error:
            response = Response(f"{error}\n", 404)
        response.headers.setdefault("Content-Security-Policy", _OWN)
        response.headers.update({"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"})
        response.headers.setdefault("Cache-Control", "no-cache")
        return response(environ, start_response)

    # Each method below answers one endpoint of _URLS

    def _document(self, request: Request, name: str = "", execution: str = "") -> Response:  # noqa: ARG002 - the page reads its address
        return self._static(request, "index.html")

    def _static(self, request: Request, file: str) -> Response:  # noqa: ARG002 - an endpoint
        if file not in {path.name for path in _STATIC.iterdir()}:
            raise NotFound
        kind = mimetypes.guess_type(file)[0] or "application/octet-stream"
        return Response((_STATIC / file).read_bytes(), content_type=f"{kind}; charset=utf-8")

    def _health(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """For whoever waits until the server is ready."""
        ready = self._is_ready()
        text = json.dumps({"status": "ok" if ready else "starting"})
        return Response(f"{text}\n", 200 if ready else 503, content_type="application/json")

    def _feed(self, request: Request) -> Response:
        """Server-sent events: the regions, the jobs of a `kind`, and metrics and logs of those that `job` names."""
        region, kind = self._find_region(request), request.args.get("kind", "training-jobs")
        job_set = self._find_jobs(request, kind)
        names, with_logs = dict.fromkeys(request.args.getlist("job")), "log" in request.args
        tails = [JobTail(name, job_set.find(name), with_logs=with_logs) for name in names]
        rows = self._rows.setdefault((region, kind), Rows(job_set.jobs.all))
        events = chain([("regions", list(self._regions()))], follow(rows.read, tails))
        return Response(map(_encode, events), content_type="text/event-stream")

    def _describe(self, request: Request, kind: str, name: str) -> Response:
        job_set = self._find_jobs(request, kind)
        description, folder = job_set.jobs.describe(name), job_set.folder(name)
        artifacts = {file: (folder / file).stat().st_size for file in _ARTIFACTS if (folder / file).is_file()}
        more = {"Artifacts": artifacts, "HasReport": (folder / REPORT).is_file()}
        return Response(as_json({**description, **more}), content_type="application/json")

    def _artifact(self, request: Request, kind: str, name: str, file: str) -> Response:
        path = self._find_jobs(request, kind).find(name) / file
        if not path.is_file():
            raise NotFound
        size = str(path.stat().st_size)
        headers = {"Content-Disposition": f'attachment; filename="{name}-{file}"', "Content-Length": size}
        return Response(_read(path), headers=headers, content_type="application/gzip")

    def _report(self, request: Request, kind: str, name: str) -> Response:
        path = self._find_jobs(request, kind).find(name) / REPORT
        if not path.is_file():
            raise NotFound
        return Response(_read(path), content_type="text/html", headers={"Content-Security-Policy": STRANGERS})

    def _tuning_jobs(self, request: Request) -> Response:
        jobs = self._regions()[self._find_region(request)].tuning_jobs
        return Response(as_json(jobs.all()), content_type="application/json")

    def _tuning_report(self, request: Request, name: str) -> Response:
        jobs = self._regions()[self._find_region(request)].tuning_jobs
        text = tuning_report(jobs.describe(name), jobs.children(name))
        return Response(text, content_type="text/html", headers={"Content-Security-Policy": STRANGERS})

    def _find_region(self, request: Request) -> str:
        """The one that the address names: to look at one that has nothing makes none."""
        regions = self._regions()
        name = request.args.get("region", next(iter(regions)))
        if name not in regions:
            raise NotFound
        return name

    def _find_jobs(self, request: Request, kind: str) -> JobSet:
        found = self._regions()[self._find_region(request)].job_sets().get(kind)
        if not found:
            raise NotFound
        return found


def _is_for_page(request: Request) -> bool:
    """S3 has the same addresses: its clients sign, and ask for no HTML."""
    if request.method not in ("GET", "HEAD") or "Authorization" in request.headers or "X-Amz-Signature" in request.args:
        return False
    if request.path.startswith(BELOW) or request.path == "/health":
        return True
    return "text/html" in request.headers.get("Accept", "") and _is_document(request)


def _is_document(request: Request) -> bool:
    return re.fullmatch(rf"/|/({'|'.join(_VIEWS)})(/[^/]*)?/?|/pipelines/[^/]+/[^/]+/?", request.path) is not None


def _encode(event: Event) -> bytes:
    name, data = event
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk
