"""The way back to a job, of this machine's folders, a server or AWS: jobs, describe, logs, attach, stop, interrupt,
report.
"""

import argparse
import os
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from local_test.cli.follow import follow, print_log
from local_test.cli.options import Commands, positive, say, say_note, url
from local_test.errors import BadRequest
from local_test.hosts.report import enclose, open_enclosed
from local_test.places.base import Job
from local_test.places.facts import format_metric, format_status, list_facts, summarize
from local_test.places.finder import Finder, Where, format_command
from local_test.places.folders import FolderPlace
from local_test.request.job_kind import KINDS, TRAINING, TUNING
from local_test.tuning.html_report import page
from local_test.util.atomic_files import as_json, file_uri, write_whole
from local_test.util.clock import now_utc
from local_test.util.console import count, format_seconds, printable
from local_test.util.live_table import align

_LIMIT = 50  # jobs that are listed
_STOPPING_SECONDS, _LOOK_SECONDS = 5.0, 0.1
_PLACES = """\
Without one of --endpoint-url, --out and --aws a job is looked for at the server that AWS_ENDPOINT_URL names (or at
http://127.0.0.1:4580, if one answers there) and in the folder jobs, with what train, tune and serve keep there.
"""
Row = tuple[str, ...]


def add_parser(commands: Commands) -> None:
    listing = _add(commands, "jobs", print_jobs, "list jobs, the newest first")
    listing.add_argument("--limit", type=positive, default=_LIMIT, metavar="N", help=f"at most N (default: {_LIMIT})")
    describe = _add(commands, "describe", print_description, "say what a job was told, what it did, what it left")
    for parser in (listing, describe):
        parser.add_argument("--json", action="store_true", help="for programs")
    logs = _add(commands, "logs", print_logs, "print what a job's program has printed")
    logs.add_argument("-f", "--follow", action="store_true", help="and what it prints, until the job is over")
    attach = _add(commands, "attach", attach_to, "follow a job to its end, as train and tune do")
    stop = _add(commands, "stop", stop_job, "stop a job: SIGTERM, SIGKILL after 120 s; what it has left is kept")
    interrupt = _add(commands, "interrupt", interrupt_job, "take a job's spot instances away, as the service may")
    report = _add(commands, "report", write_report, "find or make the page of a job's results")
    report.add_argument("--to", type=Path, metavar="FILE", help="default: where it is, else NAME-report.html here")
    report.add_argument("--open", action="store_true", help="in the browser")
    for parser in (describe, logs, attach, stop, interrupt, report):
        parser.add_argument("name", metavar="NAME", help="the job's name")


def _add(
    commands: Commands, name: str, run: Callable[[argparse.Namespace, Finder], str | None], text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=_PLACES)
    parser.set_defaults(run=partial(_run, run))
    add_place_options(parser)
    if name != "interrupt":
        words = [kind.word for kind in KINDS]
        parser.add_argument("--kind", choices=words, help="jobs of this kind alone")
    return parser


def add_place_options(parser: argparse.ArgumentParser) -> None:
    """For a command that takes a job's name."""
    group = parser.add_argument_group("where the job is")
    one = group.add_mutually_exclusive_group()
    one.add_argument("--endpoint-url", type=url, metavar="URL", help="at the server of this address")
    one.add_argument("--out", type=Path, metavar="DIR", help="in this folder, of train, tune or serve")
    one.add_argument("--aws", action="store_true", help="on AWS")
    group.add_argument("--region", metavar="REGION", help="of AWS or the server")


def open_finder(args: argparse.Namespace) -> Finder:
    """Of the places that those options name."""
    return Finder(Where(args.endpoint_url, args.out, args.aws, args.region), say_note)


def _run(run: Callable[[argparse.Namespace, Finder], str | None], args: argparse.Namespace) -> str | None:
    with open_finder(args) as finder:
        return run(args, finder)


def _find(args: argparse.Namespace, finder: Finder) -> Job:
    kinds = {kind.word: kind for kind in KINDS}
    kind = TRAINING if args.command == "interrupt" else kinds.get(args.kind)
    return finder.find(args.name, kind, args.command)


# jobs


def print_jobs(args: argparse.Namespace, finder: Finder) -> None:
    kinds = [kind for kind in KINDS if args.kind in (None, kind.word)]
    jobs = finder.newest(kinds, args.limit)
    if args.json:
        _write([as_json([summarize(job) for job in jobs])])
        return
    _write(_format_jobs(jobs, _columns()))
    if not jobs:
        say_note(f"no jobs in {finder}")
        return
    more = f"; --limit {2 * args.limit} shows more" if len(jobs) == args.limit else ""
    say_note(f"{count(len(jobs), 'job')} in {finder}{more}")


def _columns() -> int | None:
    """Of the terminal; None where the output is none."""
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except OSError:
        return None


def _write(lines: Sequence[str] | Iterator[str]) -> None:
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)
    sys.stdout.flush()


def _format_jobs(jobs: Sequence[Job], columns: int | None) -> list[str]:
    """A row a job; on a terminal that is narrower two lines, of which the first is the name."""
    rows = [_row(job) for job in jobs]
    kinds, places = {job.kind.word for job in jobs}, {str(job.place) for job in jobs}
    if len(kinds) == 1:
        rows = [(created, name, *rest) for created, name, _, *rest in rows]
    if len(places) > 1:
        rows = [(*row, str(job.place)) for row, job in zip(rows, jobs, strict=True)]
    lines = align(rows)
    if columns is None or all(len(line) <= columns for line in lines):
        return lines
    return [line for created, name, *rest in rows for line in (name, f"  {'  '.join([created, *filter(None, rest)])}")]


def _row(job: Job) -> Row:
    """Created, name, kind, status, duration, metric."""
    created = f"{job.description['CreationTime'].astimezone():%Y-%m-%d %H:%M:%S}"
    return (
        created,
        job.name,
        job.kind.word,
        format_status(job),
        format_seconds(job.seconds(now_utc())),
        format_metric(job),
    )


# describe


def print_description(args: argparse.Namespace, finder: Finder) -> None:
    job = _find(args, finder)
    if args.json:
        _write([as_json({key: value for key, value in job.description.items() if key != "ResponseMetadata"})])
        return
    facts = list(list_facts(job))
    width = max(len(name) for name, _ in facts)
    _write(f"{name:<{width}}  {text}".replace("\n", "\\n") for name, text in facts)


# logs, attach, stop, interrupt


def print_logs(args: argparse.Namespace, finder: Finder) -> None:
    print_log(_find(args, finder), following=args.follow)


def attach_to(args: argparse.Namespace, finder: Finder) -> str | None:
    return follow(_find(args, finder))


def stop_job(args: argparse.Namespace, finder: Finder) -> None:
    job = _find(args, finder)
    if job.is_over:
        raise BadRequest(f"This job can't be stopped: it is {job.status}. Received: {job.name}")
    if job.status == "Stopping":
        say(f"{job.name} is stopping already")
        return
    job.place.stop(job.kind, job.name)
    what = "its training jobs get" if job.kind is TUNING else "its program gets"
    limit = time.monotonic() + _STOPPING_SECONDS  # who runs the job is told, and has yet to begin
    while (now := job.look()).status == "InProgress" and time.monotonic() < limit:
        time.sleep(_LOOK_SECONDS)
    say(f"{job.name}: {format_status(now)}. Now {what} SIGTERM, SIGKILL after 120 s; what it has left is kept")
    say(f"Follow it with {format_command(job, 'attach')}")


def interrupt_job(args: argparse.Namespace, finder: Finder) -> None:
    job = _find(args, finder)
    job.place.interrupt(job.name)
    say(f"{job.name}: its spot instances are taken away: SIGTERM now, SIGKILL after 120 s; then it starts again")
    say(f"Follow it with {format_command(job, 'attach')}")


# report


def write_report(args: argparse.Namespace, finder: Finder) -> None:
    job = _find(args, finder)
    path = _find_report(job) if not args.to else None
    if path is None:
        path = args.to or Path(f"{job.name}-report.html")
        content = _make_report(job)
        try:
            write_whole(path, lambda file: file.write(content))
        except OSError as error:
            raise BadRequest(f"The report can't be written: {error.strerror}. Received: {path}") from None
    _write([str(path)])
    if args.open and not webbrowser.open(file_uri(path)):
        say_note(f"there is no browser to open it in: {file_uri(path)}")


def _find_report(job: Job) -> Path | None:
    """Where it lies already, on this machine, and will not change any more."""
    if not isinstance(job.place, FolderPlace) or not job.is_over:
        return None
    path = job.place.report_path(job.kind, job.description)
    if not path.is_file() or (job.kind is TRAINING and open_enclosed(path.read_bytes()) is None):
        return None
    return path


def _make_report(job: Job) -> bytes:
    if job.kind is TUNING:
        return page(job.description, job.place.children(job.name)).encode()
    content = job.place.report(job.description) if job.kind is TRAINING else None
    if content is None:
        yet = "" if job.is_over else ", and is not over yet"
        raise BadRequest(
            f"This {job.kind.noun} has left no report.html{yet}. Received: {job.name}, which is {job.status}"
        )
    return enclose(content)
