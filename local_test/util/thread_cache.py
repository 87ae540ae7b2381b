"""What is slow to make and then never changes."""

import threading
from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def cached_once(make: Callable[P, T]) -> Callable[P, T]:
    """Each result is made a single time, by the first thread that asks; with functools.cache alone, all that ask
    meanwhile make it too, and every one of them waits for all."""
    cached, lock = cache(make), threading.Lock()

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> T:
        with lock:
            return cached(*args, **kwargs)  # type: ignore[arg-type]  # that they can be hashed

    return made
