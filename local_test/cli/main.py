"""SageMaker on this machine: run a job, a search or a pipeline; find a job again, here or on AWS; serve the API."""

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

try:
    from local_test.cli import feed, jobs, pipeline, predict, serve, train, tune
    from local_test.cli.options import ChooseRunner, Parser, say_note
    from local_test.errors import LocalTestError
    from local_test.runners.select import CHECKOUT, choose
    from local_test.util.console import begin_program
except ModuleNotFoundError as missing:
    sys.stderr.write(f"local_test: {missing.name} is not installed. Run pip install . with this Python\n")
    sys.exit(2)

_PROGRAM = "python -m local_test" if Path(sys.argv[0]).name == "__main__.py" else "local-test"
_BAD_REQUEST = 2
_EXIT_CODES = {
    None: 0,
    "Completed": 0,
    "Succeeded": 0,
    "Failed": 1,
    "Stopped": 130,
}  # by the status of what a command ran


def parser() -> argparse.ArgumentParser:
    """The command line; each command's module adds its own options and sets `run`."""
    top = Parser(prog=_PROGRAM, description=__doc__, epilog=f"{_PROGRAM} COMMAND --help says more.")
    top.add_argument("--version", action=_PrintVersion, nargs=0, help="print the version and exit")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    for module in (train, tune, pipeline, serve, jobs, predict, feed):
        module.add_parser(commands)
    return top


class _PrintVersion(argparse.Action):
    """As argparse's own, but looks for the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        sys.stdout.write(f"{read_version()}\n")
        parser.exit()


def read_version() -> str:
    """The version of the checkout, or of the distribution that installed this package."""
    if CHECKOUT:
        return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
    return version(packages_distributions()["local_test"][0])


def main(argv: Sequence[str] | None = None, choose_runner: ChooseRunner = choose) -> int:
    """The exit code: 0, 1 failed, 2 a bad request, 130 stopped. `choose_runner` makes the runner of --runner."""
    if argv is None:  # this is a program of its own
        begin_program()
    args = parser().parse_args(argv, argparse.Namespace(choose_runner=choose_runner))
    try:
        return _EXIT_CODES[args.run(args)]
    except LocalTestError as error:
        say_note(str(error))
        return _BAD_REQUEST
    except KeyboardInterrupt:
        return _EXIT_CODES["Stopped"]
    except BrokenPipeError:  # a reader that has had enough, such as head; the flush at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
