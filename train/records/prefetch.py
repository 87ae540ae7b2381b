"""A stream read on a thread of its own: the kernel copies the next block while the one before it is worked on."""

import queue
import threading
from collections.abc import Callable

import numpy as np

from train.records.channels import Stream

BLOCK_BYTES = 1 << 20  # what a pipe holds at most
HEADROOM = 1 << 19  # free bytes before each block: what is left of the one before it is moved there
_BLOCKS = 4

Block = tuple[np.ndarray, int]  # memory (HEADROOM + BLOCK_BYTES,) uint8, and how many bytes of the stream it holds


class Direct:
    """The same in the asking thread, for streams that nobody can interrupt."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._memory = [np.empty(HEADROOM + BLOCK_BYTES, np.uint8) for _ in range(2)]

    def next(self) -> Block:
        """The next bytes; valid until the next but one is asked for."""
        self._memory.reverse()
        return self._memory[0], self._stream.readinto(memoryview(self._memory[0])[HEADROOM:])

    def close(self) -> None:
        pass


class ReadAhead:
    """Reads until the stream's end or `close`; what it raises is raised by `next`, after the bytes before it."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._free: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[Block | Exception] = queue.SimpleQueue()
        for _ in range(_BLOCKS):
            self._free.put(np.empty(HEADROOM + BLOCK_BYTES, np.uint8))
        self._lent: list[np.ndarray] = []
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)
        self._thread.start()

    def next(self) -> Block:
        """The next bytes, none at the stream's end; valid until the next but one is asked for."""
        if len(self._lent) == 2:
            self._free.put(self._lent.pop(0))
        item = self._ready.get()
        if isinstance(item, Exception):
            self._ready.put(item)  # asked again, it says so again
            raise item
        self._lent.append(item[0])
        if not item[1]:
            self._ready.put(item)
        return item

    def close(self) -> None:
        """Stop reading, at once; afterwards nobody uses the stream."""
        self._free.put(None)
        self._stream.interrupt()
        self._thread.join()

    def _read(self) -> None:
        try:
            while (memory := self._free.get()) is not None:
                count = self._filled(memoryview(memory)[HEADROOM:])
                self._ready.put((memory, count))
                if not count:
                    return
        except Exception as failure:  # whatever it is, the thread that asks is the one to meet it
            self._ready.put(failure)

    def _filled(self, view: memoryview) -> int:
        """Bytes read into `view`: all there is room for, or as many as are there now, one at least."""
        count = self._stream.readinto(view)
        while count and count < len(view) and self._stream.more() and (more := self._stream.readinto(view[count:])):
            count += more
        return count


def blocks(stream: Stream) -> Direct | ReadAhead:
    """The blocks of a stream; read ahead if it can be interrupted."""
    interrupt: Callable[[], None] | None = getattr(stream, "interrupt", None)
    return ReadAhead(stream) if interrupt else Direct(stream)
