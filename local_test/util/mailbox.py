"""Requests from one process of a user to another, as files of a folder: no socket, no process's number.

Who answers holds a lock on the folder, which the kernel takes from the dead: so a request to a program that was killed
is refused at once, and never reaches a stranger.
"""

import fcntl
import json
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from local_test.errors import LocalTestError
from local_test.util.atomic_files import write_json

_FOLDER = ".requests"
_LOOK_SECONDS = 0.2
_REQUEST, _ANSWER = ".request", ".answer"
_READ_SECONDS = 5.0  # for which an answer waits for who asked, once its writer is about to go
_MOST_BYTES = 1 << 20

Request = Mapping[str, str]


class Mailbox:
    """Answers what is put into the folder, one request at a time, until `close`. OSError if it can't be had; then
    another program has it, or it can't be written."""

    def __init__(self, folder: Path, answer: Callable[[Request], Any]) -> None:
        self._folder, self._answer, self._over = folder / _FOLDER, answer, threading.Event()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in self._folder.iterdir():  # to a program that was killed
                path.unlink()
        except BaseException:
            os.close(self._lock)
            raise
        self._thread = threading.Thread(target=self._work, name="mailbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answers that were given are read first: a job that was told to stop may be over before who asked looks."""
        self._over.set()
        self._thread.join()
        limit = time.monotonic() + _READ_SECONDS
        while time.monotonic() < limit and any(self._folder.glob(f"*{_ANSWER}")):
            time.sleep(_LOOK_SECONDS / 4)
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    def _work(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            with suppress(OSError):  # the folder is gone
                for path in sorted(self._folder.glob(f"*{_REQUEST}")):
                    with suppress(OSError):  # it is none, the disk is full: who asks learns it by the clock
                        self._reply(path)

    def _reply(self, path: Path) -> None:
        try:
            request = _read(path)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or not all(isinstance(text, str) for text in request.values()):
            path.unlink()
            return
        write_json(path.with_suffix(_ANSWER), self._answer(request))
        path.unlink()


@contextmanager
def answering(folder: Path, answer: Callable[[Request], object], warn: Callable[[str], object]) -> Iterator[None]:
    """While inside, requests are answered; with what is wrong where that is expected. `warn` is told where they can't
    be: the work goes on without."""

    def reply(request: Request) -> Any:
        try:
            answer(request)
        except LocalTestError as error:
            return {"error": str(error)}
        return {}

    try:
        mailbox = Mailbox(folder, reply)
    except OSError as error:
        warn(f"other commands can't reach the jobs of {folder}: {error.strerror}")
        yield
        return
    with closing(mailbox):
        yield


def has_owner(folder: Path) -> bool | None:
    """Whether a program answers there; None if none ever did, or it has ended in order."""
    try:
        file = os.open(folder / _FOLDER, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks: nobody can tell
        return None
    finally:
        os.close(file)
    return False


def ask(folder: Path, request: Request, seconds: float = 30.0) -> Any:
    """The answer of the program that owns the folder's mailbox. ProcessLookupError if there is none, TimeoutError if it
    does not answer, OSError if it can't be asked."""
    path = folder / _FOLDER / f"{uuid4().hex}{_REQUEST}"
    answer = path.with_suffix(_ANSWER)
    if not has_owner(folder):
        raise ProcessLookupError
    write_json(path, request)
    limit = time.monotonic() + seconds
    try:
        while time.monotonic() < limit:
            with suppress(FileNotFoundError):
                return _read(answer)
            if not has_owner(folder):
                raise ProcessLookupError
            time.sleep(_LOOK_SECONDS / 4)
    finally:
        for left in (path, answer):
            left.unlink(missing_ok=True)
    raise TimeoutError


def _read(path: Path) -> Any:
    """ValueError for what is no regular file: a FIFO would be waited for, a link may lead to a device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError
    with os.fdopen(descriptor, encoding="utf-8") as file:
        return json.loads(file.read(_MOST_BYTES))
