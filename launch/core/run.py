"""What the Python clients have in common: command line, preflight checks, errors, and following the job."""

import sys
from collections.abc import Callable, Sequence

from launch import experiments
from launch.core.console import begin_program, say, say_error
from launch.core.errors import user_message
from launch.core.follow import follow, say_way_back
from launch.core.preflight import preflight
from launch.core.request import Options, build_parser, parse_options

Create = Callable[[Options], str]  # starts the job; its name, which an SDK may have changed


def run(description: str | None, create: Create, arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if the job was accepted or, with --wait, completed. Errors are one line."""
    if arguments is None:  # this is a program of its own
        begin_program()
    options = parse_options(build_parser(description).parse_args(arguments))
    try:
        options = preflight(options)
        if options.experiment:
            experiments.ensure(options.experiment, options.name)
        name = create(options)
        say(f"-- {name} was accepted")
        if not options.wait:
            say_way_back(name)
        code = follow(options.command, name) if options.wait else 0
        if options.experiment:
            _add_runs(options, name)
        return code
    except KeyboardInterrupt:
        sys.stderr.write(f"\nInterrupted. If {options.name} was accepted already, it goes on.\n")
        return 130
    except Exception as error:
        if (line := user_message(error)) is None:
            raise
        say_error(line)
        return 1


def _add_runs(options: Options, name: str) -> None:
    """Put into the trial what ExperimentConfig has not: the training jobs of a tuning job, a job of SDK v3."""
    if options.command == "tune" and not options.wait:
        say(f"-- afterwards: python -m launch.experiments associate --job {name} --experiment {options.experiment}")
        return
    added = experiments.associate(name, options.name)
    say(f"-- {len(added)} runs are part of trial {options.name} of experiment {options.experiment}")
