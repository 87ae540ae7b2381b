"""A cache for threads, of values that are slow to make and never change."""

import threading
from collections.abc import Callable
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
