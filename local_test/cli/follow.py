"""A job's log, and a job followed to its end, from another process than the one that runs it."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC
from itertools import takewhile
from typing import Any

from local_test.cli.options import say, say_note
from local_test.cli.progress import Display
from local_test.cli.train import print_summary
from local_test.cli.tune import format_line, summarize
from local_test.errors import BadRequest, RunnerError
from local_test.places.base import Job, Log
from local_test.places.facts import format_metric, format_status
from local_test.places.finder import format_command
from local_test.places.folders import FolderPlace
from local_test.request.job_kind import TRAINING, TUNING
from local_test.training.job_status import FINAL_STATUSES
from local_test.util.clock import now_utc
from local_test.util.console import format_seconds, has_reader

_SILENT_SECONDS = 9.0  # after which a person is told that the job goes on
_PATIENCE_SECONDS = 60.0  # for which a place may give no answer: the job runs without us
_PLATFORM = "platform"
_LATE = ("Uploading", "Completed", "Failed", "Stopped", "MaxRuntimeExceeded", "MaxWaitTimeExceeded")


def print_log(job: Job, *, following: bool) -> None:
    """The lines of all hosts; those of several begin with their host."""
    if job.kind is TUNING:
        raise BadRequest(
            f"A tuning job prints nothing itself. Received: {job.name}. Its training jobs are named by "
            f"{format_command(job, 'attach')}"
        )
    output, log = _Output(job), job.place.log(job.kind, job.description)
    with _detaching(job) if following else nullcontext():
        for _ in _look(job) if following else (job,):
            output.print_lines(log)
            if not has_reader(sys.stdout):
                return


def follow(job: Job) -> str | None:
    """Prints states and lines, or a tuning job's training jobs, as they come. The job's last status; None if nobody
    reads what is printed any more."""
    with _detaching(job):
        return _follow_tuning(job) if job.kind is TUNING else _follow_program(job)


def _follow_program(job: Job) -> str | None:
    log, shown = job.place.log(job.kind, job.description), 0
    with closing(_Output(job)) as output:
        output.draw()
        for now in _look(job):
            transitions = now.description.get("SecondaryStatusTransitions", [])
            new = transitions[shown:]
            early = list(takewhile(lambda step: step["Status"] not in _LATE, new))
            output.print_states(early)
            output.print_lines(log)
            output.print_states(new[len(early) :])  # a program's last lines come before its end
            shown, job = len(transitions), now
            output.break_silence(job)
            if not has_reader(sys.stdout):
                return None
    if job.kind is TRAINING:
        place = job.place
        folder = place.report_path(job.kind, job.description).parent if isinstance(place, FolderPlace) else None
        print_summary(dict(job.description), folder, say)
    else:
        say(f"{job.name}: {job.status}")
        for member in ("FailureReason", "ExitMessage"):
            if member in job.description:
                say(f"{member}: {job.description[member]}")
    return job.status


def _follow_tuning(job: Job) -> str:
    output, printed = _Output(job), set[str]()
    for now in _look(job):
        job = now
        for child in job.place.children(job.name):
            if child["TrainingJobName"] not in printed and child["TrainingJobStatus"] in FINAL_STATUSES:
                printed.add(child["TrainingJobName"])
                output.say(format_line(child))
        output.break_silence(job)
    for line in summarize(job.description):
        say(line)
    say(f"Report: {format_command(job, 'report')}")
    return job.status


class _Output:
    """What a job says, as `train` shows it; it knows when it last said something."""

    def __init__(self, job: Job) -> None:
        self._display, self._last = Display(sys.stdout, sys.stderr), time.monotonic()
        self._several = job.hosts > 1

    def draw(self) -> None:
        """From here on a terminal has a line with the job's state in place."""
        if sys.stderr.isatty():
            self._display.watch([])

    def print_lines(self, log: Log) -> None:
        try:
            for host, line in log.read():
                self._last = time.monotonic()
                if host == _PLATFORM:
                    self._display.on_note(line)
                else:
                    self._display.on_line(f"{host}: {line}" if self._several else line, host)
        except RunnerError:  # the next look at the job says it, too
            return

    def print_states(self, transitions: Sequence[dict[str, Any]]) -> None:
        for step in transitions:
            self._last = time.monotonic()
            step = {"StatusMessage": "", **step, "StartTime": step["StartTime"].astimezone(UTC)}
            self._display.on_transition({"SecondaryStatusTransitions": [step]})

    def say(self, text: str) -> None:
        self._last = time.monotonic()
        say(text)

    def break_silence(self, job: Job) -> None:
        if not job.is_over and time.monotonic() - self._last >= _SILENT_SECONDS:
            words = (format_status(job), format_seconds(job.seconds(now_utc())), format_metric(job))
            self.say(f"{job.name}: {', '.join(filter(None, words))}")

    def close(self) -> None:
        self._display.close()


def _look(job: Job) -> Iterator[Job]:
    """The job as it is, again and again; the last time once it is over. RunnerError if its place does not answer for
    too long."""
    answered, said = time.monotonic(), False
    while True:
        try:
            job, answered, said = job.look(), time.monotonic(), False
        except RunnerError as error:
            if time.monotonic() - answered > _PATIENCE_SECONDS:
                raise
            if not said:
                said = True
                say_note(f"{error}. Still looking")
        else:
            yield job
            if job.is_over:
                if job.place.is_late:  # its log shows a line some time after it was written
                    time.sleep(job.place.seconds)
                    yield job
                return
        time.sleep(job.place.seconds)


@contextmanager
def _detaching(job: Job) -> Iterator[None]:
    """What ends before the job does says how to come back to it."""
    try:
        yield
    except (KeyboardInterrupt, RunnerError) as error:
        goes_on = "goes on" if isinstance(error, KeyboardInterrupt) else "may go on"
        say(f"\n{job.name} {goes_on}. Follow it with {format_command(job, 'attach')}")
        say(f"Stop it with {format_command(job, 'stop')}")
        raise
