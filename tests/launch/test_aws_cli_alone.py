"""Nothing but the AWS CLI and two environment variables: the real image trains over FIFOs from S3 to S3."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.core.request import Options, build_training_job
from tests.support.clients import BUCKET, PREFIX, LaunchServer
from tests.support.pictures import prepare_shards
from tests.support.served import until

pytestmark = pytest.mark.docker
IMAGE = os.environ.get("IMAGE", "cv-keras-cifar10:local")


@pytest.fixture
def served(tmp_path: Path, docker_engine: Any) -> Iterator[LaunchServer]:
    with LaunchServer(tmp_path, "--runner", "docker", own=False) as server:
        yield server
        assert "Traceback" not in server.end()


def test_the_aws_cli_alone_trains_the_image(served: LaunchServer, tmp_path: Path) -> None:
    def aws(*words: str) -> str:
        done = served.run(["aws", *words])
        assert done.returncode == 0, done.stderr
        return done.stdout

    data = prepare_shards(tmp_path / "real", 80, 20)
    aws("s3", "rm", "--recursive", f"s3://{BUCKET}/{PREFIX}/data/")
    aws("s3", "cp", "--recursive", "--only-show-errors", str(data), f"s3://{BUCKET}/{PREFIX}/data/")
    given = {"model": "tutorial", "epochs": "2", "batch-size": "32"}
    chosen = Options("train", IMAGE, "arn:aws:iam::123456789012:role/local", BUCKET, "by-cli", hyperparameters=given)
    (tmp_path / "job.json").write_text(json.dumps(build_training_job(chosen)))
    made = json.loads(aws("sagemaker", "create-training-job", "--cli-input-json", f"file://{tmp_path}/job.json"))
    assert made["TrainingJobArn"].endswith(":training-job/by-cli")

    def description() -> dict[str, Any]:
        return json.loads(aws("sagemaker", "describe-training-job", "--training-job-name", "by-cli"))

    job = until(lambda: found if (found := description())["TrainingJobStatus"] != "InProgress" else None, 200)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["AlgorithmSpecification"]["TrainingInputMode"] == "Pipe"
    metrics = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert metrics["validation:accuracy"] > 0.5
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/{PREFIX}/jobs/by-cli/output/model.tar.gz"
    assert "model.tar.gz" in aws("s3", "ls", job["ModelArtifacts"]["S3ModelArtifacts"])
    log = (served.root / "training/by-cli/logs/algo-1.log").read_text()
    assert "train:Pipe" in log
