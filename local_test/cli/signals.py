"""Ctrl-C, SIGTERM and a closed terminal, as commands that run jobs take them."""

import os
import queue
import signal
from collections.abc import Callable

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_on_signals(stop: Callable[[], object], kill: Callable[[], object]) -> None:
    """The first signal stops the job as the service would, the second kills it, the third ends this program."""
    count = 0

    def handle(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a handler
        nonlocal count
        count += 1
        if count == 1:
            # os.write: the handler may interrupt a print
            os.write(2, b"\nlocal_test: stopping the job: SIGTERM now, SIGKILL in 120 s; Ctrl-C again kills it\n")
            stop()
        elif count == 2:
            os.write(2, b"\nlocal_test: killing the job\n")
            kill()
        else:
            raise KeyboardInterrupt

    for number in _SIGNALS:
        signal.signal(number, handle)


def ignore_signals() -> None:
    """All is done and kept. Python gives signals back as it ends, and one that comes then would look like a failure."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def collect_signals() -> "queue.SimpleQueue[int]":
    """A queue of every signal that arrives from here on."""
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in _SIGNALS:
        signal.signal(number, lambda number, _: signals.put(number))
    return signals
