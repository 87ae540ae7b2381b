"""`train`: one training job on this machine."""

import argparse
import shlex
import sys
import tarfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from local_test.cli.options import (
    Commands,
    add_job_options,
    add_runner_options,
    add_s3_option,
    add_ui_option,
    find_job_file,
    load_job_page,
    open_runner,
    positive,
    read_environment,
    read_job_options,
)
from local_test.cli.progress import Display
from local_test.cli.signals import stop_on_signals
from local_test.data.object_store import open_object_store
from local_test.errors import BadRequest
from local_test.hosts.artifacts import REPORT
from local_test.request.builder import DEFAULT_JOB, build, read_job
from local_test.training.job import TrainingJob
from local_test.util.arns import region
from local_test.util.atomic_files import file_uri
from local_test.util.clock import now_utc
from local_test.util.mailbox import Request, answering
from local_test.util.progress_lines import VARIABLE

_SHOWN_FILES = 10  # of output.tar.gz
_EXAMPLE = "Such as: %(prog)s --channel train=shapes/train --hyperparameter epochs=3 --name shapes"
_FOR_PREDICT = "input.json"  # a model of the training program's


def add_parser(commands: Commands) -> None:
    text = "run one training job; exit code 0 only if it is Completed"
    parser = commands.add_parser("train", help=text, epilog=_EXAMPLE)
    parser.set_defaults(run=run)
    add_job_options(parser, "CreateTrainingJob", DEFAULT_JOB, "jobs")
    add_s3_option(parser, "the one boto3 finds")
    add_runner_options(parser)
    add = parser.add_argument
    add("--instance-count", type=positive, metavar="N")
    add("--max-runtime", type=positive, metavar="SECONDS", help="StoppingCondition.MaxRuntimeInSeconds")
    add("--checkpoints", type=Path, metavar="DIR", help="restored before, kept up to date: the same DIR again resumes")
    add_ui_option(parser)


def run(args: argparse.Namespace) -> str:
    """Runs the job to its end; its TrainingJobStatus."""
    display = Display(sys.stdout, sys.stderr)
    with ExitStack() as stack:
        environ = read_environment(args) | {VARIABLE: str(display.interval)}
        storage = stack.enter_context(closing(open_object_store(environ)))
        stack.callback(display.close)
        request = _build_request(args)
        runner = stack.enter_context(open_runner(args, display.on_note))
        runner.remove_orphans()
        job = TrainingJob(request, args.out, runner, storage, environ, [display])
        display.watch(job.channels, len(job.hosts))
        stop_on_signals(job.stop, job.kill)
        stack.enter_context(answering(job.folder, lambda request: _perform(job, request), display.on_note))
        if args.ui:
            page = stack.enter_context(load_job_page().of_job(region(environ), job))
            display.say(f"Page, while the job runs: {page.url}/training-jobs/{job.name}")
        description = job.run()
        display.close()
        print_summary(description, job.folder, display.say)
    return description["TrainingJobStatus"]


def _perform(job: TrainingJob, request: Request) -> None:
    """What a command in another process asks for. BadRequest if it is refused."""
    operations = {"StopTrainingJob": job.stop, "InterruptTrainingJob": job.interrupt}
    perform = operations.get(request.get("operation", ""))
    if not perform or request.get("name") != job.name:
        raise BadRequest(f"There is no such operation on this job. Received: {dict(request)}")
    perform()


def _build_request(args: argparse.Namespace) -> dict[str, Any]:
    job = read_job(find_job_file(args, "CreateTrainingJob", DEFAULT_JOB))
    return build(job, read_job_options(args), args.out, now_utc())


def print_summary(description: dict[str, Any], folder: Path | None, say: Callable[[str], None]) -> None:
    """What became of a job that is over; `folder`: None where its files are elsewhere."""
    status, reason = description["TrainingJobStatus"], description["SecondaryStatus"]
    say(f"{description['TrainingJobName']}: {status}" + (f" ({reason})" if reason != status else ""))
    if "FailureReason" in description:
        say(f"FailureReason: {description['FailureReason']}")
    for metric in description.get("FinalMetricDataList", []):
        say(f"{metric['MetricName']}: {metric['Value']:g}")
    say(f"TrainingTimeInSeconds: {description.get('TrainingTimeInSeconds', 0)}")
    if folder is None:
        say(f"Model: {description.get('ModelArtifacts', {}).get('S3ModelArtifacts') or 'none'}")
        return
    say(f"Logs, metrics and artifacts: {folder}")
    if names := _list_files(folder / "model.tar.gz"):
        say(f"Model: {description['ModelArtifacts']['S3ModelArtifacts']}")
        if _FOR_PREDICT in names:
            say(f"Ask it: {shlex.join(['python', '-m', 'local_test', 'predict', str(folder)])} PICTURE…")
    elif status == "Completed":
        say("Model: none, nothing was written to /opt/ml/model")
    if names := _list_files(folder / "output.tar.gz"):
        shown = names if len(names) <= _SHOWN_FILES else [*names[:_SHOWN_FILES], "…"]
        say(f"Output data: {folder / 'output.tar.gz'}: {', '.join(shown)}")
    if (folder / REPORT).exists():
        say(f"Report: {file_uri(folder / REPORT)}")


def _list_files(archive: Path) -> list[str]:
    """The names of the files in a tar archive; none where there is no archive."""
    if not archive.exists():
        return []
    with tarfile.open(archive) as tar:
        return [member.name for member in tar if not member.isdir()]
