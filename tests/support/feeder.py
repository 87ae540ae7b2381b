"""The platform's side of a channel in Pipe mode."""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path


class Feeder:
    """Plays the platform: makes `<channel>_<n>` and writes to each FIFO what its turn gives."""

    def __init__(self, folder: Path, channel: str, turns: Callable[[int], bytes | None]) -> None:
        self._folder, self._channel, self._turns = folder, channel, turns
        self._closed = threading.Event()
        self._current: Path | None = None
        self.opened = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set() and (data := self._turns(self.opened)) is not None:
            path = self._current = self._folder / f"{self._channel}_{self.opened}"
            if not path.exists():
                os.mkfifo(path)
            # a reader that closes early breaks the pipe: not a failure, as on the service
            with contextlib.suppress(BrokenPipeError), path.open("wb", buffering=0) as fifo:
                self.opened += 1
                for start in range(0, len(data), 65536):
                    if fifo.write(data[start : start + 65536]) is None or self._closed.is_set():
                        break

    def close(self) -> None:
        self._closed.set()
        while self._thread.is_alive():  # a writer waiting in open() is woken by a reader
            if self._current is not None and self._current.exists():
                with contextlib.suppress(OSError):
                    os.close(os.open(self._current, os.O_RDONLY | os.O_NONBLOCK))
            self._thread.join(0.05)
