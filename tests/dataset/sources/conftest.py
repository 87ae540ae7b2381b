"""A real HTTP server that serves one file, and breaks off, refuses or falls silent as a test says."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Behaviour:
    """What the server has and does, and how many requests it has seen."""

    content: bytes = b""
    break_after: list[int] = field(default_factory=list)  # bytes of the next answers, after which they break off
    status: int | None = None
    silent: threading.Event | None = None  # answers nothing until set
    silent_after: threading.Event | None = None  # what breaks off is silent until set
    requests: int = 0
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        behaviour = self.server.behaviour
        self.close_connection = True
        behaviour.requests += 1
        if behaviour.silent:
            behaviour.silent.wait(250)
        elif behaviour.status:
            self.send_error(behaviour.status)
        else:
            self._file(behaviour)

    def _file(self, behaviour: Behaviour) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(behaviour.content)))
        self.end_headers()
        end = behaviour.break_after.pop(0) if behaviour.break_after else None
        self.wfile.write(behaviour.content[:end])
        if behaviour.silent_after:
            behaviour.silent_after.wait(250)


class _Server(ThreadingHTTPServer):
    behaviour: Behaviour

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Iterator[Behaviour]:
    """The behaviour of a server that listens, at `http.url`."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.behaviour = Behaviour(url=f"http://127.0.0.1:{server.server_port}/file.tar.gz")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.behaviour
    for silent in (server.behaviour.silent, server.behaviour.silent_after):
        if silent:
            silent.set()
    server.shutdown()
    thread.join()
    server.server_close()
