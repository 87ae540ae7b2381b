"""Answers of the local API under load: 50 jobs queued at once, 20 clients that ask about them until all are over."""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks import measure

JOBS, CLIENTS = 50, 20
OVER = ("Completed", "Failed", "Stopped")


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as scratch, served(Path(scratch)) as exports:
        client(exports, "s3").create_bucket(Bucket="bench")
        names = [f"load-{number}" for number in range(JOBS)]
        clients = {name: client(exports, "sagemaker") for name in names}
        began = time.perf_counter()
        created = asked(lambda name: clients[name].create_training_job(**job(name)), names)
        described: list[float] = []
        watchers = [threading.Thread(target=watch, args=(exports, names, described)) for _ in range(CLIENTS)]
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            watcher.join()
        seconds = time.perf_counter() - began
        found = client(exports, "sagemaker").list_training_jobs(StatusEquals="Completed", MaxResults=100)
        completed = len(found["TrainingJobSummaries"])
    rows = [row("CreateTrainingJob", created), row("DescribeTrainingJob", described)]
    title = f"{JOBS} jobs at once, {CLIENTS} clients; {completed} completed in {seconds:.0f} s; {measure.machine()}"
    measure.table(title, ["operation", "answers", "median s", "99 % within s", "longest s"], rows)


def row(name: str, taken: list[float]) -> list[str]:
    """Figures of an operation's answers."""
    ordered = sorted(taken)
    places = [ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)], ordered[-1]]
    return [name, str(len(ordered)), *(f"{seconds:.3f}" for seconds in places)]


def asked(call: Any, names: list[str]) -> list[float]:
    """Seconds of a call for each name, all at once."""
    taken: list[float] = []

    def one(name: str) -> None:
        began = time.perf_counter()
        call(name)
        taken.append(time.perf_counter() - began)

    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(names), "a request failed; its traceback is above"
    return taken


def watch(exports: dict[str, str], names: list[str], taken: list[float]) -> None:
    """Describe every job over and over until it is over."""
    sagemaker, left = client(exports, "sagemaker"), set(names)
    while left:
        for name in sorted(left):
            began = time.perf_counter()
            status = sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
            taken.append(time.perf_counter() - began)
            if status in OVER:
                left.discard(name)
        time.sleep(0.1)


_MAKING = threading.Lock()


def client(exports: dict[str, str], service: str) -> Any:
    """Of its own, as other programs have."""
    with _MAKING:  # boto3 reads its models from disk, which is not what is measured
        return boto3.session.Session(
            exports["AWS_ACCESS_KEY_ID"], exports["AWS_SECRET_ACCESS_KEY"], region_name=exports["AWS_DEFAULT_REGION"]
        ).client(service, endpoint_url=exports["AWS_ENDPOINT_URL"], config=Config(retries={"total_max_attempts": 1}))


def job(name: str) -> dict[str, Any]:
    """One that ends at once."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": os.environ.get("IMAGE", "cv-keras-cifar10:local"),
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["sh", "-c", "echo done"],
        },
        "RoleArn": "arn:aws:iam::123456789012:role/local",
        "OutputDataConfig": {"S3OutputPath": "s3://bench/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 100},
    }


@contextlib.contextmanager
def served(scratch: Path) -> Iterator[dict[str, str]]:
    """The local API; what it tells a shell to export."""
    options = ["--runner", "docker", "--port", "0", "--root", str(scratch / "api")]
    command = [sys.executable, "-m", "local_test", "serve", *options]
    server = subprocess.Popen(command, cwd=measure.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        lines = [server.stdout.readline() for _ in range(4)]
        yield dict(line.removeprefix("export ").strip().split("=") for line in lines)
    finally:
        server.terminate()
        server.wait(180)


if __name__ == "__main__":
    main()
