"""The local API for benchmarks of it: a server of their own, its clients, and jobs."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.measure import ROOT

IMAGE = os.environ.get("IMAGE", "cv-keras-cifar10:local")
BUCKET = "bench"


@contextlib.contextmanager
def run_server(root: Path) -> Iterator[Callable[[str], Any]]:
    """A server that runs containers and keeps its jobs in `root`. Gives boto3 clients by service, each a new one: no
    request is sent twice."""
    options = ["--runner", "docker", "--port", "0", "--root", str(root)]
    command = [sys.executable, "-m", "local_test", "serve", *options]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    making = threading.Lock()  # boto3 reads its models from disk, which is not what is measured

    def client(service: str) -> Any:
        with making:
            return boto3.session.Session(
                exports["AWS_ACCESS_KEY_ID"],
                exports["AWS_SECRET_ACCESS_KEY"],
                region_name=exports["AWS_DEFAULT_REGION"],
            ).client(
                service, endpoint_url=exports["AWS_ENDPOINT_URL"], config=Config(retries={"total_max_attempts": 1})
            )

    try:
        assert server.stdout
        lines = [server.stdout.readline() for _ in range(4)]
        exports = dict(line.removeprefix("export ").strip().split("=") for line in lines)
        client("s3").create_bucket(Bucket=BUCKET)
        yield client
    finally:
        server.terminate()
        server.wait(180)


def build_job(name: str, shell: str, mode: str = "File", **members: Any) -> dict[str, Any]:
    """A CreateTrainingJob request whose container runs a line of shell; `members` come on top."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": IMAGE,
            "TrainingInputMode": mode,
            "ContainerEntrypoint": ["sh", "-c", shell],
        },
        "RoleArn": "arn:aws:iam::123456789012:role/local",
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **members,
    }
