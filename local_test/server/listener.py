"""The HTTP server's patience: how long a client may take, and how many may be connected."""

import io
import re
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import SHUT_RDWR, socket
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import DechunkedInput, ThreadedWSGIServer

from local_test.aws.clients import OWN_AGENT
from local_test.server.access import Environ, Wsgi
from local_test.server.signatures import HEADERS

_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_END_SECONDS = 1.0  # in which a connection that is ended is free
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"


_MANY_FILES = (1 << 16, 10_240)  # the second is as many as macOS allows
OnRequest = Callable[[str], None]  # gets a line for each request that is answered
_MOST = 200  # characters of an address in such a line


@dataclass(frozen=True)
class Patience:
    """Seconds for a request's head, for each next piece of its body, and for a client that reads nothing; connections
    at a time. A program may well stop reading from S3 for minutes, as it validates or saves. `least`: seconds that a
    client has even where another one needs its connection."""

    head: float = 30.0
    body: float = 60.0
    write: float = 600.0
    connections: int = 256
    least: float = 1.0


def allow_many_files() -> None:
    """Lets this process have as many files open as may be without asking anybody: each large object of S3 is one, each
    client another, and shells begin programs with 1024, macOS with 256."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in _MANY_FILES:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            if _count_files() < most:
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return


def _count_files() -> int:
    """How many may be open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 62 if soft == resource.RLIM_INFINITY else soft


class Server(ThreadedWSGIServer):
    """A thread for each connection, up to the limit. One more takes the place of the client that has let the server
    wait longest; if none has, it gets 503, which clients try again."""

    def __init__(
        self, host: str, port: int, application: Wsgi, fd: int, patience: Patience, on_request: OnRequest | None
    ) -> None:
        super().__init__(host, port, application, _Handler, fd=fd)
        self.patience, self.on_request = patience, on_request
        # most of the files that may be open are for S3's objects and for jobs
        self._free = threading.Semaphore(max(1, min(patience.connections, _count_files() // 4)))
        self.senders, self.readers = Waits(), Waits()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False) or self._take_place():
            try:
                super().process_request(request, client_address)
                return
            except RuntimeError:  # this machine has no thread left
                self._free.release()
        with suppress(OSError):
            request.settimeout(1.0)
            request.sendall(_BUSY)
        self.shutdown_request(request)

    def _take_place(self) -> bool:
        """Of a client that sends nothing, else of one that reads nothing."""
        least = self.patience.least
        ended = self.senders.end_longest(least) or self.readers.end_longest(least)
        return ended and self._free.acquire(timeout=_END_SECONDS)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class Waits:
    """The connections at which the server waits for the client. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[socket, float] = {}  # the longest wait comes first

    @contextmanager
    def during(self, connection: socket) -> Iterator[None]:
        with self._lock:
            self._since[connection] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._since.pop(connection, None)

    def end_longest(self, least: float) -> bool:
        """Whether a connection was ended, which had waited so many seconds or more."""
        with self._lock:
            connection, since = next(iter(self._since.items()), (None, 0.0))
            if connection is None or time.monotonic() - since < least:
                return False
            del self._since[connection]
            with suppress(OSError):  # the client was quicker
                connection.shutdown(SHUT_RDWR)
            return True


class _Handler(MotoRequestHandler):
    """Keeps the headers as they came."""

    server: Server

    def setup(self) -> None:
        super().setup()
        self._incoming = _Incoming(self.connection, self.server.patience, self.server.senders)
        self.rfile = io.BufferedReader(self._incoming)
        self.wfile = _Outgoing(self.connection, self.server.readers)

    def parse_request(self) -> bool:
        """Refuses a body of no length or of two, which would be taken for none, or for another one than was sent."""
        if not super().parse_request():
            return False
        lengths, codings = (self.headers.get_all(name, []) for name in ("Content-Length", "Transfer-Encoding"))
        if lengths:
            is_clear = not codings and len(set(lengths)) == 1 and _LENGTH.fullmatch(lengths[0]) is not None
        else:
            is_clear = not codings or [coding.strip().lower() for coding in codings] == ["chunked"]
        if not is_clear:
            said = ", ".join(f"{name!a:.40}" for name in (*lengths, *codings))
            self.send_error(400, f"The length of the body is not clear. Received: {said}")
        return is_clear

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

    def __init__(self, connection: socket, patience: Patience, waits: Waits) -> None:
        self._connection, self._patience, self._waits = connection, patience, waits
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
            with self._waits.during(self._connection):
                return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._patience.write)


class _Outgoing(io.BufferedIOBase):
    """An answer as it goes."""

    def __init__(self, connection: socket, waits: Waits) -> None:
        self._connection, self._waits = connection, waits

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with self._waits.during(self._connection):
            self._connection.sendall(data)
        return len(memoryview(data).cast("B"))
