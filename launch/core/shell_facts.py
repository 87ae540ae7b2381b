"""What launch/aws_cli.sh must know of its own command line and of the request, as assignments for the shell.

Standard library only.
"""

import shlex
import sys

from launch.core.console import begin_program
from launch.core.request import build_parser, build_request, input_uris, missing_data_message, parse_options


def main() -> None:
    """Print kind, name, role, bucket, experiment, wait; for each channel its prefix and what to say without data."""
    begin_program()
    options = parse_options(build_parser(__doc__, "launch/aws_cli.sh").parse_args())
    request = build_request(options)
    prefix = f"s3://{options.bucket}/"  # other buckets may be the role's alone to look at
    inputs = [
        text
        for uri, channel in input_uris(request).items()
        if uri.startswith(prefix)
        for text in (uri.removeprefix(prefix), missing_data_message(channel, uri, options.bucket))
    ]
    facts = {
        "kind": "training-job" if options.command == "train" else "hyper-parameter-tuning-job",
        "name": options.name, "role": options.role, "bucket": options.bucket,
        "experiment": options.experiment or "", "wait": "yes" if options.wait else "",
    }  # fmt: skip
    lines = [f"{name}={shlex.quote(value)}" for name, value in facts.items()]
    sys.stdout.write("\n".join([*lines, f"inputs=({shlex.join(inputs)})"]) + "\n")


if __name__ == "__main__":
    main()
