"""One file from the network into a folder: checked, there whole or not at all."""

import fcntl
import hashlib
import http.client
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dataset.console import progress_bar
from dataset.errors import DatasetError, DownloadError, describe_error

TIMEOUT = 10.0  # seconds
_BLOCK = 1 << 18
_MOST = 1 << 30  # bytes: six times the archive; what gives more is not it
_HEADERS = {"User-Agent": "cv-keras-cifar10", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Remote:
    """A file, known by its MD5 (what its publishers name; it guards against damage, not against forgery)."""

    url: str
    name: str
    md5: str


def fetch(remote: Remote, folder: Path, timeout: float = TIMEOUT) -> Path:
    """The file in `folder`, downloaded unless it is there with the right MD5.

    Raises DownloadError if the network does not give it. `timeout`, in seconds, is for everything up to the answer's
    headers — name, connection, TLS, proxy, redirects — and then for each part of the body.
    """
    _check_address(remote.url)
    target = folder / remote.name
    part = folder / f"{remote.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if target.exists() and not target.is_file():
                raise DatasetError(f"{target} is no regular file: remove it, or name another folder with --cache")
            if not target.exists() or _hash_file(target) != remote.md5:
                try:
                    _download(remote, part, timeout)
                    part.replace(target)
                finally:
                    part.unlink(missing_ok=True)
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be written: {describe_error(error)}; --cache names another folder"
        ) from error
    return target


def _check_address(url: str) -> None:
    try:
        known = urlsplit(url).scheme in ("http", "https") and bool(urlsplit(url).hostname)
    except ValueError:
        known = False
    if not known:
        raise DatasetError(f"not an http or https address. Received: {url}")


def _download(remote: Remote, part: Path, timeout: float) -> None:
    """Write the whole file to `part`. Raises DownloadError if the network gives less, or another file."""
    request = urllib.request.Request(remote.url, headers=_HEADERS)  # noqa: S310 -- fetch() admits http and https only
    opener = urllib.request.build_opener()  # with the proxies that the environment names now
    with _network_errors(remote.url):
        answer = _call_within(timeout, lambda: opener.open(request, timeout=timeout))
    total, received, md5 = int(answer.headers.get("Content-Length") or 0), 0, hashlib.md5(usedforsecurity=False)
    with answer, part.open("wb") as file, progress_bar(total, "download", "B") as progress:
        while block := _read(answer, remote.url):
            file.write(block)
            md5.update(block)
            received += len(block)
            progress.update(len(block))
            if received > _MOST:
                raise DownloadError(f"{remote.url} gives more than {_MOST:,} bytes. Expected: {remote.name}")
    if received < total:
        raise DownloadError(
            f"{remote.url} cannot be downloaded: the connection broke off at byte {received:,} of {total:,}"
        )
    if md5.hexdigest() != remote.md5:
        raise DownloadError(
            f"{remote.url} has another checksum. Received: md5 {md5.hexdigest()}, {received:,} bytes. "
            f"Expected: {remote.md5}"
        )


def _read(answer: http.client.HTTPResponse, url: str) -> bytes:
    with _network_errors(url):
        return answer.read1(_BLOCK)


@contextmanager
def _network_errors(url: str) -> Iterator[None]:
    """Make each a DownloadError of one line."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"the server or a proxy answers {error.code} {error.reason}"
    except urllib.error.URLError as error:
        reason = describe_error(error.reason if isinstance(error.reason, BaseException) else error)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = describe_error(error)
    else:
        return
    raise DownloadError(f"{url} cannot be downloaded: {reason}")


def _call_within(timeout: float, call: Callable[[], Any]) -> Any:
    """call(), or TimeoutError after `timeout` seconds. In a thread: a name look-up can't be given a time limit."""
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()  # an executor's thread would keep the process from ending
    wait([outcome], timeout)
    if not outcome.done():
        raise TimeoutError(f"no answer in {timeout:g} s")
    return outcome.result()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Two processes must not write one file. A lock on the folder leaves nothing behind."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DatasetError(f"another process is downloading into {folder}: let it end") from None
    finally:
        os.close(descriptor)
