"""Which containers and processes are orphans: a program holds a lock beside the folder of each that it runs, and the
kernel takes that lock from a program that ends, however it ends.
"""

import fcntl
from contextlib import closing, suppress
from pathlib import Path
from typing import TextIO

from local_test.errors import RunnerError

_LOCK = ".local_test.lock"  # no other program's: whoever has no owner is killed


def hold(base: Path) -> TextIO:
    """Until it is closed, what runs on that folder has an owner."""
    try:
        file = (base.parent / _LOCK).open("w")
    except OSError as error:
        raise RunnerError(f"The job's folder can't be written: {error}") from None
    with suppress(OSError):  # a file system without locks: nobody can tell whether the owner lives
        fcntl.flock(file, fcntl.LOCK_SH)
    return file


def is_orphan(base: Path) -> bool:
    """Whether nobody holds the lock. False where that can't be told: no such file, another user's, no locks."""
    try:
        with closing((base.parent / _LOCK).open()) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
