"""Prefetch: a thread reads a stream, so that the kernel copies the next block while the current one is used."""

import queue
import threading

import numpy as np

from train.records.channels import InterruptibleStream, Stream

BLOCK_BYTES = 1 << 20  # what a pipe holds at most
HEADROOM = 1 << 19  # free bytes before each block: the unused end of the previous block is copied there
_BLOCKS = 4

Block = tuple[np.ndarray, int]  # memory (HEADROOM + BLOCK_BYTES,) uint8, and how many bytes of the stream it holds


class UnbufferedBlocks:
    """Blocks that the calling thread reads, for streams that can't be interrupted."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._memory = [np.empty(HEADROOM + BLOCK_BYTES, np.uint8) for _ in range(2)]

    def next(self) -> Block:
        """The next bytes, none at the stream's end; valid until the second next call."""
        self._memory.reverse()
        return self._memory[0], self._stream.readinto(self._memory[0].data[HEADROOM:])

    def close(self) -> None:
        pass


class PrefetchedBlocks:
    """Blocks that a thread reads until the stream's end or `close`; `next` raises what the thread met, after the bytes
    before it.
    """

    def __init__(self, stream: InterruptibleStream) -> None:
        self._stream = stream
        self._free: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[Block | Exception] = queue.SimpleQueue()
        for _ in range(_BLOCKS):
            self._free.put(np.empty(HEADROOM + BLOCK_BYTES, np.uint8))
        self._in_use: list[np.ndarray] = []
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)
        self._thread.start()

    def next(self) -> Block:
        """As UnbufferedBlocks'."""
        if len(self._in_use) == 2:
            self._free.put(self._in_use.pop(0))
        item = self._ready.get()
        if isinstance(item, Exception):
            self._ready.put(item)  # the next call raises it again
            raise item
        self._in_use.append(item[0])
        if not item[1]:
            self._ready.put(item)
        return item

    def close(self) -> None:
        """Stop the thread at once; afterwards it no longer uses the stream."""
        self._free.put(None)
        self._stream.interrupt()
        self._thread.join()

    def _read(self) -> None:
        try:
            while (memory := self._free.get()) is not None:
                count = self._fill(memory.data[HEADROOM:])
                self._ready.put((memory, count))
                if not count:
                    return
        except Exception as failure:  # any: `next` raises it in the caller's thread
            self._ready.put(failure)

    def _fill(self, view: memoryview) -> int:
        """Read as many bytes into `view` as are available and fit, at least one; their number."""
        count = self._stream.readinto(view)
        while count and count < len(view) and self._stream.more() and (more := self._stream.readinto(view[count:])):
            count += more
        return count


def read_blocks(stream: Stream) -> UnbufferedBlocks | PrefetchedBlocks:
    """The blocks of a stream; prefetched if it can be interrupted."""
    return PrefetchedBlocks(stream) if isinstance(stream, InterruptibleStream) else UnbufferedBlocks(stream)
