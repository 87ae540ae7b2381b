"""Processes that each hold one object and answer calls of it.

Processes rather than threads: Pillow holds the interpreter's lock for most of a small picture, two threads decode 32×32
JPEGs no faster than one. Pipes rather than a pool: each side notices at once when the other one is gone.
"""

import itertools
import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from dataset.errors import DatasetError
from dataset.interrupt import hold_signals

_AHEAD = 2  # tasks a process has in its pipe: one in work, one so that it need not wait for us
_END_SECONDS = 5.0

Target = Callable[[Any], Any]


def cores() -> int:
    return len(os.sched_getaffinity(0))


class Workers:
    """`target(task)` for many tasks on `count` processes, answers in the tasks' order; with count 0 right here.

    Tasks must be small (they are sent while a process may be busy); target, tasks and answers must be picklable.
    """

    def __init__(self, target: Target, count: int) -> None:
        self._target = target
        self._tickets = itertools.count()
        self._hands = _start(target, count) if count else []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for _process, connection in self._hands:
            connection.close()  # ends a process that waits or answers
        for process, _connection in self._hands:
            process.join(_END_SECONDS)
            process.kill()
            process.join()

    def map(self, tasks: Iterable[Any]) -> Iterator[Any]:
        """Answers in order. An exception of the target is raised here. May be left early: late answers are dropped."""
        if not self._hands:
            yield from map(self._target, tasks)
            return
        waiting: deque[tuple[int, int]] = deque()
        for turn, task in enumerate(tasks):
            if len(waiting) == _AHEAD * len(self._hands):
                yield self._receive(*waiting.popleft())
            waiting.append(self._send(turn % len(self._hands), task))
        while waiting:
            yield self._receive(*waiting.popleft())

    def _send(self, hand: int, task: Any) -> tuple[int, int]:
        ticket = next(self._tickets)
        try:
            self._hands[hand][1].send((ticket, task))
        except OSError:
            raise self._describe_death(hand) from None
        return hand, ticket

    def _receive(self, hand: int, ticket: int) -> Any:
        try:
            answered = -1
            while answered != ticket:  # others are of a map that was left early
                answered, answer, error = self._hands[hand][1].recv()
        except (EOFError, OSError):
            raise self._describe_death(hand) from None
        if error is not None:
            raise error
        return answer

    def _describe_death(self, hand: int) -> DatasetError:
        process = self._hands[hand][0]
        process.join(_END_SECONDS)
        return DatasetError(f"a decoding process ended with exit code {process.exitcode}: out of memory?")


def _start(target: Target, count: int) -> list[tuple[multiprocessing.process.BaseProcess, Connection]]:
    """Spawned, not forked: a fork would share the file positions of open archives.

    Started with the signals of a terminal blocked, which they inherit: Ctrl-C is the parent's business, and when the
    parent ends, its pipes end them. One that comes meanwhile waits: a process that is told half of its start prints a
    traceback.
    """
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # would unblock the signals if it were started below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        with hold_signals():
            return [_start_worker(context, target) for _ in range(count)]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(context: Any, target: Target) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(target, theirs), daemon=True)
    process.start()
    theirs.close()  # the process has its own: when it ends, our end sees the end
    return process, ours


def _serve(target: Target, connection: Connection) -> None:
    """Answers until the parent is gone."""
    with suppress(EOFError, OSError):
        while True:
            ticket, task = connection.recv()
            connection.send((ticket, *_answer(target, task)))


def _answer(target: Target, task: Any) -> tuple[Any, Exception | None]:
    try:
        return target(task), None
    except DatasetError as error:
        return None, error
    except Exception as error:  # a bug: its traceback is of use only with the lines of this process
        return None, RuntimeError(f"in a decoding process:\n{''.join(traceback.format_exception(error))}")
