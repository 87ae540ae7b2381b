"""A folder that appears whole or not at all.

Everything is built in one hidden sibling of the target, `.data.preparing` for `data`, which is also the lock: it is
on the same file system, so that the last step is a rename, and whoever finds it left over by a killed process clears
it.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataset import interrupt, manifest
from dataset.errors import DatasetError, describe_error


class Staging:
    """`fresh` becomes the target when committed; `scratch` is for what is needed meanwhile."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.root = out.parent / f".{out.name}.preparing"
        self.fresh = self.root / "fresh"
        self.scratch = self.root / "scratch"
        self.replaced = self.root / "replaced"

    def clear(self) -> None:
        """Empties `root`. Killed between the two renames of `commit`, a process left the old data: back it goes."""
        if self.replaced.exists() and not self.out.exists():
            self.replaced.rename(self.out)
        for entry in self.root.iterdir():
            shutil.rmtree(entry)

    def begin(self) -> None:
        self.clear()
        self.fresh.mkdir()
        self.scratch.mkdir()

    def begin_again(self) -> None:
        """Empties `fresh`; `scratch` stays."""
        shutil.rmtree(self.fresh)
        self.fresh.mkdir()

    def commit(self) -> None:
        """Puts `fresh` in the place of the target; what was there goes once the new stands."""
        check_replaceable(self.out)  # again: it may have changed in the minutes since
        for folder in (*(entry for entry in self.fresh.iterdir() if entry.is_dir()), self.fresh):
            _sync(folder)
        with interrupt.hold_signals():
            if self.out.exists():
                self.out.rename(self.replaced)
            try:
                self.fresh.rename(self.out)
            except OSError:
                if self.replaced.exists():
                    self.replaced.rename(self.out)
                raise
            _sync(self.out.parent)


@contextmanager
def staging(out: Path) -> Iterator[Staging]:
    """A locked, empty Staging for `out`, gone at the end whatever happens; `commit` inside makes it count.

    Raises DatasetError if another process prepares the same folder, if the folder is not ours to replace, and for any
    failure of the file system in the body.
    """
    out = Path(os.path.realpath(out))  # a link stays a link: what it points to is replaced
    check_replaceable(out)
    stage = Staging(out)
    try:
        with _parents(out.parent), _hold_lock(stage.root):
            try:
                stage.begin()
                yield stage
            finally:
                with interrupt.hold_signals():
                    stage.clear()
    except OSError as error:
        raise DatasetError(_failure(out, error)) from error


def check_replaceable(out: Path) -> None:
    """Raises DatasetError unless `out` is absent, empty, or holds what an earlier `prepare` wrote and nothing else."""
    if not out.exists():
        return
    if not out.is_dir():
        raise DatasetError(f"--out is not a folder. Received: {out}")
    if not any(out.iterdir()):
        return
    if not (out / manifest.FILE).is_file():
        raise DatasetError(f"{out} holds files but no {manifest.FILE}: it is not replaced; choose another --out")
    manifest.read(out)
    for stranger in _find_unknown(out):
        raise DatasetError(f"{stranger} was not written by `prepare`: move it away, or choose another --out")


def _find_unknown(out: Path) -> Iterator[Path]:
    """What is in a prepared folder although `prepare` does not write it."""
    for entry in sorted(out.iterdir()):
        if entry.name in manifest.SPLITS and entry.is_dir() and not entry.is_symlink():
            yield from (shard for shard in sorted(entry.iterdir()) if not manifest.SHARD_NAME.fullmatch(shard.name))
        elif entry.name != manifest.FILE:
            yield entry


@contextmanager
def _parents(folder: Path) -> Iterator[None]:
    """Makes the folders above the target; removes those that it made if the target is not made."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # not empty: it is in use
            for path in missing:
                path.rmdir()


@contextmanager
def _hold_lock(root: Path) -> Iterator[None]:
    """Holds `root` for this process alone and removes it at the end."""
    descriptor = _lock(root)
    try:
        yield
        root.rmdir()
    finally:
        with suppress(OSError):  # gone already, or not emptied because of the failure that is on its way up
            root.rmdir()
        os.close(descriptor)


def _lock(root: Path) -> int:
    while True:
        root.mkdir(exist_ok=True)
        try:
            descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            target = root.with_name(root.name.removeprefix(".").removesuffix(".preparing"))
            raise DatasetError(f"another `prepare` is writing {target}: let it end, or choose another --out") from None
        if _is(root, descriptor):
            return descriptor
        os.close(descriptor)


def _is(root: Path, descriptor: int) -> bool:
    """Whether the locked folder is still the one at `root`: a process removes it while it holds the lock."""
    try:
        return root.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(out: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "Make room there, or choose another --out; nothing was changed"
        return f"{out} cannot be written: {describe_error(error)}. {advice}"
    return f"{out} cannot be written: {describe_error(error)} ({error.filename or out})"
