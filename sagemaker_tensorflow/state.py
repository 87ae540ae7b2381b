"""Which FIFO of a channel comes next, kept in `state_dir` across processes and safe between them.

The files are those of the official reader, so that one reader can continue after the other. The official one reads the
number and raises it in two steps: two processes could take the same FIFO. Here both happen under the lock.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PipeState:
    """The number of the next FIFO of `channel`."""

    def __init__(self, folder: Path, channel: str) -> None:
        self._lock = folder / f".{channel}-pipe_mode-lock"
        self._file = folder / f".{channel}-pipe_mode-state"
        self._unread: set[int] = set()  # given back when later ones were taken
        with self._hold_lock():
            if not self._file.exists():
                self._write(0)

    def take(self) -> int:
        """The next FIFO's number, which no other process gets."""
        with self._hold_lock():
            index = self._read()
            self._write(index + 1)
        return index

    def first_unread(self, index: int) -> int:
        """The FIFO to read instead of `index`, which is the reader's own: an earlier one that was given back, if any.

        The platform makes a FIFO only when those before it have been read.
        """
        with self._hold_lock():
            earliest = min(self._unread | {index})
            if earliest < index:
                self._unread.remove(earliest)
                self._give_back(index)
        return earliest

    def give_back(self, index: int) -> None:
        """FIFO `index` was never read: make it the next one again, or if others have taken later ones, keep it."""
        with self._hold_lock():
            self._give_back(index)

    def _give_back(self, index: int) -> None:
        if self._read() == index + 1:
            self._write(index)
        else:
            self._unread.add(index)

    def _read(self) -> int:
        try:
            text = self._file.read_text()
        except FileNotFoundError:
            return 0
        try:
            return int(text)
        except ValueError:
            raise RuntimeError(
                f"{self._file} can't be used. Received: {text!r}. Expected: the number of the channel's next FIFO. "
                "Remove the file to begin with FIFO 0."
            ) from None

    def _write(self, index: int) -> None:
        beside = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        with beside.open("w") as file:
            file.write(str(index))
            file.flush()
            os.fsync(file.fileno())
        beside.rename(self._file)

    @contextmanager
    def _hold_lock(self) -> Iterator[None]:
        with self._lock.open("w") as lock:  # closing it unlocks
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
