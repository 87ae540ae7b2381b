"""What a launch says on the terminal. Standard library only."""

import io
import re
import signal
import sys
import time
from types import TracebackType
from typing import Any

# C0 but for tab and line end, DEL, C1; marks of a text's direction; other line ends; halves of surrogate pairs
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/]*@")
_STDERR = 2  # its descriptor


def printable(text: str) -> str:
    """Text from a job or a server, for a terminal: nothing in it moves the cursor, hides or turns other text, or is the
    password of an address."""
    escaped = _UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)
    return _PASSWORD.sub(r"\1***@", escaped) if "://" in escaped else escaped


class _Said:
    last = time.monotonic()


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{printable(text)}\n")
    sys.stdout.flush()
    _Said.last = time.monotonic()


def silence() -> float:
    """Seconds since the last line."""
    return time.monotonic() - _Said.last


def format_seconds(seconds: float) -> str:
    """`0:05`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def say_error(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"{printable(text)}\n")


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
