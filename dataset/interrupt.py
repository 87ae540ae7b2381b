"""Ctrl-C, `kill` and a closed terminal end a command the same way: an exception that unwinds it."""

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
    """From now on SIGNALS raise Interrupted; one that was ignored when we came (nohup) stays ignored."""
    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _raise)


def ignore() -> None:
    """Called once the command is over, so that an impatient second Ctrl-C does not tear up the last line."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


@contextmanager
def held() -> Iterator[None]:
    """A few steps that must not be torn apart: a signal that comes meanwhile is raised after them.

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
