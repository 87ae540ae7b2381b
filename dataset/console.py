"""Messages, and how far something is, on stderr; only the result goes to stdout."""

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TextIO

_DRAW_SECONDS = 0.2
_LINE_SECONDS = 9.0  # where a line can't be redrawn; nobody waits for ten seconds without a word
_SEPARATOR = " · "
_STDERR = 2  # its descriptor
_COLUMNS = 80  # of a terminal that does not tell


def say(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


class Bar:
    """How far something is: `n` of its total, in `unit`s. Total 0 is not known."""

    def __init__(self, total: int, what: str, unit: str) -> None:
        self.n = 0
        self._total, self._what, self._unit = total, what, unit
        self._out = sys.stderr
        self._began = self._told = time.monotonic()
        self._drawn = ""

    def update(self, n: int = 1) -> None:
        """So much more is done."""
        self.n += n

    def show(self, *, always: bool = True) -> None:
        """On a terminal in place; elsewhere as a line, unless `always`, only if it is time for one."""
        now, terminal = time.monotonic(), self._out.isatty()
        if terminal:
            done = min(1.0, self.n / self._total) if self._total else None
            text = fit(self._parts(now), done, _columns(self._out) - 1)
            self._write(f"\r{text}{' ' * (len(self._drawn) - len(text))}")
            self._drawn = text
        elif always or now - self._told >= _LINE_SECONDS:
            self._told = now
            self._write(f"{', '.join(self._parts(now))}\n")

    def end(self) -> None:
        self.show()
        if self._drawn:
            self._write("\n")

    def _parts(self, now: float) -> list[str]:
        seconds = now - self._began
        rate = self.n / seconds if seconds > 0 else 0.0
        parts = [f"{self._what}: {self._count()}"]
        if rate and self._total > self.n:
            parts.append(f"{format_seconds((self._total - self.n) / rate)} left")
        if rate:
            parts.append(f"{rate / 1e6:.1f} MB/s" if self._unit == "B" else f"{rate:,.0f} {self._unit}s/s")
        return [*parts, format_seconds(seconds)]

    def _count(self) -> str:
        numbers = [self.n, self._total] if self._total else [self.n]
        if self._unit == "B":
            return f"{'/'.join(f'{number / 1e6:.1f}' for number in numbers)} MB"
        return f"{'/'.join(f'{number:,}' for number in numbers)} {self._unit}s"

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._out.write(text)
            self._out.flush()


@contextmanager
def progress_bar(total: int, what: str, unit: str) -> Iterator[Bar]:
    """Shows how far the block is, whether it says something meanwhile or not."""
    bar, ended = Bar(total, what, unit), threading.Event()

    def draw() -> None:
        while not ended.wait(_DRAW_SECONDS):
            bar.show(always=False)

    drawer = threading.Thread(target=draw, name="progress", daemon=True)
    try:
        bar.show()
        drawer.start()
        yield bar
    finally:
        ended.set()
        if drawer.is_alive():
            drawer.join()
        bar.end()


def _columns(out: TextIO) -> int:
    with suppress(OSError, ValueError):
        return os.get_terminal_size(out.fileno()).columns or _COLUMNS
    return _COLUMNS


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
