"""A real HTTP server that serves one file and breaks off, forgets or refuses as told."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Behaviour:
    """What the server has and does. `seen`: the Range header of every request, None where there was none."""

    content: bytes = b""
    tag: str | None = '"v1"'
    ranges: bool = True
    break_after: list[int] = field(
        default_factory=list
    )  # bytes of the next answers' bodies, after which they break off
    status: int | None = None
    silent: threading.Event | None = None  # answers nothing until set
    seen: list[str | None] = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        behaviour = self.server.behaviour
        self.close_connection = True
        behaviour.seen.append(self.headers["Range"])
        if behaviour.silent:
            behaviour.silent.wait(60)
        elif behaviour.status:
            self.send_error(behaviour.status)
        else:
            self._file(behaviour)

    def _file(self, behaviour: Behaviour) -> None:
        start = self._start(behaviour)
        total = len(behaviour.content)
        if start and start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        if behaviour.tag:
            self.send_header("ETag", behaviour.tag)
        self.end_headers()
        end = start + behaviour.break_after.pop(0) if behaviour.break_after else total
        self.wfile.write(behaviour.content[start:end])

    def _start(self, behaviour: Behaviour) -> int:
        unchanged = self.headers["If-Range"] in (None, behaviour.tag)
        if not behaviour.ranges or not unchanged or not self.headers["Range"]:
            return 0
        return int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))


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
    if server.behaviour.silent:
        server.behaviour.silent.set()
    server.shutdown()
    thread.join()
    server.server_close()
