"""What is kept of a host's output besides the archives."""

import os
from pathlib import Path

from local_test.hosts.artifacts import REPORT, keep_report
from local_test.hosts.container_tree import ContainerTree
from local_test.hosts.report import open_enclosed


def test_the_first_hosts_report_lies_beside_the_archives(tmp_path: Path) -> None:
    for host in ("none", "first", "second"):
        (tmp_path / host).mkdir()
        (tmp_path / host / REPORT).write_text(host)
    (tmp_path / "none" / REPORT).unlink()
    (tmp_path / "job").mkdir()
    keep_report([ContainerTree(tmp_path / host) for host in ("none", "first", "second")], tmp_path / "job")
    assert open_enclosed((tmp_path / "job" / REPORT).read_bytes()) == b"first"


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
