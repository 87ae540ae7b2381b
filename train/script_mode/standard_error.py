"""The end of a program's standard error: what a failure says of its cause."""

import collections
import itertools
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_READ_BYTES = 1 << 16
_KEPT_BYTES = 1 << 16
_MOST_CHARACTERS = 600  # FailureReason has 1,024 with the toolkit's own words and the command
_LAST_LINES = 5
_DRAIN_SECONDS = 1.0  # for what is in the pipe; a process left behind may hold it open for good


class StandardError:
    """A pipe whose content goes on to this process's standard error, byte for byte as it comes; the end is kept.

    Not the toolkit's capture_error: that reads both streams in chunks and prints every chunk as lines, so that a
    metric's line which is written in two parts (as `print` does with PYTHONUNBUFFERED) breaks in two.
    """

    def __init__(self) -> None:
        self._chunks: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._out = os.dup(2)
        self._read, self.descriptor = os.pipe()
        self._reader = threading.Thread(target=self._pass_on, name="stderr", daemon=True)
        self._reader.start()

    def close(self) -> None:
        os.close(self.descriptor)
        self._reader.join(_DRAIN_SECONDS)

    @property
    def text(self) -> str:
        return b"".join(self._chunks).decode("utf-8", "replace")

    def _pass_on(self) -> None:
        try:
            while chunk := os.read(self._read, _READ_BYTES):
                self._keep(chunk)
                while chunk:
                    chunk = chunk[os.write(self._out, chunk) :]
        finally:  # where nobody reads any more, the program learns it: it must not wait for room in the pipe
            os.close(self._read)
            os.close(self._out)

    def _keep(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._chunks[0]) >= _KEPT_BYTES:
            self._size -= len(self._chunks.popleft())


@contextmanager
def capture_standard_error() -> Iterator[StandardError]:
    """Of this process and those that it starts meanwhile."""
    captured, saved = StandardError(), os.dup(2)
    os.dup2(captured.descriptor, 2)
    try:
        yield captured
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        captured.close()


def find_cause(text: str) -> str:
    """The exception that ended a Python program, else its last lines."""
    _, traceback, rest = _of_one_process(text).replace("\r", "\n").rpartition("Traceback (most recent call last):\n")
    lines = [line for line in rest.splitlines() if line.strip(" -")]  # nothing, or a rule
    if not traceback:
        return "\n".join(lines[-_LAST_LINES:])[-_MOST_CHARACTERS:]
    exception = itertools.dropwhile(lambda line: line[0].isspace(), lines)  # after the frames
    return "\n".join(exception)[:_MOST_CHARACTERS]


def _of_one_process(text: str) -> str:
    """Of mpirun's output, in which parts of lines begin with the name of their process, such as [1,0]<stderr>: what the
    one says that failed first."""
    tags = re.findall(r"^\[\d+,\d+\]<stderr>:(?=Traceback)", text, re.MULTILINE)
    tags += re.findall(r"^\[\d+,\d+\]<stderr>:", text, re.MULTILINE)
    if not tags:
        return text
    lines = [line for line in text.splitlines(keepends=True) if line.startswith(tags[0])]
    return "".join(lines).replace(tags[0], "")


def find_pip_errors(text: str) -> str:
    """What pip calls errors, in one line."""
    return " ".join(re.findall(r"^ERROR: (.+)$", text, flags=re.MULTILINE))[:_MOST_CHARACTERS] or find_cause(text)
