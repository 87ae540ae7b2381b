"""The HTTP server's patience: how long a client may take, and how many may be connected."""

import io
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from socket import socket
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import DechunkedInput, ThreadedWSGIServer

from local_test.aws.clients import OWN_AGENT
from local_test.server.access import Environ, Wsgi
from local_test.server.signatures import HEADERS

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


OnRequest = Callable[[str], None]  # gets a line for each request that is answered
_MOST = 200  # characters of an address in such a line


@dataclass(frozen=True)
class Patience:
    """Seconds for a request's head, for each next piece of its body, and for a client that reads nothing; connections
    at a time. A program may well stop reading from S3 for minutes, as it validates or saves."""

    head: float = 30.0
    body: float = 60.0
    write: float = 600.0
    connections: int = 256


class Server(ThreadedWSGIServer):
    """A thread for each connection, up to the limit; one more gets 503, which clients try again."""

    def __init__(
        self, host: str, port: int, application: Wsgi, fd: int, patience: Patience, on_request: OnRequest | None
    ) -> None:
        super().__init__(host, port, application, _Handler, fd=fd)
        self.patience, self.on_request = patience, on_request
        self._free = threading.Semaphore(patience.connections)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(1.0)
            request.sendall(_BUSY)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _Handler(MotoRequestHandler):
    """Keeps the headers as they came."""

    server: Server

    def setup(self) -> None:
        super().setup()
        self._incoming = _Incoming(self.connection, self.server.patience)
        self.rfile = io.BufferedReader(self._incoming)

    def make_environ(self) -> Environ:
        self._incoming.end_head()
        environ = {**super().make_environ(), HEADERS: self.headers}
        if environ.get("wsgi.input_terminated"):
            environ["wsgi.input"] = _Chunks(self.rfile)
        return environ

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002 - overrides
        """Without the query, which may be a signature."""
        headers = getattr(self, "headers", None) or {}  # none where the head was none
        if not self.server.on_request or OWN_AGENT in headers.get("User-Agent", ""):
            return
        path = getattr(self, "path", "").partition("?")[0]
        shown = path if len(path) <= _MOST else f"{path[:_MOST]}…"
        words = (self.address_string(), self.command or "", shown, headers.get("X-Amz-Target", ""), str(code))
        self.server.on_request(" ".join(filter(None, words)))

    def log_error(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Of clients' errors, such as one that is too slow."""


class _Chunks(DechunkedInput):
    """A body in chunks. ClientDisconnected, as for one that is cut short, if the sizes of its chunks are none."""

    def readinto(self, buffer: Any) -> int:
        try:
            return super().readinto(buffer)
        except OSError:
            raise ClientDisconnected from None


class _Incoming(io.RawIOBase):
    """A request as it comes. TimeoutError: it took too long."""

    def __init__(self, connection: socket, patience: Patience) -> None:
        self._connection, self._patience = connection, patience
        self._head_until: float | None = time.monotonic() + patience.head

    def end_head(self) -> None:
        self._head_until = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._patience.body if self._head_until is None else self._head_until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._patience.write)
