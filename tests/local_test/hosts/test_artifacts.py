"""What is kept of a host's output besides the archives."""

import os
from pathlib import Path

import pytest

from local_test.hosts.artifacts import REPORT, keep_report, quiet
from local_test.hosts.container_tree import ContainerTree


def test_the_first_hosts_report_lies_beside_the_archives(tmp_path: Path) -> None:
    for host in ("none", "first", "second"):
        (tmp_path / host).mkdir()
        (tmp_path / host / REPORT).write_text(host)
    (tmp_path / "none" / REPORT).unlink()
    (tmp_path / "job").mkdir()
    keep_report([ContainerTree(tmp_path / host) for host in ("none", "first", "second")], tmp_path / "job")
    assert (tmp_path / "job" / REPORT).read_text().endswith(">first")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"<h1>a</h1>"), (b"<!DOCTYPE html>", b"<html><h1>a</h1>"), (b"\xef\xbb\xbf \n<!doctype html>", b"a"),
        (b"", b"\v<!doctype html>"), (b"", b"<!-- <!doctype html> -->"), (b"", b"<!doctype html"), (b"\n", b"<p>"),
        (b"", b"\xff\xfe<\0"), (b'<!doctype html "a>', b'">'),
    ],
)  # fmt: skip
def test_what_a_page_may_do_stands_before_all_that_a_job_has_written(before: bytes, after: bytes) -> None:
    page = quiet(before + after)
    assert page.startswith(before + b'<meta http-equiv="Content-Security-Policy" content="default-src ')
    assert page.endswith(b'">' + after)
    assert quiet(page) == page


def test_a_report_that_leads_elsewhere_or_has_no_end_is_left(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    for name in ("link", "large", "fifo"):
        (tmp_path / name).mkdir()
    (tmp_path / "link" / REPORT).symlink_to(tmp_path / "secret")
    (tmp_path / "large" / REPORT).touch()
    os.truncate(tmp_path / "large" / REPORT, 1 << 40)
    os.mkfifo(tmp_path / "fifo" / REPORT)
    (tmp_path / "job").mkdir()
    for name in ("link", "large", "fifo"):
        keep_report([ContainerTree(tmp_path / name)], tmp_path / "job")
    assert list((tmp_path / "job").iterdir()) == []
