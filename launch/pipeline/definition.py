"""The pipeline's command line, and launch/pipeline.json with its placeholders filled in. Standard library only.

`python -m launch.pipeline.definition …` prints the definition, for `python -m local_test pipeline` and for a look.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.core.console import begin_program
from launch.core.request import FOLDER, check_bucket_name, check_name, fill_in, parse_pairs

_NAME = "cv-keras-cifar10"
_REGION = "us-east-1"


@dataclass(frozen=True)
class Options:
    """What the command line says; `role` is an ARN, and `dataset` known, by the time a definition is built."""

    image: str
    role: str
    bucket: str
    name: str  # of the pipeline, and of the model package group
    pictures: Path | None = None
    wait: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    region: str = _REGION
    dataset: str = ""  # the folder below s3://BUCKET/cv_keras_cifar10/pictures/


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """The command line that all clients share."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name.removesuffix(".__main__") if spec else None
    parser = argparse.ArgumentParser(
        module and f"python -m {module}", description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--image", required=True, help="what push.sh printed: repository@sha256:…; locally any image")
    parser.add_argument("--role", required=True, help="name or ARN of the execution role; locally: local")
    parser.add_argument("--bucket", required=True, help="where everything is kept")
    parser.add_argument(
        "--pictures", type=Path, metavar="PATH",
        help="a folder, zip or tar of train/<class>/* and validation/<class>/*, or CIFAR-10's archive: uploaded first. "
        "--parameter Pictures=NAME takes what lies in the bucket below cv_keras_cifar10/pictures/NAME/ instead",
    )  # fmt: skip
    parser.add_argument("--name", default=_NAME, help=f"of the pipeline and its model package group; default: {_NAME}")
    parser.add_argument("--wait", action="store_true", help="follow the execution to its end; exit 0 if it succeeds")
    parser.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE",
        help="of the execution: " + ", ".join(name for name in parameter_defaults(_read())),
    )  # fmt: skip
    return parser


def parse_options(arguments: argparse.Namespace) -> Options:
    """SystemExit, as argparse does, for what can't be a parameter, a bucket or a name, and for a missing --pictures."""
    members = vars(arguments)
    parameters = parse_pairs("parameter", members.pop("parameter"))
    check_bucket_name(arguments.bucket)
    check_name("name", arguments.name)
    if not arguments.pictures and "Pictures" not in parameters:
        raise SystemExit("Which pictures? Give --pictures PATH, or --parameter Pictures=NAME. --help says more.")
    if arguments.pictures and "Pictures" in parameters:
        raise SystemExit("--pictures and --parameter Pictures exclude each other. Received: both.")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _REGION
    return Options(**members, parameters=parameters, region=region, dataset=parameters.get("Pictures", ""))


def build_definition(options: Options) -> dict[str, Any]:
    """launch/pipeline.json, filled in."""
    values = {
        "name": options.name, "image": options.image, "role": options.role, "bucket": options.bucket,
        "region": options.region, "pictures": options.dataset,
    }  # fmt: skip
    return fill_in(_read(), values)


def parameter_defaults(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Name → default value of each parameter."""
    return {item["Name"]: item["DefaultValue"] for item in definition["Parameters"]}


def _read() -> dict[str, Any]:
    return json.loads((FOLDER / "pipeline.json").read_text(encoding="utf-8"))


def main(argv: Sequence[str] | None = None) -> None:
    """Print the definition."""
    if argv is None:  # this is a program of its own
        begin_program()
    options = parse_options(build_parser(__doc__).parse_args(argv))
    json.dump(build_definition(options), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
