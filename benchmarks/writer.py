"""Feeds FIFOs as cheaply as Linux can, so that the reader is what is measured: `python -m benchmarks.writer FOLDER
CHANNEL REPEATS OBJECT…` gives each reader that comes all objects, so many times over.
"""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

PIPE_BYTES = 1 << 20


def main() -> None:
    folder, channel, repeats, *objects = sys.argv[1:]
    number = 0
    while True:
        path = f"{folder}/{channel}_{number}"
        os.mkfifo(path)
        fifo = os.open(path, os.O_WRONLY)
        fcntl.fcntl(fifo, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with suppress(BrokenPipeError):
            for name in objects * int(repeats):
                splice(name, fifo)
        os.close(fifo)
        Path(path).unlink()
        number += 1


def splice(name: str, fifo: int) -> None:
    """The file's pages into the pipe, without a copy."""
    file = os.open(name, os.O_RDONLY)
    try:
        while os.splice(file, fifo, PIPE_BYTES):
            pass
    finally:
        os.close(file)


if __name__ == "__main__":
    main()
