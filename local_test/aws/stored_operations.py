"""What moto stores of SageMaker outlives a restart: requests that changed it are kept in a file, and made again.

A request says all that moto makes of it, whichever version moto has; only the time it came is kept beside it. What of a
request moto leaves out of its description, such as a package's ModelLifeCycle, is in the answer all the same.
"""

import json
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import moto.sagemaker.models as moto_models
from werkzeug.test import Client, run_wsgi_app
from werkzeug.wrappers import Response

from local_test.errors import DataError
from local_test.request.validation import service_model
from local_test.util.clock import now_utc
from local_test.util.console import warn_on_stderr

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
_TARGET = "SageMaker."
_TAGS = ("AddTags", "DeleteTags")
_CHANGES = ("Create", "Update", "Delete")
_CREATE, _UPDATE, _DESCRIBE = "Create", "Update", "Describe"


class StoredOperations:
    """WSGI middleware before moto. `path`: the file, a line a request; `operations`: what moto stores. `read_body`
    gives a request's body, and leaves it to be read again. Safe for threads."""

    def __init__(
        self,
        application: Wsgi,
        path: Path,
        operations: Collection[str],
        read_body: Callable[[Environ], bytes],
    ) -> None:
        self._application, self._path, self._read_body = application, path, read_body
        self._changes = {*_TAGS, *(name for name in operations if name.startswith(_CHANGES))}
        self._descriptions = {name for name in operations if name.startswith(_DESCRIBE)}
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str], str] = {}  # (operation, ClientToken) → answer
        self._told: dict[str, dict[str, Any]] = {}  # ARN → what requests have said of it

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").removeprefix(_TARGET)
        if operation in self._descriptions:
            return self._describe(operation, environ)(environ, start_response)
        if operation not in self._changes:
            return self._application(environ, start_response)
        body = self._read_body(environ)
        with self._lock:
            return self._change(operation, body, environ)(environ, start_response)

    def _describe(self, operation: str, environ: Environ) -> Response:
        """moto's answer, with what requests have said and moto leaves out; where no operation changes it, as they said
        it."""
        response = self._ask(environ)
        what = operation.removeprefix(_DESCRIBE)
        members = service_model().operation_model(operation).output_shape.members
        answer = _parse(response.get_data(as_text=True)) if response.status_code == 200 else {}
        with self._lock:
            told = {name: value for name, value in self._told.get(_arn(answer, what), {}).items() if name in members}
        if not told:
            return response
        if f"{_UPDATE}{what}" in self._changes:
            told |= {name: value for name, value in answer.items() if value is not None}
        return _respond(json.dumps({**answer, **told}))

    def _ask(self, environ: Environ) -> Response:
        return Response(*run_wsgi_app(self._application, environ, buffered=True))

    def _change(self, operation: str, body: bytes, environ: Environ) -> Response:
        """The answer, kept before anybody has it."""
        request = body.decode(errors="replace")
        token = _token(request)
        if token and (known := self._answers.get((operation, token))) is not None:
            return _respond(known)
        response = self._ask(environ)
        if response.status_code == 200:
            answer = response.get_data(as_text=True)
            self._keep(
                {
                    "Operation": operation,
                    "Time": now_utc().isoformat(),
                    "Authorization": _without_signature(environ.get("HTTP_AUTHORIZATION", "")),
                    "Request": request,
                    "Answer": answer,
                }
            )
            self._remember(operation, request, answer)
            self._note(operation, request, answer)
        return response

    def _remember(self, operation: str, request: str, answer: str) -> None:
        """A request that comes again is answered as the first one, as on the service."""
        if token := _token(request):
            self._answers[operation, token] = answer

    def _note(self, operation: str, request: str, answer: str) -> None:
        """What a request says of the thing that it makes or changes."""
        for verb in (_CREATE, _UPDATE):
            if arn := _arn(_parse(answer), operation.removeprefix(verb)):
                before = self._told.get(arn, {}) if verb == _UPDATE else {}
                self._told[arn] = {**before, **_parse(request)}

    def _keep(self, entry: Mapping[str, str]) -> None:
        try:
            with self._path.open("a", encoding="utf-8") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(f"{json.dumps(entry)}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            warn_on_stderr(f"{entry['Operation']} is not kept for the next start: {error}")

    def load(self, warn: Callable[[str], object] = warn_on_stderr) -> int:
        """Makes the requests of earlier servers again; their number. Call it once, before anybody asks. What can't be
        read, or is refused, is left out and stays in the file; `warn` is told. DataError if there is no reading."""
        count = 0
        for entry in self._read(warn):
            operation = entry["Operation"]
            headers = {"X-Amz-Target": f"{_TARGET}{operation}", "Authorization": entry["Authorization"]}
            with _moto_time(datetime.fromisoformat(entry["Time"])):
                answer = Client(self._application).post("/", data=entry["Request"], headers=headers)
            if answer.status_code == 200:
                count += 1
                self._remember(operation, entry["Request"], entry["Answer"])
                self._note(operation, entry["Request"], answer.get_data(as_text=True))
            else:
                warn(f"{operation} of an earlier start is refused: {answer.get_data(as_text=True)[:200]}")
        return count

    def _read(self, warn: Callable[[str], object]) -> Iterator[dict[str, str]]:
        try:
            lines = self._path.read_bytes().splitlines(keepends=True) if self._path.exists() else []
            if lines and not lines[-1].endswith(b"\n"):  # it was cut off, and nobody has had an answer
                os.truncate(self._path, sum(map(len, lines[:-1])))
                lines.pop()
        except OSError as error:
            raise DataError(f"{self._path} can't be read: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                names = ("Operation", "Time", "Authorization", "Request", "Answer")
                found = {name: str(entry[name]) for name in names}
                datetime.fromisoformat(found["Time"])
                yield found
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                warn(f"line {number} of {self._path} can't be read, so it is left out: {error}")


def _parse(text: str) -> dict[str, Any]:
    """A JSON object; empty where it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _token(request: str) -> str:
    return str(_parse(request).get("ClientToken", ""))


def _arn(answer: Mapping[str, Any], what: str) -> str:
    """Of the thing that an answer is about, such as ModelPackageArn; empty where it names none."""
    return str(answer.get(f"{what}Arn", ""))


def _respond(answer: str) -> Response:
    return Response(answer, 200, content_type="application/x-amz-json-1.1")


def _without_signature(authorization: str) -> str:
    """What moto reads the region from."""
    return authorization.partition("Signature=")[0] + "Signature=0" if authorization else ""


@contextmanager
def _moto_time(time: datetime) -> Iterator[None]:
    """What moto makes while inside has that time. Another moto may take its clock elsewhere: then it is that of the
    start, and nothing else is lost."""
    clock = getattr(moto_models, "utcnow", None)
    if clock is None:
        yield
        return
    moto_models.utcnow = lambda: time.astimezone(UTC).replace(tzinfo=None)
    try:
        yield
    finally:
        moto_models.utcnow = clock
