"""A download over real sockets: broken off, resumed, changed meanwhile, refused, silent."""

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dataset.errors import DatasetError, DownloadError
from dataset.sources import download
from dataset.sources.download import Limits, Remote, fetch

CONTENT = random.Random(0).randbytes(300_000)
SHORT = Limits(connect=1.0, window=1.0)

pytestmark = pytest.mark.timeout(60)


def remote(http: Any, content: bytes = CONTENT) -> Remote:
    return Remote(http.url, "file.tar.gz", hashlib.md5(content).hexdigest())


def fetched(http: Any, folder: Path, content: bytes = CONTENT) -> None:
    assert fetch(remote(http, content), folder, SHORT).read_bytes() == content
    assert [entry.name for entry in folder.iterdir()] == ["file.tar.gz"]


def test_once_and_never_again(http: Any, tmp_path: Path) -> None:
    http.content = CONTENT
    fetched(http, tmp_path / "cache")
    fetched(http, tmp_path / "cache")
    assert http.seen == [None]


def test_a_damaged_file_in_the_cache_is_fetched_anew(http: Any, tmp_path: Path) -> None:
    http.content = CONTENT
    (tmp_path / "file.tar.gz").write_bytes(CONTENT[:-1] + b"?")
    fetched(http, tmp_path)


def test_broken_off_it_goes_on(http: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    http.content, http.break_after = CONTENT, [100_000, 50_000]
    fetched(http, tmp_path)
    assert http.seen == [None, "bytes=100000-", "bytes=150000-"]
    assert "the connection broke off at byte 100,000 of 300,000; going on at byte 100,000" in capfd.readouterr().err


def test_the_next_run_goes_on(http: Any, tmp_path: Path) -> None:
    http.content, http.break_after = CONTENT, [100_000, 0]
    with pytest.raises(DownloadError, match=r"broke off at byte 100,000 of 300,000; 100,000 bytes are kept"):
        fetch(remote(http), tmp_path, SHORT)
    fetched(http, tmp_path)
    assert http.seen == [None, "bytes=100000-", "bytes=100000-"]


def test_killed_it_goes_on(http: Any, tmp_path: Path) -> None:
    code = (
        "import os, signal; from pathlib import Path; from dataset.sources import download\n"
        "blocks = download._blocks\n"
        "def first_then_kill(answer, limits):\n"
        "    yield next(blocks(answer, limits))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "download._blocks = first_then_kill\n"
        f"download.fetch(download.Remote({http.url!r}, 'file.tar.gz', '0'), Path({str(tmp_path)!r}))\n"
    )
    http.content = CONTENT
    child = subprocess.run([sys.executable, "-c", code], cwd=Path(download.__file__).parents[2], capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    kept = (tmp_path / "file.tar.gz.part").stat().st_size
    assert kept > 0
    fetched(http, tmp_path)
    assert http.seen == [None, f"bytes={kept}-"]


def test_a_server_without_ranges_starts_again(http: Any, tmp_path: Path) -> None:
    http.content, http.break_after, http.ranges = CONTENT, [100_000], False
    fetched(http, tmp_path)
    assert http.seen == [None, "bytes=100000-"]


def test_a_changed_file_starts_again(http: Any, tmp_path: Path) -> None:
    http.content, http.break_after = b"old" * 100_000, [100_000, 0]
    with pytest.raises(DownloadError):
        fetch(remote(http), tmp_path, SHORT)
    http.content, http.tag = CONTENT, '"v2"'
    fetched(http, tmp_path)
    assert http.seen[-1] == "bytes=100000-"  # refused by If-Range


def test_a_changed_file_without_a_version_is_found_by_its_checksum(http: Any, tmp_path: Path) -> None:
    http.tag = None
    http.content, http.break_after = b"old" * 100_000, [100_000, 0]
    with pytest.raises(DownloadError):
        fetch(remote(http), tmp_path, SHORT)
    http.content = CONTENT
    fetched(http, tmp_path)
    assert http.seen[-2:] == ["bytes=100000-", None]


def test_416_when_all_is_there_already(http: Any, tmp_path: Path) -> None:
    http.content = CONTENT
    (tmp_path / "file.tar.gz.part").write_bytes(CONTENT)
    fetched(http, tmp_path)
    assert http.seen == ["bytes=300000-"]


def test_416_when_more_is_there_than_should_be(http: Any, tmp_path: Path) -> None:
    http.content = CONTENT
    (tmp_path / "file.tar.gz.part").write_bytes(CONTENT + b"more")
    fetched(http, tmp_path)
    assert http.seen == ["bytes=300004-", None]


def test_416_to_everything_is_no_endless_loop(http: Any, tmp_path: Path) -> None:
    http.status = 416
    with pytest.raises(DownloadError, match="416"):
        fetch(remote(http), tmp_path, SHORT)


def test_another_file_is_not_taken(http: Any, tmp_path: Path) -> None:
    http.content = b"<html>please sign in to the hotel's network</html>"
    with pytest.raises(DownloadError, match=r"has another checksum. Received: md5 [0-9a-f]{32}, 50 bytes. Expected: "):
        fetch(remote(http), tmp_path, SHORT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [403, 404, 407, 500, 503])
def test_an_error_of_server_or_proxy_ends_it_at_once(http: Any, tmp_path: Path, status: int) -> None:
    http.status = status
    with pytest.raises(DownloadError, match=f"the server or a proxy answers {status}"):
        fetch(remote(http), tmp_path, SHORT)
    assert len(http.seen) == 1


def test_a_proxy_that_refuses_ends_it_at_once(http: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    http.status = 501
    monkeypatch.setenv("https_proxy", http.url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(DownloadError, match="Tunnel connection failed: 501"):
        fetch(Remote("https://example.invalid/file.tar.gz", "file.tar.gz", "0"), tmp_path, SHORT)


def test_a_silent_server_has_a_limit(http: Any, tmp_path: Path) -> None:
    http.silent = threading.Event()
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"no answer in 1 s|timed out"):
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
            fetch(Remote("http://example.invalid/f", "f", "0"), tmp_path, Limits(connect=0.5))
        assert time.monotonic() - started < 60
    finally:
        answered.set()


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: refused
        url = f"http://127.0.0.1:{held.getsockname()[1]}/f"
        with pytest.raises(DownloadError, match="Connection refused"):
            fetch(Remote(url, "f", "0"), tmp_path, SHORT)


def test_a_trickle_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 5))
    monkeypatch.setattr(download.time, "monotonic", lambda: next(now))

    class ChunkedStream:
        def read1(self, _size: int) -> bytes:
            return b"x"

    with pytest.raises(download._BrokenError, match="only 7 bytes came in 30 s"):
        for _ in download._blocks(ChunkedStream(), Limits()):
            pass


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/f", "nonsense", "http://", "http://["])
def test_not_an_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"not an http or https address\. Received: "):
        fetch(Remote(url, "f", "0"), tmp_path)


def test_a_cache_that_cannot_be_written(http: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DatasetError, match=r"cache cannot be written: .*; --cache names another folder"):
        fetch(remote(http), tmp_path / "cache")


def test_two_do_not_write_one_file(http: Any, tmp_path: Path) -> None:
    with download._alone(tmp_path), pytest.raises(DatasetError, match="another process is downloading into"):
        fetch(remote(http), tmp_path)
    assert os.listdir(tmp_path) == []  # noqa: PTH208
