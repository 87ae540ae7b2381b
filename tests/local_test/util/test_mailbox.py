"""Requests between two processes of one user: answered while the owner lives, refused at once when it does not."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from local_test.errors import BadRequest
from local_test.util.atomic_files import write_json
from local_test.util.mailbox import Mailbox, answering, ask, has_owner
from tests.support.served import ROOT, until


def test_a_request_and_what_is_refused(tmp_path: Path) -> None:
    asked: list[Any] = []

    def answer(request: Any) -> None:
        asked.append(request)
        if request == {"n": "2"}:
            raise BadRequest("not two")

    assert has_owner(tmp_path) is None
    with answering(tmp_path, answer, pytest.fail):
        assert has_owner(tmp_path)
        assert ask(tmp_path, {"n": "1"}) == {}
        assert ask(tmp_path, {"n": "2"}) == {"error": "not two"}
        assert (tmp_path / ".requests").stat().st_mode & 0o777 == 0o700
        threads = [threading.Thread(target=ask, args=(tmp_path, {"n": str(n)})) for n in range(3, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(100)
        assert sorted(int(request["n"]) for request in asked) == list(range(1, 20))
        assert list((tmp_path / ".requests").iterdir()) == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        ask(tmp_path, {})


def test_what_is_no_request_holds_up_nothing(tmp_path: Path) -> None:
    """A job that runs as a process is its user, and may write there."""
    with answering(tmp_path, lambda _: None, pytest.fail):
        box = tmp_path / ".requests"
        os.mkfifo(box / "0.request")
        (box / "1.request").symlink_to("/dev/zero")
        (box / "2.request").mkdir()
        (box / "3.request").write_text("[" * 100_000)
        (box / "4.request").write_bytes(b"\xff")
        assert ask(tmp_path, {"n": "1"}) == {}


def test_who_ends_waits_until_its_answer_is_read(tmp_path: Path) -> None:
    """As a job that was told to stop, and is over before who asked looks again."""
    box = Mailbox(tmp_path, lambda _: {"said": "yes"})
    request, answer = (tmp_path / f".requests/slow.{kind}" for kind in ("request", "answer"))
    write_json(request, {})
    until(answer.exists)
    closing = threading.Thread(target=box.close)
    closing.start()
    closing.join(0.5)
    assert json.loads(answer.read_text()) == {"said": "yes"}
    answer.unlink()
    closing.join(100)
    assert list(tmp_path.iterdir()) == []


def test_one_owner(tmp_path: Path) -> None:
    warnings: list[str] = []
    with (
        answering(tmp_path, lambda _: None, pytest.fail),
        answering(tmp_path, pytest.fail, warnings.append),
    ):
        assert ask(tmp_path, {}) == {}
    assert len(warnings) == 1


def test_an_owner_that_was_killed_gets_nothing(tmp_path: Path) -> None:
    """Nor does the next one get what was meant for it."""
    code = (
        "import sys, time, pathlib\nfrom local_test.util.mailbox import Mailbox\n"
        "box = Mailbox(pathlib.Path(sys.argv[1]), lambda _: time.sleep(60))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "ready\n"
        with pytest.raises(TimeoutError):
            ask(tmp_path, {}, seconds=0.3)
        killer = threading.Timer(0.3, owner.send_signal, [signal.SIGKILL])
        killer.start()
        with pytest.raises(ProcessLookupError):
            ask(tmp_path, {}, seconds=30)
    assert has_owner(tmp_path) is False
    (tmp_path / ".requests/old.request").write_text("{}")
    with answering(tmp_path, pytest.fail, pytest.fail):
        assert not (tmp_path / ".requests/old.request").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"7" * (2 << 20), b"[]", b'{"n": 1}'])
def test_what_is_no_request_does_no_harm(tmp_path: Path, content: bytes) -> None:
    box = Mailbox(tmp_path, lambda request: request)
    (tmp_path / ".requests/x.request").write_bytes(content)
    assert ask(tmp_path, {"n": "1"}) == {"n": "1"}
    box.close()


def test_a_folder_that_can_not_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / ".requests").write_text("a file")
    warnings: list[str] = []
    with answering(tmp_path, pytest.fail, warnings.append):
        assert has_owner(tmp_path) is None
    assert warnings == [f"other commands can't reach the jobs of {tmp_path}: {os.strerror(17)}"]


def test_an_answer_is_json(tmp_path: Path) -> None:
    box = Mailbox(tmp_path, lambda request: {"got": request})
    assert json.dumps(ask(tmp_path, {"text": "\x1b\n\u202e"})) == json.dumps({"got": {"text": "\x1b\n\u202e"}})
    box.close()
