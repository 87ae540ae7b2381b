"""Descriptions that can't be written, for the disk is full, are written once there is room."""

import threading
from pathlib import Path
from typing import Any

from local_test.util.atomic_files import write_json
from local_test.util.console import warn_on_stderr

_PAUSE_SECONDS = 1.0


class LateWrites:
    """Of each file the last value, tried again until `close`; in a folder that is gone nothing is. Safe for threads."""

    def __init__(self) -> None:
        self._left: dict[Path, Any] = {}
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, path: Path, value: Any) -> None:
        with self._lock:
            known = path in self._left
            self._left[path] = value
            error = self._try(path)
            if error and not known:
                warn_on_stderr(f"{path} can't be written, and is tried again: {error.strerror}")
            if error and not self._thread:
                self._thread = threading.Thread(target=self._keep_trying, name="late-writes", daemon=True)
                self._thread.start()

    def drop(self, folder: Path) -> None:
        """What is below the folder is not wanted any more."""
        with self._lock:
            self._left = {path: value for path, value in self._left.items() if not path.is_relative_to(folder)}

    def close(self) -> None:
        """The last try."""
        self._closed.set()
        with self._lock:
            for path in list(self._left):
                if error := self._try(path):
                    warn_on_stderr(f"{path} is old, its last change could not be written: {error.strerror}")

    def _keep_trying(self) -> None:
        while not self._closed.wait(_PAUSE_SECONDS):
            with self._lock:
                for path in list(self._left):
                    self._try(path)

    def _try(self, path: Path) -> OSError | None:
        try:
            write_json(path, self._left[path])
        except OSError as error:
            if path.parent.exists():
                return error
        del self._left[path]
        return None
