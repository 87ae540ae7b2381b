"""Messages and progress bars on stderr; only the result goes to stdout."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol


class Bar(Protocol):
    """How far something is: `n` of its total."""

    n: float

    def update(self, n: float | None = 1) -> object:
        """So much more is done."""


class _Undrawn:
    """In the training image, which has no tqdm."""

    def __init__(self, initial: float) -> None:
        self.n = initial

    def update(self, n: float | None = 1) -> None:
        self.n += n or 0


def say(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


@contextmanager
def progress_bar(total: int, what: str, unit: str, *, initial: int = 0) -> Iterator[Bar]:
    """A progress bar; in a log, where a line can't be redrawn, it prints one every ten seconds."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        yield _Undrawn(initial)
        return

    bar = tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit=unit,
        unit_scale=unit == "B",
        file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
        dynamic_ncols=sys.stderr.isatty(),
        delay=1e-9,  # any: not drawn before it is in the block below, which ends its line when a signal comes
    )
    bar.delay = 0
    with bar:
        bar.refresh()
        yield bar


class _Unread(io.FileIO):
    """A standard stream whose reader may go, as `| head -1` does: what nobody reads is dropped."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def drop_unread_output() -> None:
    """From here on a reader of standard output or standard error that has gone is no failure."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            raw = io.BufferedWriter(_Unread(stream.fileno(), "w", closefd=False))
            text = io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=stream.line_buffering)
            setattr(sys, name, text)
