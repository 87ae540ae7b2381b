"""What the pipeline's clients have in common: command line, checks, pictures, errors, and following the execution."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

from launch.core.console import begin_program, say, say_error
from launch.core.errors import user_message
from launch.core.follow import LEFT, follow_to_end
from launch.core.preflight import check_bucket, client, find_role
from launch.pipeline import pictures
from launch.pipeline.definition import Options, build_parser, parse_options
from launch.pipeline.execution import PipelineExecution

Start = Callable[[Options], str]  # makes or updates the pipeline and starts it; the execution's ARN


def run(description: str | None, start: Start, arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if the execution was started or, with --wait, succeeded. Errors are one line."""
    if arguments is None:  # this is a program of its own
        begin_program()
    options = parse_options(build_parser(description).parse_args(arguments))
    try:
        arn = start(prepare(options))
        say(f"-- {options.name} was started: {arn}")
        return follow(arn) if options.wait else 0
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\nInterrupted. If an execution of {options.name} was started already, it goes on: `aws sagemaker "
            f"list-pipeline-executions --pipeline-name {options.name}` shows it, stop-pipeline-execution stops it.\n"
        )
        return 130
    except Exception as error:
        if (line := user_message(error)) is None:
            raise
        say_error(line)
        return 1


def follow(execution: str) -> int:
    """The exit code: 0 if it succeeded. Ctrl-C asks whether it is to stop, too, and says how to do that later."""
    code = follow_to_end(execution, PipelineExecution(execution))
    if code == LEFT:
        say(f"-- stop it:   aws sagemaker stop-pipeline-execution --pipeline-execution-arn {execution}")
    return code


def prepare(options: Options) -> Options:
    """The options after all checks, with the role as an ARN, the pictures uploaded and the region that is used."""
    sts = client("sts")
    sts.get_caller_identity()
    check_bucket(options.bucket)
    role = find_role(options.role)
    if options.pictures:
        dataset = pictures.upload(options.pictures, options.bucket)
    else:
        dataset = options.dataset
        pictures.check_there(options.bucket, dataset)
    return replace(options, role=role, dataset=dataset, region=sts.meta.region_name)
