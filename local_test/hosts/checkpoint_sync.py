"""CheckpointConfig: the folder is restored before the container starts, copied up while it runs and at the end.

Like the service, it copies and never deletes: what the program removes stays where it was copied to.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from local_test.data.object_store import ObjectStore, StoredObject, join_uri, name_problem
from local_test.errors import DataError
from local_test.hosts.container_tree import ContainerTree, Entry

_RESTLESS_LOOKS = 5
_MOST_FAILURES = 10  # files, after which the others are not tried: it is S3 that fails

_Signature = tuple[int, int, int]  # size, time of change, inode: another file under the name has another


class CheckpointSync:
    """Keeps `uri` equal to the files of `tree`, in a thread of its own between `start` and `stop`.

    A file is copied once it has not changed from one look to the next, so that few are copied while they are written.
    One that never rests, such as TensorBoard's events, is copied as it is at that look, and again some looks later.
    `on_problem` gets the error of a copy that failed, once; it is tried again, and `stop` raises if it still fails.
    The others are copied all the same.
    """

    def __init__(
        self,
        tree: ContainerTree,
        uri: str,
        storage: ObjectStore,
        on_problem: Callable[[Exception], None],
        seconds: float = 1.0,
    ) -> None:
        self._tree, self._uri, self._storage = tree, uri, storage
        self._on_problem, self._seconds = on_problem, seconds
        self._seen: dict[str, _Signature] = {}
        self._restless: dict[str, int] = {}  # looks in a row that found it changed and did not copy it
        self._copied: dict[str, _Signature] = {}
        self._nameless: set[str] = set()
        self._problem = ""  # that the last look had
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="checkpoints", daemon=True)

    def restore(self, check: Callable[[], None]) -> list[StoredObject]:
        """Everything under the URI into the folder; an URI without objects is a job's first run."""
        objects = [item for item in self._storage.objects(self._uri) if not _is_partial(item.name)]
        for item in objects:
            check()
            self._storage.download(item, self._tree.path / item.name)
        self._copied = {name: _signature(entry) for name, entry in self._tree.files().items()}
        return objects

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The last copy. DataError or OSError if it can't be made."""
        self._stopping.set()
        self._thread.join()
        self.copy()

    def copy(self) -> None:
        """All that has changed, now. DataError or OSError if that fails."""
        self._copy({name: entry for name, entry in self._tree.files().items() if not _is_partial(name)})

    def _watch(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                now = self._tree.files()
                due = {name: entry for name, entry in now.items() if self._is_due(name, entry)}
                self._seen = {name: _signature(entry) for name, entry in now.items()}
                self._copy(due, self._stopping)
                self._problem = ""
            except (DataError, OSError) as error:
                if str(error) != self._problem:
                    self._problem = str(error)
                    self._on_problem(error)

    def _is_due(self, name: str, entry: Entry) -> bool:
        """Whether it has come to rest, or does not."""
        self._restless[name] = self._restless.get(name, 0) + 1
        if self._seen.get(name) != _signature(entry) and self._restless[name] <= _RESTLESS_LOOKS:
            return False
        self._restless[name] = 0
        return True

    def _copy(self, files: Mapping[str, Entry], stopping: threading.Event | None = None) -> None:
        errors: list[DataError | OSError] = []
        for name, entry in files.items():
            if (stopping and stopping.is_set()) or len(errors) == _MOST_FAILURES:
                break
            if self._copied.get(name) != _signature(entry) and self._has_key(name):
                try:
                    # it may be gone by now
                    with suppress(FileNotFoundError), self._tree.open_whole(entry.name) as file:
                        self._storage.put(_snapshot(file, entry), join_uri(self._uri, name))
                        self._copied[name] = _signature(entry)
                except (DataError, OSError) as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def _has_key(self, name: str) -> bool:
        """Whether an object can have the name. One that none can have is told once, and passed over."""
        problem = name_problem(join_uri(self._uri, name))
        if problem and name not in self._nameless:
            self._nameless.add(name)
            self._on_problem(DataError(f"{problem}. Received: {name!a}"))
        return not problem


class _Snapshot:
    """The first `size` bytes of a file, to be read once."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(chunk)
        return chunk


def _snapshot(file: BinaryIO, entry: Entry) -> BinaryIO:
    """As long as the file was when it was looked at: what is added since belongs to the next copy."""
    return cast("BinaryIO", _Snapshot(file, entry.status.st_size))


def _signature(entry: Entry) -> _Signature:
    return entry.status.st_size, entry.status.st_mtime_ns, entry.status.st_ino


def _is_partial(name: str) -> bool:
    """A copy that was cut short by the end of this machine's power: see atomic_files.write_whole."""
    last = PurePosixPath(name).name
    return last.startswith(".") and last.endswith(".part")
