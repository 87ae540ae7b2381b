"""What the Python clients have in common: the command line, the checks before, the errors, and following the job."""

import sys
from collections.abc import Callable, Sequence

from launch.checks import checked
from launch.errors import explained
from launch.follow import followed, say
from launch.request import Options, options, parser

Create = Callable[[Options], str]  # starts the job; its name, which an SDK may have changed


def run(description: str | None, create: Create, arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if the job was accepted or, with --wait, completed. Errors are one line."""
    chosen = options(parser(description).parse_args(arguments))
    try:
        name = create(checked(chosen))
        say(f"-- {name} was accepted")
        return followed(chosen.command, name) if chosen.wait else 0
    except Exception as error:
        if (line := explained(error)) is None:
            raise
        sys.stderr.write(f"{line}\n")
        return 1
