"""The HTTP edge, without logic: one port, on which SageMaker's operations that are ours go to the API, and every other
service and operation to moto in the same process (S3, ECR, IAM, STS, Logs, CloudWatch, the rest of SageMaker).
"""

import errno
import os
import re
import socket
import threading
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wrappers import Request, Response

from local_test.api.dispatch import Api
from local_test.api.iam import simulate
from local_test.api.json_protocol import Answer, refusal
from local_test.aws import log_events
from local_test.errors import BadRequest
from local_test.server.access import AccessControl, Environ, KnownHosts, Wsgi
from local_test.server.listener import OnRequest, Patience, Server
from local_test.server.mocked_operations import refuse
from local_test.server.mocked_services import mocked_services
from local_test.util.arns import DEFAULT_REGION

_TARGET = "SageMaker."  # X-Amz-Target: SageMaker.CreateTrainingJob
_FILTER_LOGS = f"Logs_20140328.{log_events.OPERATION}"
_MAX_BODY = 64 << 20  # bytes of an operation; what is stored in S3 is not read here
_SCOPE = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")


class Router:
    """The WSGI application: answers what this platform keeps, and leaves the rest to moto. `metrics`: the operations of
    SageMaker Metrics, which are addresses. `s3_url`: where S3 is, if it is not moto's; a client that looks for S3 here
    then gets an error, since no job would ever see what it does there. `allow_mocked`: see mocked_operations."""

    def __init__(
        self,
        api: Api,
        metrics: Api,
        s3_url: str | None = None,
        moto: Wsgi | None = None,
        *,
        allow_mocked: bool = False,
        home: str = DEFAULT_REGION,
    ) -> None:
        self._home = home
        self._api, self._metrics, self._s3_url, self._allow_mocked = api, metrics, s3_url, allow_mocked
        self._moto: Wsgi = moto or mocked_services()
        filter_logs = log_events.filter_log_events
        self._logs = Api(lambda region: {log_events.OPERATION: partial(filter_logs, region)}, log_events.SERVICE)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            answer = self._answer(environ)
            if answer is None:
                return self._moto(environ, start_response)
        except RequestEntityTooLarge:
            answer = refusal("RequestEntityTooLargeException", f"A request has at most {_MAX_BODY} bytes", 413)
        except ClientDisconnected:  # or sizes of chunks that are none
            answer = refusal("SerializationException", "The body can't be read")
        response = Response(answer.body, answer.status, content_type=answer.content_type)
        response.headers["x-amzn-RequestId"] = str(uuid4())
        if answer.error:
            response.headers["x-amzn-ErrorType"] = answer.error
        return response(environ, start_response)

    def _answer(self, environ: Environ) -> Answer | None:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        operation = target.removeprefix(_TARGET)
        region = scope["region"] if scope else self._home
        if target.startswith(_TARGET):
            if self._api.knows(operation):
                return self._api.answer(operation, read_body(environ), region)
            return refuse(operation, allow_mocked=self._allow_mocked)
        if target == _FILTER_LOGS:
            return self._logs.answer(log_events.OPERATION, read_body(environ), region)
        address = environ.get("PATH_INFO", "").removeprefix("/")
        if scope and scope["service"] == "sagemaker" and self._metrics.knows(address):
            return self._metrics.answer(address, read_body(environ), region)
        if self._s3_url and scope and scope["service"] == "s3":
            return _refuse_s3(self._s3_url)
        return simulate(read_body(environ)) if scope and scope["service"] == "iam" else None


def _refuse_s3(url: str) -> Answer:
    """An error in S3's form, which is XML."""
    message = escape(f"This address has no S3. Set AWS_ENDPOINT_URL_S3={url}")
    error = f"<Error><Code>InvalidRequest</Code><Message>{message}</Message></Error>"
    return Answer(400, f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'.encode(), "application/xml")


def read_body(environ: Environ) -> bytes:
    """The whole body; moto can read it again."""
    request = Request(environ)
    request.max_content_length = _MAX_BODY
    body = request.get_data()
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
    return body


class HttpServer:
    """Listens once constructed, answers after `start`; port 0 takes any that is free. BadRequest if it can't listen."""

    def __init__(
        self,
        host: str,
        port: int,
        application: Wsgi,
        patience: Patience = Patience(),  # noqa: B008
        on_request: OnRequest | None = None,
    ) -> None:
        with _listen(host, port) as listener:
            guarded = AccessControl(application, _known_hosts(host))
            self._server = Server(host, port, guarded, listener.fileno(), patience, on_request)
        self.host, self.port = host, self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="server", daemon=True)

    @property
    def url(self) -> str:
        """The address for clients on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.ident:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _known_hosts(host: str) -> KnownHosts:
    """The address that is listened at; where that is every address of this machine, its name and all addresses."""
    everywhere = host in ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound
    return KnownHosts(frozenset({socket.gethostname().lower() if everywhere else host.lower()}), everywhere)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        advice = "Name another --port" if error.errno == errno.EADDRINUSE else "Name an address of this machine"
        # a name that can't be resolved has a number of getaddrinfo's own
        reason = str(error.strerror) if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise BadRequest(f"Can't listen: {reason.lower()}. Received: {host}:{port}. {advice}") from None
