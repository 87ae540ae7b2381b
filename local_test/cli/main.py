"""The local SageMaker's commands: train runs one job, serve answers SageMaker's API."""

import argparse
import os
import queue
import signal
import sys
import tarfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from local_test.server.platform import Service

try:
    from local_test.cli.live_table import Table
    from local_test.cli.progress import Display
    from local_test.cli.remote import call, find_tuning_job, list_jobs, server_url
    from local_test.cli.tune_offline import Tune, line_of
    from local_test.data.channels import Channel
    from local_test.data.fifo_feeder import Fed, Feeder
    from local_test.data.object_store import Storage, storage_of
    from local_test.errors import BadRequest, LocalTestError, RunnerError
    from local_test.request.builder import DEFAULT_JOB, Options, build, built_in, pairs, read_job
    from local_test.runners.select import CHECKOUT, CHOICES, choose
    from local_test.training.job import TrainingJob, now_utc
    from local_test.tuning.html_report import NAME, write_page
    from local_test.util.atomic_files import file_uri
except ModuleNotFoundError as missing:
    sys.stderr.write(f"local_test: {missing.name} is not installed. Run pip install '.[local]' with this Python\n")
    sys.exit(2)

_EXIT_CODES = {"Completed": 0, "Failed": 1, "Stopped": 130}
_BAD_REQUEST = 2
_S3_HELP = "the S3 of data, artifacts and checkpoints, instead of {}"
_REMOTE = {
    "jobs": "list the training jobs of a running server, the newest first",
    "stop": "stop a training job of a running server",
    "interrupt": "take a job's spot instances away, as the service may at any time",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m local_test", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    _add_train(commands.add_parser("train", help="run one training job; exit code 0 only if it is Completed"))
    _add_tune(commands.add_parser("tune", help="run one tuning job; exit code 0 only if it is Completed"))
    _add_serve(commands.add_parser("serve", help="answer SageMaker's API, and run the jobs that clients create"))
    for name, text in _REMOTE.items():
        remote = commands.add_parser(name, help=text)
        remote.add_argument("--endpoint-url", default=server_url(), metavar="URL", help="default: AWS_ENDPOINT_URL")
        if name != "jobs":
            remote.add_argument("job", metavar="JOB", help="its name")
    _add_report(commands.add_parser("report", help="make the page of results of a tuning job, of AWS's or a server's"))
    _add_feed(commands.add_parser("feed", help="serve FIFOs for a container started by hand"))
    return top


def _add_train(train: argparse.ArgumentParser) -> None:
    add = train.add_argument
    add("--s3-endpoint-url", type=_url, metavar="URL", help=_S3_HELP.format("the one boto3 finds"))
    add("--job", type=Path, metavar="FILE.json", help=f"a CreateTrainingJob request (default: {DEFAULT_JOB}, if there)")
    add("--image", metavar="IMG", help="image to run, instead of the request's")
    add(
        "--runner", choices=CHOICES, default="auto", help="auto: a container if a Docker engine answers, else a process"
    )
    add("--input-mode", choices=("Pipe", "File", "FastFile"), help="the job's TrainingInputMode")
    add("--channel", action="append", default=[], metavar="NAME=PATH_OR_S3", help="where a channel's data is")
    add("--hyperparameter", action="append", default=[], metavar="K=V")
    add("--env", action="append", default=[], metavar="K=V", help="a variable of the container")
    add("--instance-count", type=int, metavar="N")
    add("--max-runtime", type=int, metavar="SECONDS", help="StoppingCondition.MaxRuntimeInSeconds")
    add("--checkpoints", type=Path, metavar="DIR", help="restored before, kept up to date: the same DIR again resumes")
    add("--name", help="the job's name (default: the request's name with the time added)")
    add("--out", type=Path, default=Path("jobs"), metavar="DIR", help="where jobs are kept (default: jobs)")
    add("--memory", metavar="SIZE", help="limit of the container's memory, such as 8g")
    add("--shm-size", metavar="SIZE", help="size of the container's /dev/shm, such as 1g")


def _add_tune(tune: argparse.ArgumentParser) -> None:
    add = tune.add_argument
    add("--s3-endpoint-url", type=_url, metavar="URL", help=_S3_HELP.format("the one boto3 finds"))
    add("--job", type=Path, required=True, metavar="FILE.json", help="a CreateHyperParameterTuningJob request")
    add("--image", metavar="IMG", help="image to run, instead of the request's")
    add("--runner", choices=CHOICES, default="auto", help="auto: containers if a Docker engine answers, else processes")
    add("--root", type=Path, default=Path("jobs/tune"), metavar="DIR", help="where jobs are kept (default: jobs/tune)")
    add("--parallel", type=int, metavar="N", help="jobs at a time, others wait (default: one a CPU, at least 2)")
    add("--memory", metavar="SIZE", help="limit of each container's memory, such as 8g")
    add("--shm-size", metavar="SIZE", help="size of each container's /dev/shm, such as 1g")


def _add_serve(serve: argparse.ArgumentParser) -> None:
    add = serve.add_argument
    add("--s3-endpoint-url", type=_url, metavar="URL", help=_S3_HELP.format("one of its own"))
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine alone)")
    add("--port", type=_port, default=4580, help="0: any that is free (default: 4580)")
    add("--root", type=Path, default=Path("jobs/api"), metavar="DIR", help="where jobs are kept (default: jobs/api)")
    add("--runner", choices=CHOICES, default="auto", help="auto: containers if a Docker engine answers, else processes")
    add("--images", type=Path, metavar="FILE.json", help="a map from image names in requests to local images")
    add("--parallel", type=int, metavar="N", help="jobs at a time, others wait (default: one a CPU, at least 2)")
    add("--memory", metavar="SIZE", help="limit of each container's memory, such as 8g")
    add("--shm-size", metavar="SIZE", help="size of each container's /dev/shm, such as 1g")


def _add_report(report: argparse.ArgumentParser) -> None:
    report.add_argument("job", metavar="JOB", help="its name, where boto3 looks: AWS, or AWS_ENDPOINT_URL")
    report.add_argument("--out", type=Path, default=Path(NAME), metavar="FILE", help=f"default: {NAME}")


def _add_feed(feed: argparse.ArgumentParser) -> None:
    feed.add_argument("path", metavar="PATH", help="a file, a folder or an s3:// prefix")
    feed.add_argument("prefix", type=Path, metavar="FIFO_PREFIX", help="<prefix>_0, <prefix>_1, … are made and served")
    feed.add_argument("--epochs", type=int, metavar="N", help="end after N FIFOs (default: at Ctrl-C)")


def train(args: argparse.Namespace) -> int:
    """One job; its exit code."""
    display = Display(sys.stdout, sys.stderr)
    with ExitStack() as stack:
        environ = _environ(args)
        storage = stack.enter_context(closing(storage_of(environ)))
        stack.callback(display.close)
        request = _request(args)
        runner = choose(args.runner, args.memory, args.shm_size, display.on_note)
        if close := getattr(runner, "close", None):
            stack.callback(close)
        job = TrainingJob(request, args.out, runner, storage, environ, [display])
        display.watch(job.channels, len(job.members))
        _stop_on_signals(job.stop, job.kill)
        description = job.run()
        display.close()
        _report(description, job.folder, display.say)
    return _EXIT_CODES[description["TrainingJobStatus"]]


def _request(args: argparse.Namespace) -> dict[str, Any]:
    default = CHECKOUT / DEFAULT_JOB
    job = read_job(args.job or default) if args.job or default.exists() else built_in()
    options = Options(
        image=args.image,
        name=args.name,
        input_mode=args.input_mode,
        channels=pairs("--channel", args.channel),
        hyperparameters=pairs("--hyperparameter", args.hyperparameter),
        environment=pairs("--env", args.env),
        instance_count=args.instance_count,
        checkpoints=args.checkpoints,
        max_runtime=args.max_runtime,
    )
    return build(job, options, args.out, now_utc())


def _stop_on_signals(stop: Callable[[], object], kill: Callable[[], object]) -> None:
    """First Ctrl-C (or SIGTERM, or a closed terminal): stop as the service would. Second: kill. Third: leave."""
    count = 0

    def handle(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a handler
        nonlocal count
        count += 1
        if count == 1:
            # os.write: the handler may interrupt a print
            os.write(2, b"\nlocal_test: stopping the job: SIGTERM now, SIGKILL in 120 s; Ctrl-C again kills it\n")
            stop()
        elif count == 2:
            os.write(2, b"\nlocal_test: killing the job\n")
            kill()
        else:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)


def _environ(args: argparse.Namespace) -> dict[str, str]:
    """This program's; containers get of it what leads to S3."""
    elsewhere = {"AWS_ENDPOINT_URL_S3": args.s3_endpoint_url} if args.s3_endpoint_url else {}
    return {**os.environ, **elsewhere}


def _url(text: str) -> str:
    """http://host or https://host, a port and a path perhaps."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"not an address. Received: {text}. Expected: http://HOST:PORT")
    return text.rstrip("/")


def _port(text: str) -> int:
    """A TCP port; 0 asks for any."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"not a port. Received: {text}. Expected: 0 to 65535")
    return int(text)


def _report(description: dict[str, Any], folder: Path, say: Callable[[str], None]) -> None:
    status, reason = description["TrainingJobStatus"], description["SecondaryStatus"]
    say(f"{description['TrainingJobName']}: {status}" + (f" ({reason})" if reason != status else ""))
    if "FailureReason" in description:
        say(f"FailureReason: {description['FailureReason']}")
    for metric in description.get("FinalMetricDataList", []):
        say(f"{metric['MetricName']}: {metric['Value']:g}")
    say(f"TrainingTimeInSeconds: {description.get('TrainingTimeInSeconds', 0)}")
    say(f"Logs, metrics and artifacts: {folder}")
    if description["ModelArtifacts"]["S3ModelArtifacts"]:
        say(f"Model: {description['ModelArtifacts']['S3ModelArtifacts']}")
    if names := _files_in(folder / "output.tar.gz"):
        say(f"Output data: {folder / 'output.tar.gz'}: {', '.join(names)}")


def _files_in(archive: Path) -> list[str]:
    """The names of the files in a tar archive, at most ten; none where there is no archive."""
    if not archive.exists():
        return []
    with tarfile.open(archive) as tar:
        names = [member.name for member in tar.getmembers() if member.isfile()]
    return [*names[:10], "…"] if len(names) > 10 else names


def tune(args: argparse.Namespace) -> int:
    """One tuning job; its exit code."""
    request = read_job(args.job)
    with ExitStack() as stack:
        runner = choose(args.runner, args.memory, args.shm_size, lambda text: _say(f"local_test: {text}"))
        if close := getattr(runner, "close", None):
            stack.callback(close)
        slots = args.parallel or max(2, os.cpu_count() or 1)
        table = Table(sys.stderr) if sys.stderr.isatty() else None
        tuning = Tune(request, args.image, args.root, runner, slots, _environ(args), now_utc, _say, table)
        stack.callback(tuning.close)
        _stop_on_signals(tuning.stop, tuning.jobs.kill)
        description = tuning.run()
    status = description["HyperParameterTuningJobStatus"]
    _say(f"{tuning.name}: {status}")
    if "FailureReason" in description:
        _say(f"FailureReason: {description['FailureReason']}")
    if "BestTrainingJob" in description:
        _say(f"Best: {line_of(description['BestTrainingJob'])}")
    _say(f"Training jobs, logs, metrics and artifacts: {args.root}")
    if (tuning.folder / NAME).exists():
        _say(f"Report: {tuning.folder / NAME}")
    return _EXIT_CODES[status]


def serve(args: argparse.Namespace) -> int:
    """Answers until Ctrl-C; jobs are then stopped as the service would, and waited for."""
    try:
        from local_test.server.platform import (  # it loads moto, which no other command needs
            LOOPBACK,
            Service,
            read_images,
        )
    except ModuleNotFoundError as missing:
        raise RunnerError(f"{missing.name} is not installed. Run pip install '.[local]' with this Python") from None
    with ExitStack() as stack:
        runner = choose(args.runner, args.memory, args.shm_size, lambda text: _say(f"local_test: {text}"))
        if close := getattr(runner, "close", None):
            stack.callback(close)
        slots = args.parallel or max(2, os.cpu_count() or 1)
        service = Service(
            args.root, runner, args.host, args.port, slots, read_images(args.images), args.s3_endpoint_url
        )
        stack.callback(service.close)
        asked = _signalled()
        if args.host not in LOOPBACK:
            _say(
                f"local_test: warning: {args.host} may be reached from other machines, and whoever reaches it can run "
                "any image here and read any file"
            )
        service.start()
        _say(f"local_test: ready at {service.url}; jobs are kept in {args.root}; Ctrl-C stops them and ends")
        for line in service.exports():
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        asked.get()
        _stop_jobs(service, asked)
        service.save()
    return 0


def _stop_jobs(service: "Service", asked: "queue.SimpleQueue[int]") -> None:
    """The first signal has come: SIGTERM and the grace period. The second kills, the third leaves."""
    names = service.stop_jobs()
    if names:
        _say(f"local_test: stopping {len(names)} jobs: SIGTERM now, SIGKILL in 120 s; Ctrl-C again kills them")
    while not service.ended(0.2):
        if not asked.empty():
            asked.get()
            _say("local_test: killing the jobs")
            signal.signal(signal.SIGINT, signal.default_int_handler)
            service.jobs.kill()


def _signalled() -> "queue.SimpleQueue[int]":
    """Every Ctrl-C, SIGTERM and SIGHUP from here on."""
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: asked.put(number))
    return asked


def jobs(args: argparse.Namespace) -> int:
    """A line a job."""
    for line in list_jobs(args.endpoint_url):
        sys.stdout.write(f"{line}\n")
    return 0


def stop(args: argparse.Namespace) -> int:
    call(args.endpoint_url, "StopTrainingJob", TrainingJobName=args.job)
    return 0


def interrupt(args: argparse.Namespace) -> int:
    call(args.endpoint_url, "InterruptTrainingJob", TrainingJobName=args.job)
    return 0


def report(args: argparse.Namespace) -> int:
    """A tuning job's page, whether it is over or not."""
    try:
        write_page(args.out, *find_tuning_job(args.job))
    except OSError as error:
        raise BadRequest(f"--out can't be written: {error.strerror}. Received: {args.out}") from None
    _say(f"Report: {args.out}")
    return 0


def feed(args: argparse.Namespace) -> int:
    """Serves FIFOs until Ctrl-C or the last epoch."""
    with closing(Storage()) as storage:
        uri = args.path if "://" in args.path else file_uri(Path(args.path))
        channel = Channel(args.prefix.name, "Pipe", uri, tuple(storage.objects(uri)))
        if not channel.objects:
            raise BadRequest(f"There is nothing to feed. Received: {args.path}. Expected a file, a folder or s3://…")
        errors: list[Exception] = []
        serve = Feeder(args.prefix, lambda n: channel.contents(n, storage), _say_fed, errors.append, args.epochs)
        with suppress(KeyboardInterrupt), ExitStack() as stack:  # Ctrl-C is the ordinary end
            stack.callback(serve.stop)
            serve.start()
            _say(f"{serve.path(0)}: {len(channel.objects)} objects, {channel.size} bytes an epoch; Ctrl-C ends it")
            while serve.alive and not errors:
                serve.join(0.2)
    if errors:
        raise LocalTestError(str(errors[0]))
    return 0


_COMMANDS = {
    "train": train,
    "tune": tune,
    "serve": serve,
    "jobs": jobs,
    "stop": stop,
    "interrupt": interrupt,
    "report": report,
    "feed": feed,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, 1 failed, 2 a bad request, 130 stopped."""
    args = parser().parse_args(argv)
    try:
        return _COMMANDS[args.command](args)
    except LocalTestError as error:
        _say(f"local_test: {error}")
        return _BAD_REQUEST
    except KeyboardInterrupt:
        return _EXIT_CODES["Stopped"]


def _say_fed(fed: Fed) -> None:
    if fed.end:
        early = ", closed early" if fed.end == "early" else ""
        _say(f"{fed.channel}_{fed.n}: {fed.bytes} bytes fed{early}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
