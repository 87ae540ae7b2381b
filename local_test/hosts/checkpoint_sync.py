"""CheckpointConfig: the folder is restored before the container starts, copied up while it runs and at the end.

Like the service, it copies and never deletes: what the program removes stays where it was copied to.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from local_test.data.object_store import ObjectStore, StoredObject, join_uri
from local_test.errors import DataError

_Signature = tuple[int, int, int]  # size, time of change, inode: another file under the name has another


class CheckpointSync:
    """Keeps `uri` equal to what `folder` holds, in a thread of its own between `start` and `stop`.

    A file is copied once it has not changed from one look to the next, so that none is copied while it is written.
    `on_problem` gets the error of a copy that failed; it is tried again, and `stop` raises if it still fails.
    """

    def __init__(
        self,
        folder: Path,
        uri: str,
        storage: ObjectStore,
        on_problem: Callable[[Exception], None],
        seconds: float = 1.0,
    ) -> None:
        self._folder, self._uri, self._storage = folder, uri, storage
        self._on_problem, self._seconds = on_problem, seconds
        self._seen: dict[str, _Signature] = {}
        self._copied: dict[str, _Signature] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="checkpoints", daemon=True)

    def restore(self, check: Callable[[], None]) -> list[StoredObject]:
        """Everything under the URI into the folder; an URI without objects is a job's first run."""
        objects = [item for item in self._storage.objects(self._uri) if not _is_partial(item.name)]
        for item in objects:
            check()
            self._storage.download(item, self._folder / item.name)
        self._copied = self._read_signatures()
        return objects

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The last copy. DataError or OSError if it can't be made."""
        self._stopping.set()
        self._thread.join()
        self._copy(self._read_signatures())

    def _watch(self) -> None:
        while not self._stopping.wait(self._seconds):
            now = self._read_signatures()
            settled = {name: sign for name, sign in now.items() if self._seen.get(name) == sign}
            self._seen = now
            try:
                self._copy(settled, self._stopping)
            except (DataError, OSError) as error:
                self._on_problem(error)

    def _copy(self, files: dict[str, _Signature], stopping: threading.Event | None = None) -> None:
        for name, signature in files.items():
            if stopping and stopping.is_set():
                return
            if self._copied.get(name) != signature:
                with suppress(FileNotFoundError):  # removed or renamed since we looked
                    self._storage.put(self._folder / name, join_uri(self._uri, name))
                    self._copied[name] = signature

    def _read_signatures(self) -> dict[str, _Signature]:
        found = {}
        for path in sorted(self._folder.rglob("*")):
            with suppress(FileNotFoundError):
                status = path.stat()
                if path.is_file():
                    name = path.relative_to(self._folder).as_posix()
                    found[name] = (status.st_size, status.st_mtime_ns, status.st_ino)
        return found


def _is_partial(name: str) -> bool:
    """A copy that was cut short by the end of this machine's power: see atomic_files.write_whole."""
    last = PurePosixPath(name).name
    return last.startswith(".") and last.endswith(".part")
