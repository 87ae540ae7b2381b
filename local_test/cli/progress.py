"""A job while it runs: states, log lines, and how far it is. On a terminal a line below them is drawn in place;
elsewhere a line comes every few seconds.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TextIO

from local_test.data.channels import Channel
from local_test.data.fifo_feeder import FeedProgress
from local_test.training.metrics import Metric
from local_test.training.observer import Observer
from local_test.util.console import fit, format_seconds, link, printable, write_on_stderr
from local_test.util.live_table import StatusLine, Table
from local_test.util.progress_lines import StepProgress

DRAW_SECONDS = 0.5  # on a terminal
LINE_SECONDS = 9.0  # elsewhere: nobody waits for ten seconds without a word
_PHASES = {"training": "step", "validation": "validation", "evaluation": "evaluation", "export": "writing the model"}


def look_seconds(terminal: object) -> float:
    """How often a person, at a terminal or not, looks at how far a job is, and so its program is asked for lines."""
    return DRAW_SECONDS if terminal else LINE_SECONDS / 2


class Pace:
    """How long a count takes to reach its total, from how it has grown since it began."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._what: object = None
        self._first = self._last = (0.0, 0)

    def count(self, what: object, number: int) -> None:
        """`what` names what is counted: another one begins anew."""
        now = self._clock(), number
        if what != self._what or number < self._last[1]:
            self._what, self._first = what, now
        self._last = now

    def left(self, total: int | None) -> float | None:
        """Seconds; None as long as that is not known."""
        (began, first), (last, number) = self._first, self._last
        if not total or number <= first or last <= began:
            return None
        return max(0.0, (total - number) * (last - began) / (number - first) - (self._clock() - last))


class JobView:
    """What is known of a running job, as the parts of a line, the most important ones first. Written to by
    one thread at a time, read by any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._pace = clock, Pace(clock)
        self.state, self._began = "", clock()
        self._step: StepProgress | None = None
        self._fed: FeedProgress | None = None
        self._channel: Channel | None = None

    def watch(self, channels: Sequence[Channel]) -> None:
        """The bytes of `train` are counted, or of the channel with the most, while the program says nothing better."""
        fed = [channel for channel in channels if channel.mode == "Pipe"]
        if fed:
            self._channel = max(fed, key=lambda channel: (channel.name == "train", channel.size))

    def move(self, state: str) -> None:
        self.state, self._began = state, self._clock()
        self._step = self._fed = None

    def step(self, progress: StepProgress) -> None:
        self._step = progress
        if progress.step is not None:
            self._pace.count((progress.phase, progress.epoch), progress.step)

    def feed(self, fed: FeedProgress) -> None:
        if self._channel and fed.channel == self._channel.name and not self._step:
            self._fed = fed
            self._pace.count(fed.n, fed.bytes)

    def done(self) -> float | None:
        """The share of what is under way: an epoch, a pass; None where it is not known."""
        at, fed = self._step, self._fed
        if at:
            part, whole = at.step, at.steps
        else:
            part, whole = (fed.bytes if fed else None), self._total_bytes()
        return min(1.0, part / whole) if part is not None and whole else None

    def parts(self) -> list[str]:
        seconds, step = self._clock() - self._began, self._step
        if step:
            return [*_describe_place(step), *self._describe_left(step.steps), *_describe_results(step)]
        waited = [f"{self.state} {format_seconds(seconds)}"] if self.state else []
        fed, total = self._fed, self._total_bytes()
        if not fed:
            return waited
        size = f"{fed.bytes / 1e6:.1f}" + (f"/{total / 1e6:.1f} MB" if total else " MB")
        return [f"{fed.channel}_{fed.n} {size}", *self._describe_left(total), *waited]

    def place(self) -> str:
        """Where the program says it is, in a few words: `epoch 2/3 31 %`."""
        at, done = self._step, self.done()
        if not at:
            return ""
        words = _describe_place(at)
        share = [f"{done:.0%}".replace("%", " %")] if done is not None else []
        return " ".join([*words[:1], *share] if at.phase == "training" else words)

    def _total_bytes(self) -> int | None:
        # gzip: the stored size says little about the bytes that will flow
        return self._channel.size if self._channel and self._channel.compression == "None" else None

    def _describe_left(self, total: int | None) -> list[str]:
        left = self._pace.left(total)
        return [] if left is None else [f"{format_seconds(left)} left"]


def _describe_place(at: StepProgress) -> list[str]:
    epoch = [f"epoch {_of(at.epoch, at.epochs)}"] if at.epoch is not None else []
    phase = _PHASES.get(at.phase, at.phase)
    return [*epoch, phase if at.step is None else f"{phase} {_of(at.step, at.steps)}"]


def _describe_results(at: StepProgress) -> list[str]:
    loss = [f"loss {at.loss:.3f}"] if at.loss is not None else []
    accuracy = [f"accuracy {at.accuracy:.3f}"] if at.accuracy is not None else []
    return [*loss, *accuracy, *([f"{at.rate:,.0f} images/s"] if at.rate is not None else [])]


def _of(part: int, whole: int | None) -> str:
    return f"{part}/{whole}" if whole else str(part)


class Overview:
    """How far the jobs of a command are: on a terminal a table below its lines, elsewhere a line every few seconds. For
    one thread and its signal handlers."""

    def __init__(self) -> None:
        self._table = Table(sys.stderr) if sys.stderr.isatty() else None
        self._is_drawn, self._told = self._table is not None, time.monotonic()
        self.interval = look_seconds(self._table)

    def say(self, line: str) -> None:
        self._told = time.monotonic()
        self._table.say(line) if self._table else write_on_stderr(line)

    def show(self, title: str, rows: Sequence[Sequence[str]], brief: Iterable[str]) -> None:
        """`brief`: the line's words, after the title."""
        if self._table and self._is_drawn:
            self._table.show(rows, title)
        elif time.monotonic() - self._told >= LINE_SECONDS:
            self.say("; ".join([title, *brief]))

    def clear(self) -> None:
        """Nothing runs any more."""
        if self._table:
            self._table.clear()

    def leave(self) -> None:
        """From here on lines alone: a word to the person is written where the table is."""
        self._is_drawn = False
        if self._table:
            self._table.leave()


class Watcher(Observer):
    """Keeps what is known of a job up to date."""

    def __init__(self, view: JobView) -> None:
        self._view = view

    def on_transition(self, description: dict[str, Any]) -> None:
        self._view.move(description["SecondaryStatus"])

    def on_progress(self, progress: StepProgress) -> None:
        self._view.step(progress)


class Display(Observer):
    """Writes the container's lines to `out`, the platform's own lines and how far the job is to `err`."""

    def __init__(self, out: TextIO, err: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._err, self._clock = out, err, clock
        self._lock = threading.RLock()
        self._line = StatusLine(err) if err.isatty() else None
        self._view, self._told = JobView(clock), clock()
        self._several = False
        self._closed = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="display", daemon=True)

    @property
    def interval(self) -> float:
        """Seconds between two looks of a person's at how far the job is."""
        return look_seconds(self._line)

    def watch(self, channels: Sequence[Channel], hosts: int = 1) -> None:
        """From here on how far the job is is shown. Prefixes lines with their host if there are several hosts."""
        self._several = hosts > 1
        self._view.watch(channels)
        self._ticker.start()

    def on_transition(self, description: dict[str, Any]) -> None:
        last = description["SecondaryStatusTransitions"][-1]
        with self._lock:
            self._view.move(last["Status"])
            self._told = self._clock()
        self.say(f"{last['StartTime']:%Y-%m-%d %H:%M:%S} {last['Status']} - {last['StatusMessage']}")

    def on_line(self, line: str, host: str) -> None:
        self._write(printable(f"{host}: {line}" if self._several else line), self._out)

    def on_metric(self, metric: Metric) -> None:  # noqa: ARG002 - any: the line that has it says how far the job is
        self._told = self._clock()

    def on_note(self, text: str) -> None:
        self.say(f"local_test: {text}")

    def on_feed(self, fed: FeedProgress) -> None:
        with self._lock:
            self._view.feed(fed)

    def on_progress(self, progress: StepProgress) -> None:
        with self._lock:
            self._view.step(progress)

    def say(self, text: str) -> None:
        """Prints a line of the platform's own."""
        line = printable(text)
        self._write(link(line) if self._line else line, self._err)

    def close(self) -> None:
        self._closed.set()
        if self._ticker.is_alive():
            self._ticker.join()
        with self._lock:
            if self._line:
                self._line.clear()

    def show(self) -> None:
        """How far the job is, if it is time to say so."""
        with self._lock:
            parts = self._view.parts()
            if not parts:
                return
            if self._line:
                self._line.show(fit(parts, self._view.done(), self._line.columns))
            elif self._clock() - self._told >= LINE_SECONDS:
                self._told = self._clock()
                self.say(f"local_test: {', '.join(parts)}")

    def _tick(self) -> None:
        while not self._closed.wait(DRAW_SECONDS):
            self.show()

    def _write(self, line: str, stream: TextIO) -> None:
        """A printable line."""
        with self._lock, suppress(OSError):  # a reader that has had enough, such as head, does not end the job
            if self._line:
                self._line.say(line, stream)
            else:
                stream.write(f"{line}\n")
                stream.flush()
