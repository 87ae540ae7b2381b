"""Messages and progress bars on stderr; only the result goes to stdout."""

import sys
from typing import NoReturn

from tqdm import tqdm


def say(message: str) -> None:
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def progress_bar(total: int, what: str, unit: str, *, initial: int = 0) -> "tqdm[NoReturn]":
    """A progress bar; in a log, where a line can't be redrawn, it prints one every ten seconds."""
    return tqdm(
        total=total,
        initial=initial,
        desc=what,
        unit=unit,
        unit_scale=unit == "B",
        file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
        dynamic_ncols=sys.stderr.isatty(),
    )
