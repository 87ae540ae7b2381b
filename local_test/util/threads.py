"""What several threads have in common: values that are slow to make and never change, a wait for all of them."""

import threading
import time
from collections.abc import Callable, Iterable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def cached_once(make: Callable[P, T]) -> Callable[P, T]:
    """Caches each result of `make`. Only the first thread that asks makes it, the others wait; with functools.cache
    alone, all that ask meanwhile would make it, too."""
    cached, lock = cache(make), threading.Lock()

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> T:
        with lock:
            return cached(*args, **kwargs)  # type: ignore[arg-type]  # that they can be hashed

    return made


def join_all(threads: Iterable[threading.Thread], seconds: float) -> bool:
    """Waits for the end of all, at most so long; whether they have ended."""
    limit = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, limit - time.monotonic()))
        if thread.is_alive():
            return False
    return True
