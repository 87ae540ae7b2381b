"""The commands that speak to a running server — jobs, stop, interrupt — or to any SageMaker: report."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local_test.errors import BadRequest, RunnerError

DEFAULT_URL = "http://127.0.0.1:4580"
_SECONDS = 30.0
_LIMITS = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3})


def server_url() -> str:
    """AWS_ENDPOINT_URL, where a shell has it from `serve`."""
    return os.environ.get("AWS_ENDPOINT_URL") or DEFAULT_URL


def call(url: str, operation: str, **request: Any) -> dict[str, Any]:
    """An operation without a signature, which the local server does not ask for. BadRequest with its own words."""
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Content-Type": "application/x-amz-json-1.1"}
    asked = urllib.request.Request(url, json.dumps(request).encode(), headers)  # noqa: S310 - a person's own address
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(asked, timeout=_SECONDS) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        with error:
            raise BadRequest(_message(error)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise RunnerError(f"No server answers. Received: {url}: {reason}. Run python -m local_test serve") from None


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return json.loads(error.read())["message"]
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"


def list_jobs(url: str) -> Iterator[str]:
    """A line a job, the newest first."""
    more: Mapping[str, str] = {}
    while True:
        answer = call(url, "ListTrainingJobs", SortOrder="Descending", MaxResults=100, **more)
        for job in answer["TrainingJobSummaries"]:
            created = f"{datetime.fromtimestamp(job['CreationTime']).astimezone():%Y-%m-%d %H:%M:%S}"
            status, state = job["TrainingJobStatus"], job["SecondaryStatus"]
            shown = status if state == status else f"{status} ({state})"
            yield f"{created}  {job['TrainingJobName']:<63}  {shown}"
        if "NextToken" not in answer:
            return
        more = {"NextToken": answer["NextToken"]}


def find_tuning_job(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """DescribeHyperParameterTuningJob's answer and the summaries of all its training jobs, from where boto3 looks."""
    try:
        client = boto3.session.Session().client("sagemaker", config=_LIMITS)
        described = client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
        found = pages.paginate(HyperParameterTuningJobName=name)
        return described, [child for page in found for child in page["TrainingJobSummaries"]]
    except ClientError as error:
        raise BadRequest(f"{error.response['Error'].get('Message') or error}. Received: tuning job {name}") from None
    except (BotoCoreError, ValueError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise RunnerError(f"SageMaker can't be asked: {said}. See `aws configure`, or AWS_ENDPOINT_URL") from None
