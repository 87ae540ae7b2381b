"""How long a job's containers have run, written down while they do: a job that goes on after its program was killed has
only the rest of its MaxRuntimeInSeconds, and what happened meanwhile is not taken for training."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from local_test.util.atomic_files import DAMAGE

_FILE = ".runtime"
_SECONDS = 1.0  # between two writes: no kill loses more
_WIDTH = 32  # characters: each write replaces the last one whole


class Runtime:
    """Of the job whose folder this is, all of its runs together. `starts`: how many there were; each counts itself."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._earlier, self.starts = 0.0, 0
        self._began: float | None = None
        with suppress(*DAMAGE):
            seconds, starts = self._path.read_text().split()
            self._earlier, self.starts = max(0.0, float(seconds)), int(starts)

    @property
    def seconds(self) -> float:
        """Until now."""
        return self._earlier + (0.0 if self._began is None else time.monotonic() - self._began)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """While inside, the file says how long the containers have run, and its time when that was."""
        over = threading.Event()

        def keep() -> None:
            while not over.wait(_SECONDS):
                self._write()

        thread = threading.Thread(target=keep, name="runtime", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @contextmanager
    def running(self) -> Iterator[None]:
        """While inside, containers run."""
        self._began = time.monotonic()
        self._write()
        try:
            yield
        finally:
            self._earlier, self._began = self.seconds, None
            self._write()

    def _write(self) -> None:
        """In place: there is no time when half of it is there. Without it, on a full disk, only a kill loses time."""
        with suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(file, f"{self.seconds:.3f} {self.starts}\n".rjust(_WIDTH).encode(), 0)
            finally:
                os.close(file)


def forget(folder: Path) -> None:
    """The job of the folder is over."""
    with suppress(OSError):
        (folder / _FILE).unlink()


def last_seen(folder: Path) -> datetime | None:
    """When a program that was killed has last written of the job of the folder."""
    times = []
    for name in (_FILE, "describe.json"):
        with suppress(OSError):
            times.append((folder / name).stat().st_mtime)
    return datetime.fromtimestamp(max(times), UTC) if times else None
