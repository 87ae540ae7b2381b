"""What the platform says on its own terminal."""

import io
import re
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, TextIO

# C0 but for tab and line end, DEL, C1; marks of a text's direction; other line ends; halves of surrogate pairs
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SEPARATOR = " · "
_ADDRESS = re.compile(r"file://\S+$")
_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/]*@")
_STDERR = 2  # its descriptor


def printable(text: str) -> str:
    """Text from a job or a server, for a terminal: nothing in it moves the cursor, hides or turns other text, or is the
    password of an address."""
    escaped = _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)
    return _PASSWORD.sub(r"\1***@", escaped) if "://" in escaped else escaped


def link(line: str) -> str:
    """For a terminal: a printable line whose file:// address, at its end, can be clicked on (OSC 8)."""
    return _ADDRESS.sub("\x1b]8;;\\g<0>\x1b\\\\\\g<0>\x1b]8;;\x1b\\\\", line)


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def has_reader(stream: TextIO) -> bool:
    """Whether anybody may still read it: False for a pipe that `head` has left."""
    poll = select.poll()
    try:
        poll.register(stream.fileno(), 0)  # an error is told unasked
    except (OSError, ValueError):  # no file at all
        return True
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def write_on_stderr(text: str) -> None:
    """One line. Where it can't be written, as on a full disk, whoever says it goes on: a job's thread must not end."""
    with suppress(OSError):
        line = printable(text)
        sys.stderr.write(f"{link(line) if sys.stderr.isatty() else line}\n")
        sys.stderr.flush()


def warn_on_stderr(text: str) -> None:
    """One line that says whose it is."""
    write_on_stderr(f"local_test: {text}")


def format_seconds(seconds: float) -> str:
    """`0:05`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def fit(parts: Sequence[str], done: float | None, columns: int) -> str:
    """As many parts as there is room for, and before them a bar if they leave some."""
    text = ""
    for part in parts:
        longer = f"{text}{_SEPARATOR}{part}" if text else part
        if len(longer) > columns and text:
            break
        text = longer
    if len(text) > columns:
        return f"{text[: columns - 1]}…"
    bar = min(20, columns - len(text) - 1)
    if done is None or bar < 6:
        return text
    full = int(done * bar)
    return f"{'█' * full}{'░' * (bar - full)} {text}"


class _Unread(io.FileIO):
    """A standard stream whose reader may go, as `| head -1` does: what nobody reads is dropped. So is what standard
    error has no room for: a word to the person ends no work."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if not isinstance(error, BrokenPipeError) and self.fileno() != _STDERR:
                raise
            return memoryview(data).nbytes


def begin_program() -> None:
    """Of what a person starts: from here on a reader of standard output or standard error that has gone is no failure,
    and Ctrl-C, where nothing else is made of it, ends the program without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # while modules were loaded
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.excepthook = _report
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            raw = io.BufferedWriter(_Unread(stream.fileno(), "w", closefd=False))
            text = io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=stream.line_buffering)
            setattr(sys, name, text)


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What is not handled; Ctrl-C is no fault."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
