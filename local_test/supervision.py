"""A running container and those who want it to end: which signal, when, and what the end then means."""

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from local_test.errors import RunnerError
from local_test.logs import Lines
from local_test.runners import Container, Exit

_KILL_SECONDS = 30.0  # a container that outlives SIGKILL that long is the machine's trouble
_OUTPUT_SECONDS = 5.0  # for the last lines of a container that has ended


@dataclass(frozen=True)
class Stop:
    """Somebody wants the job to stop: SIGTERM and the grace period, or SIGKILL at once."""

    kill: bool = False


Event = Exit | Stop | Exception  # the container ended; a stop; its data, or the runner, failed
Events = queue.SimpleQueue[Event]  # may be put to from a signal handler


@dataclass(frozen=True)
class Outcome:
    """How it ended, and who wanted it to: nobody ("ended"), "stopped", "max runtime", or `error` ("failed")."""

    exit: Exit
    why: str = "ended"
    error: Exception | None = None


class Supervisor:
    """`on_stopping` is called once, when the container is first told to stop by a person or by its time limit."""

    def __init__(self, container: Container, events: Events, grace: float, on_stopping: Callable[[], None]) -> None:
        self._container, self._events, self._grace = container, events, grace
        self._on_stopping = on_stopping
        self._why, self._error, self._killed = "ended", None, False

    def watch(self, max_runtime: float) -> Outcome:
        """Until the container has ended. Seconds. RunnerError if it is lost, or can't be killed."""
        limit = time.monotonic() + max_runtime
        while True:
            event = self._next(limit)
            if isinstance(event, Exit):
                return Outcome(event, self._why, self._error)
            if isinstance(event, RunnerError):
                raise event
            if event is None:
                limit = self._terminate("max runtime") if self._why == "ended" else self._kill(self._why)
            elif isinstance(event, Stop):
                limit = self._stop(event, limit)
            elif self._why == "ended":
                self._error = event
                limit = self._terminate("failed")

    def _next(self, limit: float) -> Event | None:
        """What has happened, None if nothing did before `limit`."""
        with suppress(queue.Empty):
            return self._events.get(timeout=max(0.0, limit - time.monotonic()))
        return None

    def _stop(self, event: Stop, limit: float) -> float:
        if event.kill:
            return self._kill(self._why if self._why != "ended" else "stopped")
        return self._terminate("stopped") if self._why == "ended" else limit

    def _terminate(self, why: str) -> float:
        self._begin(why)
        self._container.signal(signal.SIGTERM)
        return time.monotonic() + self._grace

    def _kill(self, why: str) -> float:
        if self._killed:
            raise RunnerError(f"the container still runs {_KILL_SECONDS:g} s after SIGKILL")
        self._begin(why)
        self._killed = True
        self._container.signal(signal.SIGKILL)
        return time.monotonic() + _KILL_SECONDS

    def _begin(self, why: str) -> None:
        if self._why == "ended" and why != "failed":
            self._on_stopping()
        self._why = why


@contextmanager
def listening(container: Container, on_line: Callable[[str], None], events: Events) -> Iterator[None]:
    """While inside, the container's lines go to `on_line` (in a thread) and its end to `events`.

    On leaving, the last lines are waited for, but not for ever: a process that left the container's group may keep its
    output open.
    """
    threads = [
        threading.Thread(target=_pump, args=(container, on_line, events), name="output", daemon=True),
        threading.Thread(target=_await_end, args=(container, events), name="end", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        threads[0].join(_OUTPUT_SECONDS)


def _pump(container: Container, on_line: Callable[[str], None], events: Events) -> None:
    streams: dict[str, Lines] = {}
    try:
        for stream, chunk in container.output():
            for line in streams.setdefault(stream, Lines()).feed(chunk):
                on_line(line)
        for lines in streams.values():
            for line in lines.end():
                on_line(line)
    except (OSError, ValueError) as error:
        events.put(RunnerError(f"the container's output can't be kept: {error}"))


def _await_end(container: Container, events: Events) -> None:
    try:
        ended = container.wait()
        if ended:
            events.put(ended)
    except RunnerError as error:
        events.put(error)
