"""The page's addresses, in front of the API at the same port.

`/`, `/training-jobs/NAME`, `/tuning-jobs/NAME`, `/experiments/NAME` are the page itself, which can be bookmarked and
sent; what it loads is below `/.page/`, a name that no bucket of S3 can have. `/health` answers once the server does.
Everything else is the API's.
"""

import json
import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from local_test.errors import LocalTestError
from local_test.hosts.artifacts import REPORT
from local_test.page.live import Event, JobTail, follow
from local_test.training.job_queue import JobQueue
from local_test.training.job_store import RegionStore
from local_test.tuning.html_report import page as tuning_report
from local_test.tuning.job_manager import TuningJobManager
from local_test.util.atomic_files import as_json

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_STATIC = Path(__file__).parent / "static"
_ARTIFACTS = ("model.tar.gz", "output.tar.gz")
# Whatever a job says is text to the page; this holds also if the page should ever be wrong about that
_OWN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; frame-ancestors 'none'"
)
# a report is a job's own HTML: shown, but without scripts, requests or this origin's rights
_STRANGERS = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_URLS = Map(
    [
        Rule("/", endpoint="document"),
        *(Rule(f"/{kind}/<name>", endpoint="document") for kind in ("training-jobs", "tuning-jobs", "experiments")),
        *(Rule(f"/{kind}", endpoint="document") for kind in ("training-jobs", "tuning-jobs", "experiments")),
        Rule("/health", endpoint="health"),
        Rule("/.page/feed", endpoint="feed"),
        Rule("/.page/training-jobs/<name>", endpoint="describe"),
        Rule("/.page/training-jobs/<name>/<any('model.tar.gz', 'output.tar.gz'):file>", endpoint="artifact"),
        Rule("/.page/training-jobs/<name>/report.html", endpoint="report"),
        Rule("/.page/tuning-jobs", endpoint="tuning_jobs"),
        Rule("/.page/tuning-jobs/<name>/report.html", endpoint="tuning_report"),
        Rule("/.page/<file>", endpoint="static"),
    ],
    strict_slashes=False,
)


class Site:
    """WSGI middleware: answers a browser's GET for the page, and leaves all other requests to `application`.
    It shows one region."""

    def __init__(self, application: Wsgi, store: RegionStore, jobs: JobQueue, tuning_jobs: TuningJobManager) -> None:
        self._application, self._store, self._jobs, self._tunings = application, store, jobs, tuning_jobs

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

    def _document(self, request: Request, name: str = "") -> Response:  # noqa: ARG002 - the page reads its address
        return self._static(request, "index.html")

    def _static(self, request: Request, file: str) -> Response:  # noqa: ARG002 - an endpoint
        if file not in {path.name for path in _STATIC.iterdir()}:
            raise NotFound
        kind = mimetypes.guess_type(file)[0] or "application/octet-stream"
        return Response((_STATIC / file).read_bytes(), content_type=f"{kind}; charset=utf-8")

    def _health(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        """For whoever waits until the server answers."""
        return Response('{"status": "ok"}\n', content_type="application/json")

    def _feed(self, request: Request) -> Response:
        """Server-sent events: the list of jobs, and metrics and logs of the jobs that `job` names."""
        names = request.args.getlist("job")
        with_logs = "log" in request.args
        folders = [(name, self._folder(name)) for name in dict.fromkeys(names)]
        tails = [JobTail(name, folder, with_logs=with_logs) for name, folder in folders]
        return Response(map(_encode, follow(self._jobs.all, tails)), content_type="text/event-stream")

    def _describe(self, request: Request, name: str) -> Response:  # noqa: ARG002 - an endpoint
        folder = self._folder(name)
        artifacts = {file: (folder / file).stat().st_size for file in _ARTIFACTS if (folder / file).is_file()}
        description = {
            **self._jobs.describe(name),
            "Artifacts": artifacts,
            "HasReport": (folder / REPORT).is_file(),
        }
        return Response(as_json(description), content_type="application/json")

    def _artifact(self, request: Request, name: str, file: str) -> Response:  # noqa: ARG002 - an endpoint
        path = self._folder(name) / file
        if not path.is_file():
            raise NotFound
        size = str(path.stat().st_size)
        headers = {"Content-Disposition": f'attachment; filename="{name}-{file}"', "Content-Length": size}
        return Response(_read(path), headers=headers, content_type="application/gzip")

    def _report(self, request: Request, name: str) -> Response:  # noqa: ARG002 - an endpoint
        path = self._folder(name) / REPORT
        if not path.is_file():
            raise NotFound
        return Response(_read(path), content_type="text/html", headers={"Content-Security-Policy": _STRANGERS})

    def _tuning_jobs(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint
        return Response(as_json(self._tunings.all()), content_type="application/json")

    def _tuning_report(self, request: Request, name: str) -> Response:  # noqa: ARG002 - an endpoint
        text = tuning_report(self._tunings.describe(name), self._tunings.children(name))
        return Response(text, content_type="text/html", headers={"Content-Security-Policy": _STRANGERS})

    def _folder(self, name: str) -> Path:
        """Of a job that there is: no other name gets as far as the file system."""
        self._jobs.describe(name)
        return self._store.folder(name)


def _is_for_page(request: Request) -> bool:
    """S3 has the same addresses: its clients sign, and ask for no HTML."""
    if request.method not in ("GET", "HEAD") or "Authorization" in request.headers or "X-Amz-Signature" in request.args:
        return False
    if request.path.startswith("/.page/") or request.path == "/health":
        return True
    return "text/html" in request.headers.get("Accept", "") and _is_document(request)


def _is_document(request: Request) -> bool:
    return re.fullmatch(r"/|/(training-jobs|tuning-jobs|experiments)(/[^/]*)?/?", request.path) is not None


def _encode(event: Event) -> bytes:
    name, data = event
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk
