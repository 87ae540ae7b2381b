"""Waiting for an event in the main thread without becoming deaf to signals."""

import math
import queue
import time
from typing import TypeVar

_Item = TypeVar("_Item")
_LOOK_SECONDS = 1.0


def get_before(items: "queue.SimpleQueue[_Item]", limit: float = math.inf) -> _Item:
    """The next item; queue.Empty once time.monotonic() is at `limit`.

    Python runs signal handlers in the main thread. Where the kernel gives a signal to another thread, nothing wakes a
    main thread that waits: so this one looks up each second.
    """
    while True:
        left = max(0.0, limit - time.monotonic())
        try:
            return items.get(timeout=min(left, _LOOK_SECONDS))
        except queue.Empty:
            if left <= _LOOK_SECONDS:
                raise
