"""One FIFO in a folder that a container may write to.

Whatever has a name there is the program's: it may rename a FIFO, or put a link that leads to this machine's own files
in its place. So the folder is held open, a name is looked up once and never through a link, and all that follows goes
to the very FIFO that was found, by its descriptor.
"""

import errno
import os
import stat
import threading
from contextlib import suppress

_HOLD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC  # O_PATH opens nothing: what is no FIFO never sees it
_MODE = 0o644  # the container may run as another user; it only reads


class Fifo:
    """The FIFO `name` in the open folder; made, or the one that a killed feeder has left: a reader may wait there.

    OSError if it can't be made; FileExistsError if something else has its name.
    """

    def __init__(self, folder: int, name: str) -> None:
        self._folder, self._name = folder, name
        with suppress(FileExistsError):
            os.mkfifo(name, _MODE, dir_fd=folder)
        self._held: int | None = os.open(name, _HOLD, dir_fd=folder)
        self._lock = threading.Lock()  # a descriptor's number may be another's once it is closed
        self._identity = _identity(os.fstat(self._held))
        try:
            if not stat.S_ISFIFO(os.fstat(self._held).st_mode):
                raise FileExistsError(errno.EEXIST, "something else has its name")
            os.chmod(_opened(self._held), _MODE)  # noqa: PTH101 - mkfifo's own mode is subject to the umask
        except BaseException:
            self.close()
            raise

    def open_to_write(self) -> int:
        """Its descriptor once a reader has come."""
        assert self._held is not None
        return os.open(_opened(self._held), os.O_WRONLY | os.O_CLOEXEC)

    def open_to_read(self) -> int | None:
        """A reader's descriptor at once, which lets a writer in; None after `close`."""
        with self._lock:
            if self._held is None:
                return None
            os.chmod(_opened(self._held), _MODE)  # noqa: PTH101 - the program may have taken the permission
            return os.open(_opened(self._held), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def remove(self) -> None:
        """Its name, if that is still its own."""
        with suppress(FileNotFoundError):
            if _identity(os.lstat(self._name, dir_fd=self._folder)) == self._identity:
                os.unlink(self._name, dir_fd=self._folder)

    def close(self) -> None:
        """Safe to call twice."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            os.close(held)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _opened(descriptor: int) -> str:
    """The path by which the kernel opens what a descriptor holds, whatever its name leads to by now."""
    return f"/proc/self/fd/{descriptor}"
