"""Between a program and the Docker engine: a connection that can be cut, as by a restart of the engine."""

import contextlib
import os
import socket
import socketserver
import threading
from pathlib import Path
from typing import Self

SOCKET = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")


class EngineRelay:
    """Listens at `path`, and carries bytes both ways. While it is cut, connections are closed as soon as they come."""

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.refused = threading.Event()  # a connection came while it was cut
        self._cut = threading.Event()
        self._lock, self._open = threading.Lock(), set[socket.socket]()
        self._server = _Server(str(path), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="engine-relay")

    def cut(self) -> None:
        """Breaks every connection, and all that come."""
        self.refused.clear()
        with self._lock:
            self._cut.set()
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        self._cut.clear()

    def _handler(relay) -> type[socketserver.BaseRequestHandler]:  # noqa: N805 - self is the handler's
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.socket(socket.AF_UNIX) as engine:
                    with relay._lock:
                        if relay._cut.is_set():
                            relay.refused.set()
                            return
                        engine.connect(SOCKET)
                        relay._open |= {self.request, engine}
                    there = threading.Thread(target=_carry, args=(self.request, engine), daemon=True)
                    there.start()
                    _carry(engine, self.request)
                    there.join()
                    with relay._lock:
                        relay._open -= {self.request, engine}

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def _carry(source: socket.socket, target: socket.socket) -> None:
    """Until the source ends, which ends the target's reading side."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def engine_answers() -> bool:
    """Whether a Docker engine listens."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as engine:
        engine.connect(SOCKET)
        return True
    return False
