"""A job on a terminal: states, log lines, and for each epoch a progress bar of the bytes fed; elsewhere plain lines."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn, TextIO

from tqdm import tqdm

from local_test.data.channels import Channel
from local_test.data.fifo_feeder import FeedProgress
from local_test.training.observer import Observer
from local_test.util.console import printable


class Display(Observer):
    """Writes the container's lines to `out`, the platform's own lines and the progress bar to `err`."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out, self._err = out, err
        self._lock = threading.RLock()
        self._channel: Channel | None = None
        self._bar: tqdm[NoReturn] | None = None
        self._n = -1
        self._several = False

    def watch(self, channels: Sequence[Channel], hosts: int = 1) -> None:
        """Prefixes lines with their host if there are several hosts.

        The bar follows `train`, or the channel with the most bytes; there is none if `err` is not a terminal."""
        self._several = hosts > 1
        fed = [channel for channel in channels if channel.mode == "Pipe"]
        if fed and self._err.isatty():
            self._channel = max(fed, key=lambda channel: (channel.name == "train", channel.size))

    def on_transition(self, description: dict[str, Any]) -> None:
        last = description["SecondaryStatusTransitions"][-1]
        self.say(f"{last['StartTime']:%Y-%m-%d %H:%M:%S} {last['Status']} - {last['StatusMessage']}")

    def on_line(self, line: str, host: str) -> None:
        self._write(f"{host}: {line}" if self._several else line, self._out)

    def on_note(self, text: str) -> None:
        self.say(f"local_test: {text}")

    def on_feed(self, fed: FeedProgress) -> None:
        if self._channel and fed.channel == self._channel.name:
            with self._lock:
                self._follow(fed, self._channel)

    def say(self, text: str) -> None:
        """Prints a line of the platform's own."""
        self._write(text, self._err)

    def close(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.close()
            self._bar = self._channel = None

    def _follow(self, fed: FeedProgress, channel: Channel) -> None:
        if self._bar is None or fed.n != self._n:
            self._start_bar(fed.n, channel)
        assert self._bar is not None
        self._bar.update(fed.bytes - self._bar.n)
        if fed.end:
            self._bar.close()
            self._bar = None

    def _start_bar(self, n: int, channel: Channel) -> None:
        if self._bar is not None:
            self._bar.close()
        # gzip: the stored size says little about the bytes that will flow
        total = channel.size if channel.compression == "None" else None
        name = f"{channel.name}_{n}"
        self._n = n
        self._bar = tqdm(total=total, desc=name, unit="B", unit_scale=True, leave=False, file=self._err)

    def _write(self, line: str, stream: TextIO) -> None:
        line = printable(line)
        with self._lock, suppress(OSError):  # a reader that has had enough, such as head, does not end the job
            if self._bar is not None:
                tqdm.write(line, file=stream)
            else:
                stream.write(f"{line}\n")
            stream.flush()
