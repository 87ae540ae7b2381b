"""What the Python clients have in common: the command line, the checks before, the errors, and following the job."""

import sys
from collections.abc import Callable, Sequence

from launch import experiments
from launch.core.errors import explained
from launch.core.follow import followed, say
from launch.core.preflight import checked
from launch.core.request import Options, options, parser

Create = Callable[[Options], str]  # starts the job; its name, which an SDK may have changed


def run(description: str | None, create: Create, arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if the job was accepted or, with --wait, completed. Errors are one line."""
    chosen = options(parser(description).parse_args(arguments))
    try:
        chosen = checked(chosen)
        if chosen.experiment:
            experiments.ensure(chosen.experiment, chosen.trial)
        name = create(chosen)
        say(f"-- {name} was accepted")
        code = followed(chosen.command, name) if chosen.wait else 0
        if chosen.experiment:
            _add_runs(chosen, name)
        return code
    except KeyboardInterrupt:
        sys.stderr.write(f"\nInterrupted. If {chosen.name} was accepted already, it goes on.\n")
        return 130
    except Exception as error:
        if (line := explained(error)) is None:
            raise
        sys.stderr.write(f"{line}\n")
        return 1


def _add_runs(chosen: Options, name: str) -> None:
    """What ExperimentConfig has not put into the trial: the training jobs of a tuning job, a job of SDK v3's."""
    if chosen.command == "tune" and not chosen.wait:
        say(f"-- afterwards: python -m launch.experiments associate --job {name} --experiment {chosen.experiment}")
        return
    added = experiments.associate(name, chosen.trial)
    say(f"-- {len(added)} runs are part of trial {chosen.trial} of experiment {chosen.experiment}")
