"""A download over real sockets: whole, broken off, refused, silent."""

import hashlib
import os
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dataset.errors import DatasetError, DownloadError
from dataset.sources import download
from dataset.sources.download import Remote, fetch

CONTENT = random.Random(0).randbytes(300_000)
SHORT, LONG = 2.0, 100.0  # seconds: for what stays silent, for what answers


def remote(http: Any, content: bytes = CONTENT) -> Remote:
    return Remote(http.url, "file.tar.gz", hashlib.md5(content).hexdigest())


def fetched(http: Any, folder: Path, content: bytes = CONTENT) -> None:
    assert fetch(remote(http, content), folder, LONG).read_bytes() == content
    assert [entry.name for entry in folder.iterdir()] == ["file.tar.gz"]


def test_once_and_never_again(http: Any, tmp_path: Path) -> None:
    http.content = CONTENT
    fetched(http, tmp_path / "cache")
    fetched(http, tmp_path / "cache")
    assert http.requests == 1


def test_a_damaged_file_in_the_cache_is_fetched_anew(http: Any, tmp_path: Path) -> None:
    http.content = CONTENT
    (tmp_path / "file.tar.gz").write_bytes(CONTENT[:-1] + b"?")
    fetched(http, tmp_path)


def test_broken_off_it_leaves_nothing_and_the_next_run_starts_again(http: Any, tmp_path: Path) -> None:
    http.content, http.break_after = CONTENT, [100_000]
    with pytest.raises(DownloadError, match=r"downloaded: the connection broke off at byte 100,000 of 300,000"):
        fetch(remote(http), tmp_path, LONG)
    assert list(tmp_path.iterdir()) == []
    fetched(http, tmp_path)
    assert http.requests == 2


def test_what_a_killed_download_has_left_is_replaced(http: Any, tmp_path: Path) -> None:
    (tmp_path / "file.tar.gz.part").write_bytes(b"half")
    http.content = CONTENT
    fetched(http, tmp_path)


def test_a_server_that_falls_silent_has_a_limit(http: Any, tmp_path: Path) -> None:
    http.content, http.break_after, http.silent_after = CONTENT, [100_000], threading.Event()
    with pytest.raises(DownloadError, match=r"cannot be downloaded: .*timed out"):
        fetch(remote(http), tmp_path, SHORT)
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_not_taken(http: Any, tmp_path: Path) -> None:
    http.content = b"<html>please sign in to the hotel's network</html>"
    with pytest.raises(DownloadError, match=r"has another checksum. Received: md5 [0-9a-f]{32}, 50 bytes. Expected: "):
        fetch(remote(http), tmp_path, LONG)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [403, 404, 407, 500, 503])
def test_an_error_of_server_or_proxy_ends_it_at_once(http: Any, tmp_path: Path, status: int) -> None:
    http.status = status
    with pytest.raises(DownloadError, match=f"the server or a proxy answers {status}"):
        fetch(remote(http), tmp_path, LONG)
    assert http.requests == 1


def test_a_proxy_that_refuses_ends_it_at_once(http: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    http.status = 501
    monkeypatch.setenv("https_proxy", http.url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(DownloadError, match="Tunnel connection failed: 501"):
        fetch(Remote("https://example.invalid/file.tar.gz", "file.tar.gz", "0"), tmp_path, LONG)


def test_a_silent_server_has_a_limit(http: Any, tmp_path: Path) -> None:
    http.silent = threading.Event()
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"no answer in 2 s|timed out"):
        fetch(remote(http), tmp_path, SHORT)
    assert time.monotonic() - started < 60


def test_a_hanging_name_service_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        answered.wait(60)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    started = time.monotonic()
    try:
        with pytest.raises(DownloadError, match=r"no answer in 0\.5 s"):
            fetch(Remote("http://example.invalid/f", "f", "0"), tmp_path, 0.5)
        assert time.monotonic() - started < 60
    finally:
        answered.set()


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: refused
        url = f"http://127.0.0.1:{held.getsockname()[1]}/f"
        with pytest.raises(DownloadError, match="Connection refused"):
            fetch(Remote(url, "f", "0"), tmp_path, LONG)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/f", "nonsense", "http://", "http://["])
def test_not_an_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"not an http or https address\. Received: "):
        fetch(Remote(url, "f", "0"), tmp_path)


def test_a_cache_that_cannot_be_written(http: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DatasetError, match=r"cache cannot be written: .*; --cache names another folder"):
        fetch(remote(http), tmp_path / "cache")


def test_two_do_not_write_one_file(http: Any, tmp_path: Path) -> None:
    with download._lock(tmp_path), pytest.raises(DatasetError, match="another process is downloading into"):
        fetch(remote(http), tmp_path)
    assert os.listdir(tmp_path) == []  # noqa: PTH208
