"""`serve`: SageMaker's API on this machine, until Ctrl-C."""

import argparse
import queue
import signal
import sys
import threading
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_test.cli.options import (
    Commands,
    add_parallel_option,
    add_runner_options,
    add_s3_option,
    load_api_server,
    open_runner,
    say,
    say_note,
)
from local_test.cli.signals import collect_signals, ignore_signals
from local_test.executions.record import ExecutionRecord
from local_test.request.job_kind import kind_of
from local_test.runners.image_aliases import read_images
from local_test.training.observer import Observer
from local_test.util.console import count
from local_test.util.queues import get_before

if TYPE_CHECKING:
    from local_test.server.api_server import ApiServer


_WAITING = 1000  # lines; a terminal that is held, as by Ctrl-S, must not hold the jobs
_REASON = 150  # characters of a FailureReason: `describe` has the rest


class Lines(Observer):
    """What happens on a server, a line each, written by a thread of its own."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}  # by ARN
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._write, name="lines", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        with suppress(queue.Full):
            self._lines.put_nowait(f"{datetime.now():%Y-%m-%d %H:%M:%S} {text}")

    def on_transition(self, description: dict[str, Any]) -> None:
        kind = kind_of(description)
        state, arn = description.get("SecondaryStatus") or kind.status_of(description), kind.arn_of(description)
        self._say_state(arn, f"{kind.noun} {kind.name_of(description)}", state, description.get("FailureReason", ""))

    def on_execution(self, record: ExecutionRecord) -> None:
        """Of its steps the ends alone: what they do is jobs', which have lines."""
        name = f"execution {record.id} of {record.pipeline}"
        for step in record.steps.values():
            if step.is_over:
                arn = f"{record.arn} {step.name} {step.attempt}"
                self._say_state(arn, f"{name}, step {step.name}", step.status, step.failure)
        self._say_state(record.arn, name, record.status, record.failure)

    def _say_state(self, arn: str, name: str, state: str, failure: str) -> None:
        """A line for a state that is new."""
        if self._states.get(arn) == state:
            return
        self._states[arn] = state
        reason = " ".join(failure.split())
        shown = reason if len(reason) <= _REASON else f"{reason[:_REASON]}…"
        self.say(f"{name}: {state}" + (f": {shown}" if shown else ""))

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            say(line)

    def close(self) -> None:
        """Waits a moment for the last lines."""
        with suppress(queue.Full):
            self._lines.put(None, timeout=1)
            self._thread.join(1)


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser("serve", help="answer SageMaker's API, and run the jobs that clients create")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add_s3_option(parser, "one of its own")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)")
    add("--port", type=_port, default=4580, help="0: any that is free (default: 4580)")
    add("--root", type=Path, default=Path("jobs/api"), metavar="DIR", help="where jobs are kept (default: jobs/api)")
    add_runner_options(parser)
    add("--images", type=Path, metavar="FILE.json", help="a map from image names in requests to local images")
    add_parallel_option(parser)
    add(
        "--allow-mocked",
        action="store_true",
        help="let moto answer operations that nothing executes, as if transform jobs, endpoints and the like had run",
    )
    add("--allow-files", action="store_true", help="let requests name this machine's files by file:// addresses")
    add("-v", "--verbose", action="store_true", help="a line for each request, too, not only for each job's state")
    add("--any-role", action="store_true", help="let jobs have roles that this server does not know, such as AWS's")


def run(args: argparse.Namespace) -> None:
    """Answers until Ctrl-C; then stops the jobs as the service would, and waits for them."""
    api = load_api_server()
    with ExitStack() as stack:
        runner = stack.enter_context(open_runner(args))
        lines = stack.enter_context(closing(Lines()))
        server = api.ApiServer(
            args.root, runner, args.host, args.port, args.parallel, read_images(args.images), args.s3_endpoint_url,
            allowed=api.Allowed(args.allow_mocked, args.allow_files, args.any_role),
            observer=lines, on_request=lines.say if args.verbose else None, on_execution=lines.on_execution,
        )  # fmt: skip
        stack.callback(server.close)
        signals = collect_signals()
        if args.host not in api.LOOPBACK:
            say_note(
                f"warning: {args.host} may be reached from other machines and from containers, and whoever reaches it "
                "can run any image here" + (" and read any file" if args.allow_files else "")
            )
        server.start()
        say_note(
            f"ready at {server.url} (also for a browser); jobs are kept in {args.root}; Ctrl-C stops them and ends"
        )
        for line in server.exports():
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        get_before(signals)
        _stop_jobs(server, signals)
        server.save()
    ignore_signals()


def _stop_jobs(server: "ApiServer", signals: "queue.SimpleQueue[int]") -> None:
    """After the first signal: SIGTERM and the grace period. The second signal kills the jobs, the third ends all."""
    names = server.platform.stop()
    if names:
        say_note(f"stopping {count(len(names), 'job')}: SIGTERM now, SIGKILL in 120 s; Ctrl-C again kills them")
    while not server.platform.wait(0.2):
        if not signals.empty():
            signals.get()
            say_note("killing the jobs")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            server.platform.kill()


def _port(text: str) -> int:
    """A TCP port; 0 asks for any."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"not a port. Received: {text}. Expected: 0 to 65535")
    return int(text)
