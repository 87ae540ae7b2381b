"""The command line: `python -m dataset prepare`, `inspect` and `upload`. Exit codes: 0, 1 (a line
says why; of `inspect` one for each thing that is wrong), 2 (wrong usage), 128 + signal (interrupted)."""

import argparse
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dataset import interrupt
from dataset.console import begin_program
from dataset.errors import DatasetError, to_one_line


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    interrupt.install()
    try:
        return arguments.run(arguments)
    except DatasetError as error:
        return _end(1, to_one_line(error))
    except ModuleNotFoundError as missing:
        hint = "Run `make env` and `. .venv/bin/activate`, then the command again"
        return _end(1, f"{missing.name} is not installed for this Python ({sys.executable}). {hint}")
    except interrupt.Interrupted as error:
        return _end(128 + error.signum, f"{error}; {arguments.interrupted}")


def _end(code: int, line: str) -> int:
    interrupt.ignore()
    sys.stderr.write(f"dataset: {line}\n")
    _leave_message(line)
    return code


def _leave_message(line: str) -> None:
    """In a processing job this is its ExitMessage."""
    output = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "output")
    with suppress(OSError):  # no such job: /opt/ml/output is the platform's
        (output / "message").write_text(line)


def _prepare(arguments: argparse.Namespace) -> int:
    # imported here: numpy and Pillow take a while, and Ctrl-C works from the first moment on
    from dataclasses import replace

    from dataset.prepare import Request, prepare
    from dataset.sources.cifar10 import ARCHIVE, cache_folder

    options = {name: value for name, value in vars(arguments).items() if name in Request.__annotations__}
    archive = replace(ARCHIVE, url=arguments.mirror or ARCHIVE.url)
    described = prepare(Request(**{**options, "cache": arguments.cache or cache_folder(), "archive": archive}))
    height, width, _ = described.image_shape
    counts = (
        f"{described.examples(split):,} {split} pictures in {len(shards)} shard{'s' * (len(shards) > 1)}"
        for split, shards in described.splits.items()
    )
    sys.stdout.write(f"{arguments.out}: {', '.join(counts)}, {len(described.classes)} classes, {height}×{width}\n")
    return 0


def _upload(arguments: argparse.Namespace) -> int:
    from dataset.upload import upload

    done = upload(arguments.data, arguments.bucket, arguments.prefix, arguments.endpoint_url)
    sys.stdout.write(f"{done}\n")
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from dataset.inspection.inspect import inspect
    from dataset.inspection.text import format_summary

    summary = inspect(arguments.where, arguments.endpoint_url, arguments.html)
    sys.stdout.write(format_summary(summary, shutil.get_terminal_size().columns))
    return int(bool(summary.problems))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dataset", description="Pictures → TFRecord shards, on disk or in S3."
    )
    commands = parser.add_subparsers(required=True, metavar="prepare|inspect|upload")
    _add_prepare(commands.add_parser("prepare", help="write shards and dataset.json"))
    _add_inspect(commands.add_parser("inspect", help="say what is in them, and what is wrong: then the exit code is 1"))
    _add_upload(commands.add_parser("upload", help="copy them to S3"))
    return parser


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_prepare, interrupted="nothing half-written is left")
    add = parser.add_argument
    add("--source", default="auto", metavar="auto|cifar10|synthetic|PATH", help=_SOURCE)
    add(
        "--out",
        type=Path,
        default=Path("data"),
        help="folder to write, replaced whole if it was written by this command (data)",
    )
    add("--shards", type=_int_between(1, 99_999), help="files of the train split (16)")
    add(
        "--validation-shards",
        type=_int_between(1, 99_999),
        help="files of the validation split (a quarter of --shards)",
    )
    add(
        "--image-size",
        type=_int_between(1, 4096),
        metavar="N",
        help="N×N pixels (the pictures' own if all have one, else 32)",
    )
    add(
        "--validation-split",
        type=_share,
        metavar="SHARE",
        help="of each class of pictures without splits, PATH/<class>/*, this share validates, such as 0.1; by their "
        "content and --seed, so that a picture's side never changes",
    )
    add(
        "--encoding",
        choices=("raw", "jpeg", "png"),
        help="of the pictures in the records: raw pixels (default), the fastest; png; jpeg, where a JPEG of that size "
        "stays as it is and a picture that is smaller as PNG is one",
    )
    add(
        "--seed",
        type=_int_between(0, 2**63 - 1),
        help="of the shuffling, --validation-split and synthetic pictures (0)",
    )
    add(
        "--skip-damaged",
        action="store_true",
        help="leave out pictures that can't be decoded, instead of naming them only",
    )
    add("--max-bytes", type=_int_between(1, 2**63 - 1), metavar="N", help="what an archive may unpack to (64 GiB)")
    add("--cache", type=Path, help="folder of the downloaded archive ($XDG_CACHE_HOME/cv-keras-cifar10)")
    add("--mirror", metavar="URL", help="another address of cifar-10-python.tar.gz")


def _add_upload(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_upload, interrupted="what was not sent yet is sent by the next upload")
    add = parser.add_argument
    add("--bucket", required=True, help="S3 bucket, its name alone")
    add("--prefix", default="cv_keras_cifar10", help="the objects are PREFIX/data/… (cv_keras_cifar10)")
    add("--data", type=Path, default=Path("data"), help="a prepared folder (data)")
    add("--endpoint-url", metavar="URL", help=_ENDPOINT)


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_inspect, interrupted="nothing was changed")
    add = parser.add_argument
    add(
        "where",
        nargs="?",
        default="data",
        metavar="DIR|s3://…",
        help="a prepared folder, or where it was uploaded (data)",
    )
    add("--html", type=Path, metavar="FILE", help="write a page with pictures of each class, too")
    add("--endpoint-url", metavar="URL", help=_ENDPOINT)


def _int_between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"from {least} to {most} expected. Received: {text}")
        return value

    return number


def _share(text: str) -> float:
    value = float(text)
    if not 0.001 <= value <= 0.9:
        raise argparse.ArgumentTypeError(f"from 0.001 to 0.9 expected. Received: {text}")
    return value


_ENDPOINT = "of S3, instead of the one that AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names, or AWS's own"
_SOURCE = (
    "auto (default): what is prepared already, else CIFAR-10, else a synthetic stand-in; cifar10: the official "
    "archive, downloaded once; synthetic: drawn shapes; PATH: a folder, zip or tar of train/<class>/* and "
    "validation/<class>/* (or valid/, val/, or test/), of <class>/* with --validation-split, or the CIFAR-10 archive"
)

if __name__ == "__main__":
    # as stderr is: a path may hold what a terminal can't show
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # nobody has replaced it yet
    begin_program()
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # what may still run is an upload that nobody waits for any more; a PUT is whole or not at all
    os._exit(code) if code > 128 else sys.exit(code)
