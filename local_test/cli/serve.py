"""`serve`: SageMaker's API on this machine, until Ctrl-C."""

import argparse
import queue
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from local_test.cli.options import (
    Commands,
    add_parallel_option,
    add_runner_options,
    add_s3_option,
    load_api_server,
    open_runner,
    say_note,
)
from local_test.cli.signals import collect_signals, ignore_signals
from local_test.runners.image_aliases import read_images
from local_test.util.console import count
from local_test.util.queues import get_before

if TYPE_CHECKING:
    from local_test.server.api_server import ApiServer


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
    add("--any-role", action="store_true", help="let jobs have roles that this server does not know, such as AWS's")


def run(args: argparse.Namespace) -> None:
    """Answers until Ctrl-C; then stops the jobs as the service would, and waits for them."""
    api = load_api_server()
    with ExitStack() as stack:
        runner = stack.enter_context(open_runner(args))
        server = api.ApiServer(
            args.root, runner, args.host, args.port, args.parallel, read_images(args.images), args.s3_endpoint_url,
            allowed=api.Allowed(args.allow_mocked, args.allow_files, args.any_role),
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
