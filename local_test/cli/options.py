"""Options that several commands share, and what is made from them."""

import argparse
import os
from collections.abc import Callable, Collection
from contextlib import closing
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlsplit

from docker.errors import DockerException
from docker.utils import parse_bytes

from local_test.errors import BadRequest, RunnerError
from local_test.request.builder import MODES, Options, parse_pairs
from local_test.runners.base import Runner
from local_test.runners.select import CHECKOUT, CHOICES
from local_test.util.console import write_on_stderr

if TYPE_CHECKING:
    from local_test.server.job_page import JobPage

ChooseRunner = Callable[
    [str, str | None, str | None, Collection[int] | None, Callable[[str], None]], Runner
]  # as runners.select.choose
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Parser(argparse.ArgumentParser):
    """An unknown option is refused with the usage of its command, not the program's, and with what it may mean."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            close = get_close_matches(unknown[0].partition("=")[0], options, 1)
            meant = f". Did you mean {close[0]}?" if close else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return known, unknown


def add_s3_option(parser: argparse.ArgumentParser, default: str) -> None:
    text = f"the S3 of data, artifacts and checkpoints, instead of {default}"
    parser.add_argument("--s3-endpoint-url", type=url, metavar="URL", help=text)


def add_job_options(parser: argparse.ArgumentParser, operation: str, default: Path, out: str) -> None:
    """What `train` and `tune` lay over their job file: `default` of a checkout, a request of `operation`."""
    add = parser.add_argument
    add("--job", type=Path, metavar="FILE.json", help=f"a {operation} request (default: {default} of this checkout)")
    add("--image", metavar="IMG", help="image to run, instead of the request's")
    add("--input-mode", choices=MODES, help="the job's TrainingInputMode")
    text = "where a channel's data is: a file, a folder or s3://…; :Pipe, :File or :FastFile after it is its own mode"
    add("--channel", action="append", default=[], metavar="NAME=PLACE[:MODE]", help=text)
    add("--hyperparameter", action="append", default=[], metavar="K=V")
    add("--env", action="append", default=[], metavar="K=V", help="a variable of the container")
    add("--name", help="the job's name (default: the request's name with the time added)")
    add("--out", type=Path, default=Path(out), metavar="DIR", help=f"where jobs are kept (default: {out})")


def read_job_options(args: argparse.Namespace) -> Options:
    """What `add_job_options` has added, and `train` alone."""
    return Options(
        image=args.image,
        name=args.name,
        input_mode=args.input_mode,
        channels=parse_pairs("--channel", args.channel),
        hyperparameters=parse_pairs("--hyperparameter", args.hyperparameter),
        environment=parse_pairs("--env", args.env),
        instance_count=getattr(args, "instance_count", None),
        checkpoints=getattr(args, "checkpoints", None),
        max_runtime=getattr(args, "max_runtime", None),
    )


def find_job_file(args: argparse.Namespace, operation: str, default: Path) -> Path:
    """The one of --job, else the checkout's."""
    if args.job:
        return args.job
    if CHECKOUT is None:
        raise BadRequest(
            f"A job needs a {operation} request. Received: no --job, outside this project's checkout. "
            "Expected: --job FILE.json"
        )
    return CHECKOUT / default


def add_runner_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--runner", choices=CHOICES, default="auto", help="auto: containers if a Docker engine answers, else processes")
    add("--memory", type=_size, metavar="SIZE", help="limit of each container's memory, such as 8g")
    add("--shm-size", type=_size, metavar="SIZE", help="size of each container's /dev/shm, such as 1g")
    add("--gpus", type=_gpus, metavar="all|none|0,1", help="which containers may have; parallel ones take turns")


def add_parallel_option(parser: argparse.ArgumentParser) -> None:
    text = "jobs at a time, others wait (default: one a CPU, at least 2)"
    parser.add_argument("--parallel", type=positive, default=max(2, os.cpu_count() or 1), metavar="N", help=text)


def add_ui_option(parser: argparse.ArgumentParser) -> None:
    text = "show curves, logs and results as they come to a browser, at an address that is printed"
    parser.add_argument("--ui", action="store_true", help=text)


def load_api_server() -> ModuleType:
    """For who wants a server."""
    return _load("local_test.server.api_server")


def load_job_page() -> "type[JobPage]":
    """For who wants a page."""
    return _load("local_test.server.job_page").JobPage


def _load(module: str) -> ModuleType:
    """One that loads moto, which takes a second and may be missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        raise RunnerError(f"{missing.name} is not installed. Run pip install . with this Python") from None


def open_runner(args: argparse.Namespace, note: Callable[[str], None] | None = None) -> closing[Runner]:
    """The runner that the options name; `note` gets a line for the person. RunnerError if there is none."""
    choose_runner: ChooseRunner = args.choose_runner
    return closing(choose_runner(args.runner, args.memory, args.shm_size, args.gpus, note or say_note))


def read_environment(args: argparse.Namespace) -> dict[str, str]:
    """This program's environment variables; containers get those that lead to S3."""
    s3 = {"AWS_ENDPOINT_URL_S3": args.s3_endpoint_url} if args.s3_endpoint_url else {}
    return {**os.environ, **s3}


def say(text: str) -> None:
    """A line for the person."""
    write_on_stderr(text)


def say_note(text: str) -> None:
    say(f"local_test: {text}")


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number from 1. Received: {text}")
    return int(text)


def _size(text: str) -> str:
    """Bytes in Docker's notation."""
    try:
        fits = parse_bytes(text) > 0
    except DockerException:
        fits = False
    if not fits:
        raise argparse.ArgumentTypeError(f"not a size. Received: {text}. Expected: b, k, m or g after a number")
    return text


def _gpus(text: str) -> list[int] | None:
    """Numbers of GPUs; None for all."""
    if text in ("all", "none"):
        return None if text == "all" else []
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"not GPUs. Received: {text}. Expected: all, none, or numbers such as 0,1")
    return [int(part) for part in parts]


def url(text: str) -> str:
    """http://host or https://host, with or without a port and a path."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"not an address. Received: {text}. Expected: http://HOST:PORT")
    return text.rstrip("/")
