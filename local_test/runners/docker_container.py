"""A container of the engine's, and the engine's absence: a restart or a cut connection of up to a minute ends no job.

The output comes from an attached connection, which makes a fast writer wait. Where that is cut, it is taken up from the
engine's log at the byte where it broke off.
"""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

import requests
import urllib3
from docker.errors import APIError, DockerException, NotFound
from docker.types import LogConfig
from docker.utils.socket import STDERR, STDOUT, frames_iter

from local_test.errors import RunnerError
from local_test.runners.base import Exit

PATIENCE_SECONDS = 60.0  # for which an engine that does not answer is asked again
ENGINE_ERRORS = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, OSError)
_PAUSE_SECONDS = 0.5  # between two questions
_SETTLE_SECONDS = 1.0  # between the end of the output and the end of the container, where the connection is whole
_LOG_BYTES, _LOG_FILES = 50_000_000, 2
LOG = LogConfig(type=LogConfig.types.JSON, config={"max-size": str(_LOG_BYTES), "max-file": str(_LOG_FILES)})
_ENTRY_BYTES, _ESCAPE = 120, 6  # of the engine's log: what surrounds a line, how long one byte may become: \u0000
_STREAMS = {STDOUT: "stdout", STDERR: "stderr"}
_HEADER = struct.Struct(">BxxxL")
_GAP = b"local_test: the engine's connection was cut; lines may be missing here\n"

_Answer = TypeVar("_Answer")


def one_line(error: Exception) -> str:
    return " ".join(str(getattr(error, "explanation", None) or error).split())


def persist(call: Callable[[], _Answer]) -> _Answer:
    """What the engine answers, asked again for a while if no answer comes. Raises its errors, and the last of the
    connection's."""
    limit = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except APIError:  # an answer
            raise
        except ENGINE_ERRORS:
            if time.monotonic() >= limit:
                raise
        time.sleep(_PAUSE_SECONDS)


class Removals:
    """Removes what jobs leave in the engine; what can't be removed now is tried again, until the program ends."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def remove(self, what: str, remove: Callable[[], object]) -> None:
        """`what` names it for the message: the kind and the name, as in `docker container`."""
        if not _remove(remove):
            thread = threading.Thread(target=_keep_removing, args=(remove,), name=what, daemon=True)
            thread.start()
            with self._lock:
                self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]

    def wait(self, seconds: float) -> list[str]:
        """Waits for what could not be removed at once; what is still there after so long."""
        limit = time.monotonic() + seconds
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, limit - time.monotonic()))
        return [thread.name for thread in threads if thread.is_alive()]


def _remove(remove: Callable[[], object]) -> bool:
    """Whether it is gone."""
    try:
        remove()
    except NotFound:
        return True
    except ENGINE_ERRORS:
        return False
    return True


def _keep_removing(remove: Callable[[], object]) -> None:
    while not _remove(remove):
        time.sleep(_PAUSE_SECONDS)


class DockerContainer:
    """Attached before it starts, so that no output is missed."""

    def __init__(self, container: Any, removals: Removals, held: ExitStack) -> None:
        self._container: Any = container
        self._removals, self._held, self._closed = removals, held, False
        self._exit: Exit | str | None = None
        self._received = dict.fromkeys(_STREAMS.values(), 0)  # bytes
        self._log_bytes = 0  # that the engine's log of it has at most
        # The socket itself, since docker's own stream leaves it half open when it is closed.
        self._socket = container.attach_socket(params={"stdout": 1, "stderr": 1, "stream": 1})
        try:
            container.start()
        except BaseException:
            self._close_socket()
            raise
        # An HTTP request that lasts as long as the container: on a connection pool of its own thread's use.
        self._ended, self._cut = threading.Event(), False
        threading.Thread(target=self._await_end, name=f"wait-{container.short_id}", daemon=True).start()

    def output(self) -> Iterator[tuple[str, bytes]]:
        with suppress(*ENGINE_ERRORS):
            for number, chunk in frames_iter(self._socket, tty=False):  # type: ignore[no-untyped-call]  # left out by types-docker
                yield self._count(_STREAMS.get(number, "stdout"), chunk)
        if self._ended.wait(_SETTLE_SECONDS) and not self._cut:
            return
        while not self._closed and not isinstance(self._exit, str):  # lost: `wait` reports it
            try:
                yield from self._rest()
                return
            except APIError:  # somebody has removed it
                return
            except ENGINE_ERRORS:
                time.sleep(_PAUSE_SECONDS)

    def signal(self, number: int) -> None:
        try:
            persist(lambda: self._container.kill(signal=number))
        except (NotFound, APIError):  # 409: it is not running any more
            return
        except ENGINE_ERRORS as error:
            raise RunnerError(f"The engine takes no signal for the container. Received: {one_line(error)}") from None

    def wait(self, timeout: float | None = None) -> Exit | None:
        if not self._ended.wait(timeout):
            return None
        if isinstance(self._exit, Exit):
            return self._exit
        raise RunnerError(f"The engine lost the container. Received: {self._exit}")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._removals.remove(
                f"container {self._container.short_id}", lambda: self._container.remove(force=True, v=True)
            )
            self._held.close()
            self._close_socket()

    def _close_socket(self) -> None:
        """The answer that became this socket owns it, and its connection."""
        with suppress(*ENGINE_ERRORS):
            self._socket._response.close()

    def _count(self, stream: str, chunk: bytes) -> tuple[str, bytes]:
        self._received[stream] += len(chunk)
        self._log_bytes += _ESCAPE * len(chunk) + _ENTRY_BYTES * (1 + chunk.count(b"\n"))
        return stream, chunk

    def _rest(self) -> Iterator[tuple[str, bytes]]:
        """What has not been received, from the engine's log, until the container's end.

        A log that may have been rotated doesn't tell where that begins: then only what is written from here on.
        """
        whole = self._log_bytes < _LOG_BYTES
        skip = dict(self._received) if whole else dict.fromkeys(self._received, 0)
        lines = {} if whole else {"tail": "0"}
        if not whole:
            yield "stderr", _GAP
        for stream, chunk in _follow_log(self._container, lines):
            new = chunk[skip[stream] :]
            skip[stream] -= len(chunk) - len(new)
            if new:
                yield self._count(stream, new)

    def _await_end(self) -> None:
        try:
            code = self._wait()
            persist(self._container.reload)
            self._exit = Exit(code, bool(self._container.attrs["State"]["OOMKilled"]))
        except ENGINE_ERRORS as error:
            self._exit = one_line(error)
        finally:
            self._ended.set()

    def _wait(self) -> int:
        """Its exit code. The engine may be away for a while, as often as it likes."""
        while True:
            try:
                return self._container.wait(timeout=None)["StatusCode"]
            except APIError:
                raise
            except ENGINE_ERRORS:
                if self._closed:
                    raise
                self._cut = True
            time.sleep(_PAUSE_SECONDS)
            persist(self._container.client.ping)


def _follow_log(container: Any, parameters: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """(stream, bytes) of the engine's log, to the container's end; docker's own method does not tell the streams."""
    api = container.client.api
    url = api._url("/containers/{0}/logs", container.id)
    with api._get(
        url, params={"follow": 1, "stdout": 1, "stderr": 1, **parameters}, stream=True, timeout=None
    ) as response:
        api._raise_for_status(response)
        while header := response.raw.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise OSError("the engine's log broke off")
            number, length = _HEADER.unpack(header)
            yield _STREAMS.get(number, "stdout"), response.raw.read(length)
