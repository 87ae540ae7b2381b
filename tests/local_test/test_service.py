"""The whole service with real containers."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from local_test.runners.docker import LABEL

from .served import BUCKET, Served, ended, printed, request

pytestmark = [pytest.mark.docker, pytest.mark.timeout(90)]
ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mine:1"


def job(name: str, shell: str, *arguments: Any, **members: Any) -> dict[str, Any]:
    wanted = request(name, shell, *arguments, **members)
    wanted["AlgorithmSpecification"]["TrainingImage"] = ECR
    return wanted


@pytest.fixture
def images(tmp_path: Path, image: str) -> list[str]:
    (tmp_path / "images.json").write_text(json.dumps({ECR: image}))
    return ["--runner", "docker", "--images", "images.json"]


def test_a_container_reads_its_fifo_and_reaches_s3(tmp_path: Path, images: list[str]) -> None:
    with Served(tmp_path, *images, own=False) as served:
        s3, sagemaker = served.client("s3"), served.client("sagemaker")
        s3.create_bucket(Bucket=BUCKET, ACL="public-read")
        s3.put_object(Bucket=BUCKET, Key="data/a", Body=b"content", ACL="public-read")
        shell = (
            "cat /opt/ml/input/data/train_0; echo; bash -c '"
            "place=${AWS_ENDPOINT_URL#http://}; exec 3<>/dev/tcp/${place%:*}/${place#*:}; "
            'printf "GET /test-bucket/data/a HTTP/1.0\\r\\n\\r\\n" >&3; tail -n 1 <&3\''
        )
        sagemaker.create_training_job(**job("first", shell, {"train": f"s3://{BUCKET}/data/"}))
        description = ended(sagemaker, "first")
        log = (served.root / "training/first/logs/algo-1.log").read_text()
        assert description["TrainingJobStatus"] == "Completed", (description.get("FailureReason"), log)
        assert description["AlgorithmSpecification"]["TrainingImage"] == ECR
        assert log.split() == ["content", "content"]
        wrong = request("second")
        with pytest.raises(sagemaker.exceptions.ClientError, match="There is no image image on this machine"):
            sagemaker.create_training_job(**wrong)
        assert "Traceback" not in served.end()


def test_containers_of_a_killed_server_are_removed(tmp_path: Path, images: list[str], docker_engine: Any) -> None:
    def left() -> list[Any]:
        found = docker_engine.containers.list(all=True, filters={"label": f"{LABEL}=left"})
        return [item for item in found if str(tmp_path) in str(item.attrs["Mounts"])]

    with Served(tmp_path, *images, own=False) as first:
        first.client("s3").create_bucket(Bucket=BUCKET)
        first.client("sagemaker").create_training_job(**job("left", "echo ready; sleep 600"))
        printed(first, "left", "ready")
        first.end(signal.SIGKILL)
    assert len(left()) == 1
    with Served(tmp_path, *images, own=False) as second:
        description = second.client("sagemaker").describe_training_job(TrainingJobName="left")
        assert description["TrainingJobStatus"] == "Failed"
        assert left() == []
