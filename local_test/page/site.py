"""The page's addresses, in front of the API at the same port.

`/`, `/training-jobs/NAME`, `/tuning-jobs/NAME`, `/pipelines/NAME`, … are the page itself, which can be bookmarked and
sent; `?region=NAME` is added for another region than the home one. What it loads is below `/.page/`, a name that no
bucket of S3 can have. `/health` is 200 once the server is ready. Everything else is the API's.
"""

import json
import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from local_test.errors import LocalTestError, ResourceNotFound
from local_test.hosts.artifacts import REPORT
from local_test.hosts.report import open_enclosed
from local_test.page.lists import Cache, JobSet, ListTail, ReadList, Region, find_list, summarize, summarize_tuning
from local_test.page.live import Event, JobTail, Reader, RunTail, follow
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
        Rule("/.page/pipelines/<name>", endpoint="pipeline"),
        Rule("/.page/pipelines/<name>/<execution>", endpoint="execution"),
        Rule("/.page/tuning-jobs/<name>/report.html", endpoint="tuning_report"),
        Rule("/.page/<file>", endpoint="static"),
    ],
    strict_slashes=False,
)


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
        self._caches: dict[tuple[str, str], Cache] = {}  # (region, kind of jobs) → those

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
        """Server-sent events: the regions, each `list`, metrics of each `job` of a `kind` (the first one's logs, too,
        where `log` is asked for) and of each `run`. 404 if a list or the first job is not there; `ended` for another
        job or run."""
        region = self._find_region(request)
        first: list[Event] = [("regions", list(self._regions()))]
        readers: list[Reader] = [
            ListTail(name, self._find_list(region, name)) for name in dict.fromkeys(request.args.getlist("list"))
        ]
        jobs, runs = (list(dict.fromkeys(request.args.getlist(what))) for what in ("job", "run"))
        for name in (*jobs, *runs):
            try:
                readers.append(self._find_job(request, name) if name in jobs else self._find_run(region, name))
            except LocalTestError as error:
                if [name] == jobs[:1]:
                    raise
                first.append(("ended", {"job": name, "reason": str(error)}))
        return Response(map(_encode, chain(first, follow(readers))), content_type="text/event-stream")

    def _find_list(self, region: str, name: str) -> ReadList:
        shown = self._regions()[region]
        if read := find_list(shown, name):
            return read
        if (region, name) not in self._caches:
            if name == "tuning-jobs":
                self._caches[region, name] = Cache(shown.tuning_jobs.all, summarize_tuning)
            elif job_set := shown.job_sets().get(name):
                self._caches[region, name] = Cache(job_set.jobs.all, summarize)
            elif name in _VIEWS:  # a command that runs one job has none of them
                return tuple
            else:
                raise NotFound
        return self._caches[region, name].read

    def _find_job(self, request: Request, name: str) -> JobTail:
        folder = self._find_jobs(request, request.args.get("kind", "training-jobs")).find(name)
        with_logs = "log" in request.args and name == request.args["job"]
        return JobTail(name, folder, with_logs=with_logs)

    def _find_run(self, region: str, name: str) -> RunTail:
        experiments = self._regions()[region].experiments
        if not experiments:
            raise NotFound
        return RunTail(name, experiments.metrics_file(name))

    def _describe(self, request: Request, kind: str, name: str) -> Response:
        job_set = self._find_jobs(request, kind)
        description, folder = job_set.jobs.describe(name), job_set.folder(name)
        artifacts = {file: (folder / file).stat().st_size for file in _ARTIFACTS if (folder / file).is_file()}
        more = {"Artifacts": artifacts, "HasReport": (folder / REPORT).is_file()}
        return _json({**description, **more})

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
        page = path.read_bytes()
        return _strange(open_enclosed(page) or page)

    def _pipeline(self, request: Request, name: str) -> Response:
        pipelines = self._regions()[self._find_region(request)].pipelines
        if not pipelines:
            raise NotFound
        return _json(pipelines.at(name))

    def _execution(self, request: Request, name: str, execution: str) -> Response:
        """With the definition that it runs, whatever its pipeline's is now, and its parameters."""
        shown = self._regions()[self._find_region(request)]
        if not shown.pipelines or not shown.executions:
            raise NotFound
        record = shown.executions.find(f"{shown.pipelines.get(name)['PipelineArn']}/execution/{execution}")
        definition, parameters = shown.executions.definition_text(record.arn), record.list_parameters()
        return _json({**record.describe(), "PipelineDefinition": definition, "PipelineParameters": parameters})

    def _tuning_report(self, request: Request, name: str) -> Response:
        jobs = self._regions()[self._find_region(request)].tuning_jobs
        text = tuning_report(jobs.describe(name), jobs.children(name))
        return _strange(text)

    def _find_region(self, request: Request) -> str:
        """The one that the address names: to look at one that has nothing makes none."""
        regions = self._regions()
        name = request.args.get("region", next(iter(regions)))
        if name not in regions:
            raise ResourceNotFound(
                f"This server has nothing in the region. Received: {name}. It has {', '.join(regions)}"
            )
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


def _json(members: Mapping[str, Any]) -> Response:
    return Response(as_json(members), content_type="application/json")


def _encode(event: Event) -> bytes:
    name, data = event
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _strange(page: str | bytes) -> Response:
    return Response(page, content_type="text/html", headers={"Content-Security-Policy": STRANGERS})


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk
