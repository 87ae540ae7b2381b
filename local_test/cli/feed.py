"""`feed`: FIFOs for a container that was started by hand."""

import argparse
import signal
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from local_test.cli.options import Commands, positive, say
from local_test.data.channels import Channel
from local_test.data.fifo_feeder import Feeder, FeedProgress
from local_test.data.object_store import ObjectStore
from local_test.errors import BadRequest, LocalTestError
from local_test.util.atomic_files import file_uri
from local_test.util.console import count


def add_parser(commands: Commands) -> None:
    parser = commands.add_parser("feed", help="serve FIFOs for a container started by hand")
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("path", metavar="PATH", help="a file, a folder or an s3:// prefix")
    parser.add_argument(
        "prefix", type=Path, metavar="FIFO_PREFIX", help="<prefix>_0, <prefix>_1, … are made and served"
    )
    add("--epochs", type=positive, metavar="N", help="end after N FIFOs (default: at Ctrl-C)")


def run(args: argparse.Namespace) -> None:
    """Serves FIFOs until Ctrl-C or the last epoch."""
    with closing(ObjectStore()) as storage:
        uri = args.path if "://" in args.path else file_uri(Path(args.path))
        channel = Channel(args.prefix.name, "Pipe", uri, tuple(storage.objects(uri)))
        if not channel.objects:
            raise BadRequest(f"There is nothing to feed. Received: {args.path}. Expected a file, a folder or s3://…")
        errors: list[Exception] = []
        feeder = Feeder(args.prefix, lambda n: channel.contents(n, storage), _say_fed, errors.append, args.epochs)
        with suppress(KeyboardInterrupt), ExitStack() as stack:  # Ctrl-C is the ordinary end
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.default_int_handler)
            stack.callback(feeder.stop)
            feeder.start()
            objects = count(len(channel.objects), "object")
            say(f"{feeder.path(0)}: {objects}, {channel.size} bytes an epoch; Ctrl-C ends it")
            while feeder.alive and not errors:
                feeder.join(0.2)
    if errors:
        raise LocalTestError(str(errors[0]))


def _say_fed(fed: FeedProgress) -> None:
    if fed.end:
        early = ", closed early" if fed.end == "early" else ""
        say(f"{fed.channel}_{fed.n}: {fed.bytes} bytes fed{early}")
