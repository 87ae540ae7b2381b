"""One file from the network into a folder: resumed where it broke off, checked, there whole or not at all."""

import fcntl
import hashlib
import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dataset.console import bar, say
from dataset.errors import DatasetError, DownloadError, why

_ATTEMPTS = 20  # of a connection that keeps breaking, each of which brought something
_BLOCK = 1 << 18
_PARTIAL, _NOT_SATISFIABLE = 206, 416


@dataclass(frozen=True)
class Remote:
    """A file, known by its MD5 (what its publishers name; it guards against damage, not against forgery)."""

    url: str
    name: str
    md5: str


@dataclass(frozen=True)
class Limits:
    """Seconds. `connect` spans everything up to the answer's headers: name, connection, TLS, proxy, redirects."""

    connect: float = 10.0
    window: float = 30.0  # in which at least `least` bytes must come
    least: int = 64 << 10


class _BrokenError(Exception):
    """This attempt is over; what has come so far stays."""


def fetch(remote: Remote, folder: Path, limits: Limits = Limits()) -> Path:
    """The file in `folder`, downloaded unless it is there with the right MD5.

    Raises DownloadError if the network does not give it: at once if it does not answer at all, within limits.connect.
    What has been received stays in `<name>.part`, and the next call goes on from there.
    """
    _check_address(remote.url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            return _fetch(remote, folder, limits)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be written: {why(error)}; --cache names another folder") from error


def _check_address(url: str) -> None:
    try:
        known = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        known = False
    if not known:
        raise DatasetError(f"not an http or https address. Received: {url}")


def _fetch(remote: Remote, folder: Path, limits: Limits) -> Path:
    target = folder / remote.name
    if target.exists() and _md5(target) == remote.md5:
        return target
    part = _Part(folder / f"{remote.name}.part")
    begun = part.size() > 0
    _complete(remote, part, limits)
    if (begun or part.requests > 1) and _md5(part.path) != remote.md5:
        say(f"{remote.name}: what was resumed does not fit what has come since: once more from the start")
        part.clear()
        _complete(remote, part, limits)
    if (received := _md5(part.path)) != remote.md5:
        size = part.size()
        part.clear()
        raise DownloadError(
            f"{remote.url} has another checksum. Received: md5 {received}, {size:,} bytes. Expected: {remote.md5}"
        )
    part.path.replace(target)
    part.clear()
    return target


class _Part:
    """A half-received file and, beside it, the server's mark of the version it is a part of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received = 0  # bytes by this process
        self.requests = 0  # that were answered
        self._mark = path.with_name(f"{path.name}.version")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> str | None:
        return self._mark.read_text() if self._mark.exists() else None

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)

    def restart(self, version: str | None) -> None:
        self.clear()
        self.path.touch()
        if version:
            self._mark.write_text(version)


def _complete(remote: Remote, part: _Part, limits: Limits) -> None:
    """Attempts until all is there. One that brings nothing is the last: nobody is made to wait for a dead line."""
    reason = ""
    for _ in range(_ATTEMPTS):
        before = part.received
        try:
            _attempt(remote, part, limits)
            return
        except _BrokenError as error:
            reason = str(error)
        if part.received == before:
            break
        say(f"{remote.name}: {reason}; going on at byte {part.size():,}")
    kept = f"; {part.size():,} bytes are kept, the next run goes on from there" if part.size() else ""
    raise DownloadError(f"{remote.url} cannot be downloaded: {reason}{kept}")


def _attempt(remote: Remote, part: _Part, limits: Limits) -> None:
    """One request from where `part` ends. Raises _BrokenError unless the file is complete afterwards."""
    start = part.size()
    with _answer(_request(remote.url, start, part.version()), limits.connect) as answer:
        part.requests += 1
        if answer.status != _NOT_SATISFIABLE:
            _receive(answer, part, start, limits)
            return
    # nothing lies beyond what we have: if that is no more than there is, the checksum tells what it is worth
    if _total(answer) != start or not start:
        part.clear()
        if not start:
            raise _BrokenError(f"the server answers {_NOT_SATISFIABLE} to a request for everything")
        _attempt(remote, part, limits)


def _request(url: str, start: int, version: str | None) -> urllib.request.Request:
    headers = {"User-Agent": "cv-keras-cifar10", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if version:
            headers["If-Range"] = version
    return urllib.request.Request(url, headers=headers)  # noqa: S310 -- fetch() admits http and https only


def _receive(answer: http.client.HTTPResponse, part: _Part, start: int, limits: Limits) -> None:
    if not _continues(answer, start):
        # no Range support, or If-Range found another version: this is the whole file
        part.restart(_version(answer))
        start = 0
    total = _total(answer)
    with part.path.open("ab", buffering=0) as file, bar(total or 0, "download", "B", initial=start) as done:
        for block in _blocks(answer, limits):
            file.write(block)
            part.received += len(block)
            done.update(len(block))
    if total is not None and part.size() < total:
        raise _BrokenError(f"the connection broke off at byte {part.size():,} of {total:,}")


def _blocks(answer: http.client.HTTPResponse, limits: Limits) -> Iterator[bytes]:
    began, received = time.monotonic(), 0
    while True:
        try:
            block = answer.read1(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(f"the connection broke off: {why(error)}") from None
        if not block:
            return
        yield block
        received += len(block)
        if time.monotonic() - began > limits.window:
            if received < limits.least:
                raise _BrokenError(f"only {received:,} bytes came in {limits.window:.0f} s")
            began, received = time.monotonic(), 0


def _answer(request: urllib.request.Request, limit: float) -> Any:
    """The answer once its headers are there; 416 is one. Raises _BrokenError, in `limit` seconds at most."""
    try:
        opener = urllib.request.build_opener()  # with the proxies that the environment names now
        return _within(limit, lambda: opener.open(request, timeout=limit))
    except urllib.error.HTTPError as error:
        if error.code == _NOT_SATISFIABLE:
            return error
        error.close()
        raise _BrokenError(f"the server or a proxy answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        reason = error.reason if isinstance(error.reason, BaseException) else error
        raise _BrokenError(why(reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _BrokenError(why(error)) from None


def _within(limit: float, call: Callable[[], Any]) -> Any:
    """call(), or TimeoutError after `limit` seconds. In a thread: a name look-up can't be given a time limit."""
    outcome: list[tuple[Any, BaseException | None]] = []
    given_up = threading.Event()

    def run() -> None:
        try:
            answer = call()
        except Exception as error:
            outcome.append((None, error))
            return
        outcome.append((answer, None))
        if given_up.is_set():
            answer.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    if not outcome:
        given_up.set()
        raise TimeoutError(f"no answer in {limit:g} s")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def _continues(answer: http.client.HTTPResponse, start: int) -> bool:
    return answer.status == _PARTIAL and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _total(answer: http.client.HTTPResponse) -> int | None:
    """Bytes of the whole file, None if the server does not say."""
    after_slash = answer.headers.get("Content-Range", "").rpartition("/")[2]
    size = after_slash if answer.status in (_PARTIAL, _NOT_SATISFIABLE) else answer.headers.get("Content-Length", "")
    return int(size) if size.isdecimal() else None


def _version(answer: http.client.HTTPResponse) -> str | None:
    """What If-Range may carry: a strong ETag, else the date (RFC 9110 §13.1.5)."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two processes must not append to one file. A lock on the folder leaves nothing behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DatasetError(f"another process is downloading into {folder}: let it end") from None
    finally:
        os.close(descriptor)
