"""A server of the tests' own: `serve` as a person starts it, with a training program that does what the job says."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from tests.support.programs import write_executable

ROOT = Path(__file__).resolve().parents[2]
ROLE = "arn:aws:iam::123456789012:role/local"
BUCKET = "test-bucket"
# the process runner with a program that runs the variable PROGRAM of its job, in the place of the toolkit's
MAIN = """
import os, sys
from pathlib import Path
from local_test.cli.main import main
from local_test.runners.process import ProcessRunner
program = [str(Path("train.py").resolve())]
sys.exit(main(choose_runner=lambda *_: ProcessRunner(os.environ, Path.cwd(), program)))
"""
# the same, where the server listens at a second address for the jobs, as it does for containers
MAIN_WITH_GATEWAY = MAIN.replace("sys.exit(", "ProcessRunner.gateway = lambda self: '127.0.0.2'\nsys.exit(")
TRAIN = f"""#!{sys.executable} -I
import os, signal, sys, time
from pathlib import Path
BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])
exec(os.environ.get("PROGRAM", ""))
"""
WAIT = "print('ready', flush=True)\nsignal.pause()"  # until SIGTERM, which then ends it as any program


class Served:
    """A server process; `exports` is the environment that it tells clients to have."""

    def __init__(self, folder: Path, *arguments: str, own: bool = True, exports: int = 4, main: str = MAIN) -> None:
        write_executable(folder / "train.py", TRAIN)
        start = ["-c", main] if own else ["-m", "local_test"]
        self.root, self._clients = folder / "root", list[Any]()
        self.process = subprocess.Popen(
            [sys.executable, *start, "serve", "--port", "0", "--root", str(self.root), *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stderr
        # read as it comes, for a full pipe makes the server wait; a file would be full where a test's disk is
        self._errors: list[str] = []
        self._reader = threading.Thread(target=self._errors.extend, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        lines = [self.process.stdout.readline() for _ in range(exports)]
        if not all(lines):
            raise AssertionError(self.end())
        self.exports = dict(line.removeprefix("export ").strip().split("=") for line in lines)

    def client(self, service: str, region: str = "us-east-1") -> Any:
        """A boto3 client that knows what the exports say, and nothing else."""
        client = boto3.session.Session(
            aws_access_key_id=self.exports["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.exports["AWS_SECRET_ACCESS_KEY"],
            region_name=region,
        ).client(service, endpoint_url=self.exports["AWS_ENDPOINT_URL"], config=Config(proxies={}))
        self._clients.append(client)
        return client

    def end(self, number: int = signal.SIGTERM) -> str:
        """What it has written to standard error, once it has ended."""
        for client in self._clients:
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        self._wait(200)
        return self.errors()

    def _wait(self, seconds: float) -> None:
        self.process.wait(seconds)
        self._reader.join(seconds)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def errors(self) -> str:
        """What it has written to standard error until now."""
        return "".join(self._errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """After a failure: containers are not left behind, however they take it."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self._wait(5)
        for client in self._clients:
            client.close()


def request(name: str, program: str = "", channels: Mapping[str, str] | None = None, **members: Any) -> dict[str, Any]:
    """A small valid request over S3; `channels`: name → URI; `members` replace its own."""
    inputs = [
        {"ChannelName": key, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}
        for key, uri in (channels or {}).items()
    ]
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "Pipe"},
        "RoleArn": ROLE,
        **({"InputDataConfig": inputs} if inputs else {}),
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Environment": {"PROGRAM": program},
        **members,
    }


def until(check: Callable[[], Any], seconds: float = 200) -> Any:
    """What `check` returns once it is true; an answer over HTTP is the only event there is."""
    limit = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < limit, f"not within {seconds} s"
        time.sleep(0.05)
    return found


def ended(sagemaker: Any, name: str) -> dict[str, Any]:
    """The description of the job once it is over."""

    def over() -> dict[str, Any] | None:
        description = sagemaker.describe_training_job(TrainingJobName=name)
        return description if description["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return until(over)


def printed(served: Served, name: str, text: str) -> None:
    """Wait until the job's log has that line."""
    log = served.root / f"training/{name}/logs/algo-1.log"
    until(lambda: log.exists() and text in log.read_text().splitlines())
