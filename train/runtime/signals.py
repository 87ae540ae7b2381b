"""SIGTERM is caught before anything but the standard library is imported."""

import functools
import logging
import os
import signal
import sys
import threading
from types import TracebackType

_log = logging.getLogger(__name__)


@functools.cache
def stop_on_sigterm() -> threading.Event:
    """An event that SIGTERM sets, at once even while the main thread waits inside TensorFlow. One a process.

    Python runs a signal handler between two bytecodes of the main thread, which may be waiting for a FIFO; the
    interpreter's wake-up descriptor is written by the C handler itself. As PID 1 a process without a handler would not
    even get the signal: the kernel drops it.
    """
    stop = threading.Event()
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    threading.Thread(target=_watch, args=(read, stop), name="sigterm", daemon=True).start()
    return stop


def _watch(descriptor: int, stop: threading.Event) -> None:
    while signal.SIGTERM not in os.read(descriptor, 64):
        pass
    _log.info("SIGTERM: stopping")
    stop.set()


def heed_ctrl_c() -> None:
    """Of what a person starts: from here on Ctrl-C raises KeyboardInterrupt, which shows no traceback."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # while modules were loaded
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What is not handled; Ctrl-C is no fault."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
