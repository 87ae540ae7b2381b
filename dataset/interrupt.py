"""Ctrl-C, `kill` and a closed terminal end a command in the same way: by an exception."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread by one of SIGNALS."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted ({signal.Signals(signum).name})")
        self.signum = signum


class _State:
    held = 0
    pending: int | None = None


def install() -> None:
    """Make SIGNALS raise Interrupted; one that was ignored at the start (nohup) stays ignored."""
    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _raise)


def ignore() -> None:
    """Ignore SIGNALS at the end of the command, so that a second Ctrl-C does not break its last line."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


@contextmanager
def hold_signals() -> Iterator[None]:
    """Delays signals during a few steps that belong together: they are raised after them.

    A mask would not do: the kernel may hand the signal to another thread, and Python runs its handler in the main
    thread all the same.
    """
    _State.held += 1
    try:
        yield
    finally:
        _State.held -= 1
        if not _State.held and _State.pending is not None:
            signum, _State.pending = _State.pending, None
            raise Interrupted(signum)


def _raise(signum: int, _frame: FrameType | None) -> None:
    if _State.held:
        _State.pending = signum
    else:
        raise Interrupted(signum)
