"""Watches running containers: which signal they get, when, and what their end means."""

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from local_test.errors import RunnerError
from local_test.runners.base import Container, Exit
from local_test.runners.logs import Lines
from local_test.util.queues import get_before

_KILL_SECONDS = 30.0  # a container that outlives SIGKILL that long is the machine's trouble
_SILENT_SECONDS = 5.0  # without a byte, after which the last lines of a container that has ended are given up
_LINES = 1000  # handed on at a time, so that progress is seen


@dataclass(frozen=True)
class Stop:
    """The job is to stop: SIGTERM and the grace period, or SIGKILL at once."""

    kill: bool = False


@dataclass(frozen=True)
class Interrupt:
    """The spot instances are taken away: SIGTERM and the grace period, and the job may start again."""


@dataclass(frozen=True)
class Ended:
    """The container of host `index` (from 0) has ended."""

    index: int
    exit: Exit


Event = Ended | Stop | Interrupt | Exception  # an exception: the job's data, or the runner, failed
EventQueue = queue.SimpleQueue[Event]  # may be put to from a signal handler


@dataclass(frozen=True)
class Outcome:
    """How the containers have ended, and why: by themselves ("ended"), "stopped", "interrupted", one of the limits, or
    `error` ("failed"). `ended` is the first that failed by itself, else the last."""

    ended: Ended
    reason: str = "ended"
    error: Exception | None = None


class Supervisor:
    """`on_stopping` is called once, when the containers are first told to stop by a person or by a limit."""

    def __init__(
        self, containers: Sequence[Container], events: EventQueue, grace: float, on_stopping: Callable[[], None]
    ) -> None:
        self._containers, self._events, self._grace = containers, events, grace
        self._on_stopping = on_stopping
        self._reason, self._killed = "ended", False
        self._error: Exception | None = None
        self._running = set(range(len(containers)))
        self._failed: Ended | None = None

    def watch(self, limits: Mapping[str, float]) -> Outcome:
        """Until every container has ended. `limits`: reason → seconds. RunnerError: one is lost, or can't be killed."""
        over, seconds = min(limits.items(), key=lambda item: item[1])
        limit = time.monotonic() + seconds
        while True:
            event = self._next(limit)
            if isinstance(event, Ended):
                if outcome := self._record(event):
                    return outcome
                if self._failed and self._reason == "ended":  # one failing host fails the job
                    limit = self._terminate("failed")
            elif isinstance(event, RunnerError):
                raise event
            elif event is None:
                limit = self._terminate(over) if self._reason == "ended" else self._kill(self._reason)
            elif isinstance(event, Stop):
                limit = self._stop(event, limit)
            elif self._reason == "ended":
                self._error = event if isinstance(event, Exception) else None
                limit = self._terminate("failed" if self._error else "interrupted")

    def _record(self, event: Ended) -> Outcome | None:
        """The outcome if that was the last."""
        self._running.discard(event.index)
        if event.exit.code and self._reason == "ended" and not self._failed:
            self._failed = event
        if self._running:
            return None
        return Outcome(self._failed or event, "ended" if self._failed else self._reason, self._error)

    def _next(self, limit: float) -> Event | None:
        """What has happened, None if nothing did before `limit`."""
        with suppress(queue.Empty):
            return get_before(self._events, limit)
        return None

    def _stop(self, event: Stop, limit: float) -> float:
        if event.kill and not self._killed:
            return self._kill("stopped" if self._goes_on() else self._reason)
        if self._reason == "interrupted":  # SIGTERM is sent; instead of starting again, the job ends
            self._start_stopping("stopped")
            return limit
        return self._terminate("stopped") if self._reason == "ended" else limit

    def _goes_on(self) -> bool:
        """Whether the job would, once its containers have ended: a person's stop is then news."""
        return self._reason in ("ended", "interrupted")

    def _terminate(self, reason: str) -> float:
        self._start_stopping(reason)
        self._signal(signal.SIGTERM)
        return time.monotonic() + self._grace

    def _kill(self, reason: str) -> float:
        if self._killed:
            raise RunnerError(f"the container still runs {_KILL_SECONDS:g} s after SIGKILL")
        self._start_stopping(reason)
        self._killed = True
        self._signal(signal.SIGKILL)
        return time.monotonic() + _KILL_SECONDS

    def _signal(self, number: int) -> None:
        for index in self._running:
            self._containers[index].signal(number)

    def _start_stopping(self, reason: str) -> None:
        if self._goes_on() and reason not in ("failed", "interrupted"):
            self._on_stopping()
        self._reason = reason


@contextmanager
def attach(
    containers: Sequence[Container],
    on_lines: Callable[[int, Sequence[str]], None],
    events: EventQueue,
    warn: Callable[[str], object],
) -> Iterator[None]:
    """While inside, the containers' lines go to `on_lines` with their index (each in a thread), their ends to `events`.

    On leaving, the last lines are waited for as long as some still arrive. `warn` is told if they end without an end.
    After an error nothing is waited for: the containers may still run.
    """
    pumps = [_Pump(container, partial(on_lines, index), events) for index, container in enumerate(containers)]
    for pump in pumps:
        pump.start()
    for index, container in enumerate(containers):
        threading.Thread(target=_await_end, args=(container, index, events), daemon=True).start()
    yield
    for index, pump in enumerate(pumps, 1):
        whole = pump.finish()
        if pump.error:  # its event may have come after the container's end
            warn(f"the output of algo-{index} can't be kept, what is missing is lost: {pump.error}")
        elif not whole:
            warn(
                f"the output of algo-{index} has not ended {_SILENT_SECONDS:g} s after its last line; some may be lost"
            )


class _Pump(threading.Thread):
    """Takes a container's output apart into lines, as they come."""

    def __init__(self, container: Container, on_lines: Callable[[Sequence[str]], None], events: EventQueue) -> None:
        super().__init__(daemon=True)
        self._container, self._on_lines, self._events = container, on_lines, events
        self._moved = time.monotonic()
        self.error: Exception | None = None

    def run(self) -> None:
        streams: dict[str, Lines] = {}
        try:
            for stream, chunk in self._container.output():
                self._take(streams.setdefault(stream, Lines()).feed(chunk))
            for lines in streams.values():
                self._take(lines.end())
        except (OSError, ValueError) as error:
            self.error = error
            self._events.put(RunnerError(f"the container's output can't be kept: {error}"))

    def finish(self) -> bool:
        """Waits for the last line while lines arrive; whether it has come."""
        self._moved = time.monotonic()
        while self.is_alive() and (left := self._moved + _SILENT_SECONDS - time.monotonic()) > 0:
            self.join(left)
        return not self.is_alive()

    def _take(self, lines: Sequence[str]) -> None:
        for start in range(0, len(lines), _LINES):
            self._on_lines(lines[start : start + _LINES])
            self._moved = time.monotonic()
        self._moved = time.monotonic()  # bytes without an end of line are progress, too


def _await_end(container: Container, index: int, events: EventQueue) -> None:
    try:
        ended = container.wait()
        if ended:
            events.put(Ended(index, ended))
    except RunnerError as error:
        events.put(error)
