"""Options that several commands share, and what is made from them."""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from docker.errors import DockerException
from docker.utils import parse_bytes

from local_test.errors import RunnerError
from local_test.runners.base import Runner
from local_test.runners.select import CHOICES
from local_test.util.console import printable

if TYPE_CHECKING:
    from local_test.server.job_page import JobPage

ChooseRunner = Callable[[str, str | None, str | None, Callable[[str], None]], Runner]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_s3_option(parser: argparse.ArgumentParser, default: str) -> None:
    text = f"the S3 of data, artifacts and checkpoints, instead of {default}"
    parser.add_argument("--s3-endpoint-url", type=url, metavar="URL", help=text)


def add_runner_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--runner", choices=CHOICES, default="auto", help="auto: containers if a Docker engine answers, else processes")
    add("--memory", type=_size, metavar="SIZE", help="limit of each container's memory, such as 8g")
    add("--shm-size", type=_size, metavar="SIZE", help="size of each container's /dev/shm, such as 1g")


def add_parallel_option(parser: argparse.ArgumentParser) -> None:
    text = "jobs at a time, others wait (default: one a CPU, at least 2)"
    parser.add_argument("--parallel", type=positive, default=max(2, os.cpu_count() or 1), metavar="N", help=text)


def add_ui_option(parser: argparse.ArgumentParser) -> None:
    text = "show curves, logs and results as they come to a browser, at an address that is printed"
    parser.add_argument("--ui", action="store_true", help=text)


def load_job_page() -> "type[JobPage]":
    """The module loads moto, which takes a second: only for who wants a page."""
    try:
        from local_test.server.job_page import JobPage
    except ModuleNotFoundError as missing:
        raise RunnerError(f"{missing.name} is not installed. Run pip install . with this Python") from None
    return JobPage


def open_runner(args: argparse.Namespace, note: Callable[[str], None] | None = None) -> closing[Runner]:
    """The runner that the options name; `note` gets a line for the person. RunnerError if there is none."""
    return closing(args.choose_runner(args.runner, args.memory, args.shm_size, note or say_note))


def read_environment(args: argparse.Namespace) -> dict[str, str]:
    """This program's environment variables; containers get those that lead to S3."""
    s3 = {"AWS_ENDPOINT_URL_S3": args.s3_endpoint_url} if args.s3_endpoint_url else {}
    return {**os.environ, **s3}


def say(text: str) -> None:
    """A line for the person."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


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


def url(text: str) -> str:
    """http://host or https://host, with or without a port and a path."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"not an address. Received: {text}. Expected: http://HOST:PORT")
    return text.rstrip("/")
