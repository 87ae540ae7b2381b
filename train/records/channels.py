"""Pipe mode's FIFOs, `<channel>_<n>`: wait, open, read blocks, close. And the same interface over plain files.

SageMaker's rules: a FIFO is read to its end or closed early; after closing, the next is `n + 1`, which may not exist
yet. n counts openings, not epochs, and is raised when reading starts.
"""

import fcntl
import os
import select
import stat
import threading
import time
from collections.abc import Generator
from contextlib import closing, suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from train.errors import DataError, NoRecordsError, StopRequested
from train.runtime.environment import Channel

PIPE_BYTES = 1 << 20  # the largest pipe that Linux gives without privileges; fewer switches between writer and reader
_LOOK_SECONDS = 0.02  # between two checks whether a FIFO exists
_POLL_SECONDS = 0.2  # a waiting reader checks that often whether to stop
_NEVER = threading.Event()


class Stream(Protocol):
    """Bytes with a name, used in messages such as `channel train, FIFO train_0`."""

    name: str

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of `buffer`; the number of bytes, 0 at the stream's end."""

    def close(self) -> None: ...


@runtime_checkable
class InterruptibleStream(Stream, Protocol):
    """A stream that another thread can read."""

    def more(self) -> bool:
        """Whether `readinto` would return at once."""

    def interrupt(self) -> None:
        """Make a thread that waits in `readinto` stop; the stream can't be used afterwards."""


class FifoStream:
    """One open FIFO. Each wait ends after `timeout` seconds, or when `stop` is set."""

    def __init__(self, path: Path, name: str, timeout: float, stop: threading.Event) -> None:
        self.name, self._timeout, self._stop = name, timeout, stop
        # Non-blocking: a blocking open of a FIFO without a writer can't be cancelled.
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._interrupted = os.eventfd(0, os.EFD_NONBLOCK)
        self._poll.register(self._interrupted, select.POLLIN)
        self._started = False
        with suppress(OSError):  # over the user's limit of pipe pages: a smaller pipe is slower, not wrong
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def readinto(self, buffer: memoryview) -> int:
        """Read what is available, at least one byte; 0 once the writer has closed. DataError after `timeout` idle s."""
        while True:
            self._wait()
            try:
                count = os.readv(self._fd, [buffer])
            except BlockingIOError:
                continue
            self._started = True
            return count

    def _wait(self) -> None:
        """Wait for a byte or the end. DataError after `timeout` idle seconds."""
        # Linux reports POLLHUP on a FIFO only after a writer has come and gone, so "no writer yet" waits here.
        deadline = time.monotonic() + self._timeout
        while not (ready := self._poll.poll(_POLL_SECONDS * 1000)):
            if self._stop.is_set():
                raise StopRequested
            if time.monotonic() > deadline:
                what = "nothing more was written" if self._started else "no writer opened it"
                raise DataError(f"{self.name}: {what} for {self._timeout:g} s. Is the platform still feeding it?")
        if any(fd == self._interrupted for fd, _ in ready):
            raise StopRequested

    def more(self) -> bool:
        """Whether `readinto` would return at once."""
        return bool(self._poll.poll(0))

    def interrupt(self) -> None:
        """Raise StopRequested in a thread that waits here; the stream can't be used afterwards."""
        os.eventfd_write(self._interrupted, 1)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
            os.close(self._interrupted)


class FileStream:
    """One file of a File or FastFile channel."""

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._file = path.open("rb", buffering=0)

    def readinto(self, buffer: memoryview) -> int:
        return self._file.readinto(buffer) or 0

    def more(self) -> bool:
        """Whether `readinto` would return at once."""
        return True

    def interrupt(self) -> None:
        """Nothing waits here for long."""

    def close(self) -> None:
        self._file.close()


class FifoSource:
    """A Pipe-mode channel: each pass over the data reads the next FIFO."""

    def __init__(self, channel: Channel, timeout: float = 300.0, stop: threading.Event = _NEVER) -> None:
        self.channel, self._timeout, self._stop = channel, timeout, stop
        self.next_index = 0  # of the next FIFO

    def streams(self) -> Generator[FifoStream]:
        """The next pass's single stream."""
        path = self.channel.data / f"{self.channel.name}_{self.next_index}"
        name = f"channel {self.channel.name}, FIFO {path.name}"
        self._wait_for_fifo(path, name)
        stream = FifoStream(path, name, self._timeout, self._stop)
        self.next_index += 1
        with closing(stream):
            yield stream

    def _wait_for_fifo(self, path: Path, name: str) -> None:
        deadline = time.monotonic() + self._timeout
        while not path.exists():
            if self._stop.wait(_LOOK_SECONDS):
                raise StopRequested
            if time.monotonic() > deadline:
                raise DataError(
                    f"{name} did not appear within {self._timeout:g} s (index {self.next_index}). Expected: {path}, "
                    "made by the platform. Does the job have this channel, in Pipe mode?"
                )
        if not stat.S_ISFIFO(path.stat().st_mode):
            raise DataError(f"{name} is not a FIFO. Received: an ordinary file or folder at {path}.")


class FileSource:
    """A File or FastFile channel: each pass reads its files, sorted by name."""

    def __init__(self, channel: Channel, stop: threading.Event = _NEVER) -> None:
        self.channel, self._stop = channel, stop

    def streams(self) -> Generator[FileStream]:
        """The next pass's streams, one for each file."""
        folder, paths = self.channel.folder, self.channel.files()
        if not paths:
            raise NoRecordsError(f"Channel {self.channel.name} is empty. Received: no file in {folder}.")
        for path in paths:
            if self._stop.is_set():
                raise StopRequested
            with closing(FileStream(path, f"channel {self.channel.name}, file {path.relative_to(folder)}")) as stream:
                yield stream


Source = FifoSource | FileSource


def open_channel(channel: Channel, timeout: float = 300.0, stop: threading.Event = _NEVER) -> Source:
    """The passes over a channel in any mode. `timeout` in seconds limits each wait for a FIFO or its bytes."""
    return FifoSource(channel, timeout, stop) if channel.mode == "Pipe" else FileSource(channel, stop)
