"""Objects → FIFOs: one writer a channel serves `<prefix>_0`, `<prefix>_1`, … until it is stopped.

The service's rules (Pipe mode): n counts openings; a reader may close early and goes on with n + 1, which may be there
already when it looks. FIFO n + 1 is therefore made as soon as n has been opened, and n is removed once it has been
served, so that nobody waits at a FIFO that nobody will write.

A reader that never comes costs nothing: the writer sleeps in open(2), and `stop` wakes it by opening the FIFO for
reading itself. A reader that stops reading costs nothing either: the writer sleeps in poll(2), together with a pipe
that `stop` writes to.
"""

import errno
import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from local_test.data.channels import Content
from local_test.data.fifo import Fifo
from local_test.errors import Cancelled, DataError

PIPE_BYTES = 1 << 20  # what Linux grants without privileges; a smaller pipe is slower, not wrong
_REPORT_SECONDS = 0.1
_NO_SPLICE = (errno.EINVAL, errno.ENOSYS)  # file systems that can't splice say so


@dataclass(frozen=True)
class FeedProgress:
    """How far FIFO n of a channel is: `bytes` written so far. `end` is "all" or "early" once the epoch is over."""

    channel: str
    n: int
    bytes: int
    end: str | None = None


class Feeder:
    """The writer of one channel, a thread of its own between `start` and `stop`.

    `contents(n)` yields what FIFO n gives: paths, which the kernel moves into the pipe without copying, or iterators
    of bytes. `on_feed` and `on_error` are called in the feeder's thread. After an error the FIFO stays open until
    `stop`, so that a reader never takes half an epoch for a whole one.
    """

    def __init__(
        self,
        prefix: Path,
        contents: Callable[[int], Iterable[Content]],
        on_feed: Callable[[FeedProgress], None] = lambda _: None,
        on_error: Callable[[Exception], None] = lambda _: None,
        epochs: int | None = None,
    ) -> None:
        self._prefix, self._contents, self._epochs = prefix, contents, epochs
        self._on_feed, self._on_error = on_feed, on_error
        self._stopping = threading.Event()
        self._n, self._wake_read, self._wake_write = 0, -1, -1
        self._folder = -1
        self._fifos: dict[int, Fifo] = {}  # the one that is served, and the next
        self._thread = threading.Thread(target=self._serve, name=f"feeder-{prefix.name}", daemon=True)

    def start(self) -> None:
        """FIFO 0 exists when this returns. DataError if its place is taken or can't be written.

        The folder is what the prefix leads to now, before there is a container; from here on its name doesn't count.
        """
        self._wake_read, self._wake_write = os.pipe()
        try:
            self._make_fifo(0)
        except DataError:
            self._close_all()
            raise
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End serving, whatever the reader does, and remove the FIFOs. Safe to call twice and before `start`."""
        self._stopping.set()
        if not self._thread.ident:
            return
        if self._wake_write >= 0:
            os.write(self._wake_write, b"x")
        deadline = time.monotonic() + timeout
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._release_open()
        for fifo in list(self._fifos.values()):
            fifo.remove()
        if not self._thread.is_alive():  # else it hangs in a read of its source, which has a limit of its own
            self._close_all()

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until all `epochs` are served."""
        self._thread.join(timeout)

    def path(self, n: int) -> Path:
        """FIFO n."""
        return self._prefix.with_name(f"{self._prefix.name}_{n}")

    def _release_open(self) -> None:
        """Be the reader that a writer waits for in open(2), for a moment."""
        fifo = self._fifos.get(self._n)
        reader = fifo.open_to_read() if fifo else None
        try:
            self._thread.join(0.05)
        finally:
            if reader is not None:
                os.close(reader)

    def _close_all(self) -> None:
        while self._fifos:
            self._fifos.popitem()[1].close()
        fds, self._folder, self._wake_read, self._wake_write = (
            (self._folder, self._wake_read, self._wake_write), -1, -1, -1,
        )  # fmt: skip
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    def _serve(self) -> None:
        try:
            while not self._stopping.is_set() and self._n != self._epochs:
                self._serve_one(self._n)
                self._n += 1
        except Cancelled:
            pass
        except OSError as error:  # the program has taken the permission to write to it
            self._on_error(error)

    def _serve_one(self, n: int) -> None:
        fd = self._fifos[n].open_to_write()
        try:
            writer = FifoWriter(fd, self._wake_read, self._stopping, lambda total: self._report_progress(n, total))
            try:
                end = self._feed(writer, n)
            except Cancelled:
                raise
            except Exception as error:  # handed over: nobody sees a thread's traceback
                self._on_error(error)
                writer.wait_for_stop()
            self._report_progress(n, writer.total, end)
        finally:
            os.close(fd)
        fifo = self._fifos.pop(n)
        fifo.remove()
        fifo.close()

    def _feed(self, writer: "FifoWriter", n: int) -> str:
        if n + 1 != self._epochs:
            self._make_fifo(n + 1)
        self._report_progress(n, 0)
        try:
            for content in self._contents(n):
                writer.write(content)
        except BrokenPipeError:
            return "early"  # the reader has what it wants: not a failure
        return "all"

    def _report_progress(self, n: int, total: int, end: str | None = None) -> None:
        self._on_feed(FeedProgress(self._prefix.name, n, total, end))

    def _make_fifo(self, n: int) -> None:
        try:
            if self._folder < 0:
                self._folder = os.open(self._prefix.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._fifos[n] = Fifo(self._folder, self.path(n).name)
        except OSError as error:
            raise DataError(f"can't make the FIFO {self.path(n)}: {error.strerror}") from None


class FifoWriter:
    """The writing end of one opened FIFO. Every wait also ends when `wake` becomes readable: Cancelled."""

    def __init__(self, fd: int, wake: int, stopping: threading.Event, report: Callable[[int], None]) -> None:
        os.set_blocking(fd, False)
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._fd, self._stopping = fd, stopping
        self._report, self._reported = report, time.monotonic()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._poll.register(wake, select.POLLIN)
        self._wake = wake
        self.total = 0

    def write(self, content: Content) -> None:
        """All of one object. BrokenPipeError when the reader has closed, DataError if a file got shorter."""
        if not isinstance(content, Path):
            for chunk in content:
                self._write_bytes(chunk)
            return
        with content.open("rb", buffering=0) as file:
            # what is there now is the object, as a GET would have it; what is added meanwhile is not
            self._write_file(file.fileno(), os.fstat(file.fileno()).st_size, content)

    def wait_for_stop(self) -> None:
        """Hold the FIFO open until somebody stops the feeder."""
        self._poll.unregister(self._fd)
        self._poll.poll()
        raise Cancelled

    def _write_file(self, source: int, size: int, path: Path) -> None:
        offset, move = 0, self._splice
        while offset < size:
            self._check()
            try:
                count = move(source, offset, min(size - offset, PIPE_BYTES))
            except BlockingIOError:
                self._wait()
                continue
            except OSError as error:
                if error.errno not in _NO_SPLICE or move == self._copy:
                    raise
                move = self._copy
                continue
            if not count:
                raise DataError(f"{path} became {size - offset} bytes shorter while it was fed")
            offset += count
            self._count(count)

    def _splice(self, source: int, offset: int, count: int) -> int:
        return os.splice(source, self._fd, count, offset_src=offset, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)

    def _copy(self, source: int, offset: int, count: int) -> int:
        return os.write(self._fd, os.pread(source, min(count, 1 << 16), offset) or b"")

    def _write_bytes(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._check()
            try:
                count = os.write(self._fd, view)
            except BlockingIOError:
                self._wait()
                continue
            view = view[count:]
            self._count(count)

    def _wait(self) -> None:
        if any(fd == self._wake for fd, _ in self._poll.poll()):
            raise Cancelled

    def _check(self) -> None:
        """A reader as fast as the writer never lets it wait."""
        if self._stopping.is_set():
            raise Cancelled

    def _count(self, count: int) -> None:
        self.total += count
        now = time.monotonic()
        if now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            self._report(self.total)
