"""Commands for a running server — jobs, stop, interrupt — and for any SageMaker: report."""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_test.cli.options import Commands, say, url
from local_test.errors import BadRequest, RunnerError
from local_test.tuning.html_report import NAME, write_page
from local_test.util.console import printable

DEFAULT_URL = "http://127.0.0.1:4580"
_SECONDS = 30.0
_LIMITS = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3})

_COMMANDS = {
    "jobs": "list the training jobs of a running server, the newest first",
    "stop": "stop a training job of a running server",
    "interrupt": "take a job's spot instances away, as the service may at any time",
}
_OPERATIONS = {"stop": "StopTrainingJob", "interrupt": "InterruptTrainingJob"}


def add_parser(commands: Commands) -> None:
    for name, text in _COMMANDS.items():
        parser = commands.add_parser(name, help=text)
        parser.add_argument(
            "--endpoint-url", type=url, default=server_url(), metavar="URL", help="default: AWS_ENDPOINT_URL"
        )
        parser.set_defaults(run=change_job if name in _OPERATIONS else print_jobs)
        if name in _OPERATIONS:
            parser.add_argument("job", metavar="JOB", help="its name")
    report = commands.add_parser("report", help="make the page of results of a tuning job, of AWS's or a server's")
    report.add_argument("job", metavar="JOB", help="its name, where boto3 looks: AWS, or AWS_ENDPOINT_URL")
    report.add_argument("--out", type=Path, default=Path(NAME), metavar="FILE", help=f"default: {NAME}")
    report.set_defaults(run=write_report)


def print_jobs(args: argparse.Namespace) -> None:
    lines = list(list_jobs(args.endpoint_url))
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)
    sys.stdout.flush()
    if not lines:
        say(f"No training jobs at {args.endpoint_url}")


def change_job(args: argparse.Namespace) -> None:
    try:
        call(args.endpoint_url, _OPERATIONS[args.command], TrainingJobName=args.job)
    except BadRequest as error:
        raise BadRequest(f"{str(error).rstrip('.')}. Received: {args.job}") from None


def write_report(args: argparse.Namespace) -> None:
    """The page of a tuning job, whether it has ended or not."""
    try:
        write_page(args.out, *find_tuning_job(args.job))
    except OSError as error:
        raise BadRequest(f"--out can't be written: {error.strerror}. Received: {args.out}") from None
    say(f"Report: {args.out}")


def server_url() -> str:
    """AWS_ENDPOINT_URL, which `serve` prints for the shell."""
    return os.environ.get("AWS_ENDPOINT_URL") or DEFAULT_URL


def call(address: str, operation: str, **request: Any) -> dict[str, Any]:
    """Calls an operation, unsigned: the local server needs no signature. BadRequest with the server's message."""
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    http_request = urllib.request.Request(address, json.dumps(request).encode(), headers)  # noqa: S310 - a person's own address
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(http_request, timeout=_SECONDS) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            raise BadRequest(_message(error)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise RunnerError(f"No server answers. Received: {address}: {reason}. Run python -m local_test serve") from None


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return json.loads(error.read())["message"]
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


def list_jobs(address: str) -> Iterator[str]:
    """One line a job, newest first."""
    more: Mapping[str, str] = {}
    while True:
        answer = call(address, "ListTrainingJobs", SortOrder="Descending", MaxResults=100, **more)
        for job in answer["TrainingJobSummaries"]:
            created = f"{datetime.fromtimestamp(job['CreationTime']).astimezone():%Y-%m-%d %H:%M:%S}"
            status, state = job["TrainingJobStatus"], job["SecondaryStatus"]
            text = status if state == status else f"{status} ({state})"
            yield f"{created}  {job['TrainingJobName']:<63}  {text}"
        if "NextToken" not in answer:
            return
        more = {"NextToken": answer["NextToken"]}


def find_tuning_job(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """DescribeHyperParameterTuningJob's response and the summaries of all its training jobs, from boto3's endpoint."""
    try:
        client = boto3.session.Session().client("sagemaker", config=_LIMITS)
        described = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        found = pages.paginate(HyperParameterTuningJobName=name)
        return described, [child for page in found for child in page["TrainingJobSummaries"]]
    except ClientError as error:
        message = str(error.response["Error"].get("Message") or error).rstrip(".")
        raise BadRequest(f"{message}. Received: tuning job {name}") from None
    except (BotoCoreError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise RunnerError(f"SageMaker can't be asked: {reason}. See `aws configure`, or AWS_ENDPOINT_URL") from None
