"""clean_up.sh removes what was made, and nothing else, and asks before."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import BUCKET, CLIENTS, PREFIX, LaunchServer
from tests.support.served import ROLE, ROOT, ended, until
from tests.support.terminal import Terminal

pytestmark = pytest.mark.slow
SCRIPT = str(ROOT / "launch/clean_up.sh")
GROUP = "/aws/sagemaker/TrainingJobs"
PIPELINES = ("cv-keras-cifar10", "somebody-elses")


class UsedServer(LaunchServer):
    """`pipeline_jobs`: the job of each pipeline."""

    pipeline_jobs: list[str]


@pytest.fixture
def used(tmp_path: Path) -> Iterator[UsedServer]:
    """A service in which there is something of everything, and something of somebody else's."""
    with UsedServer(tmp_path, "--parallel", "4") as server:
        s3 = server.client("s3")
        s3.put_object(Bucket=BUCKET, Key="somebody/elses", Body=b"x")
        ecr = server.client("ecr")
        for name in ("cv-keras-cifar10", "other"):
            ecr.create_repository(repositoryName=name)
        boto3 = CLIENTS[0]
        for name in ("cv-keras-cifar10-1", "somebody-elses"):
            assert server.run(boto3.arguments("train", name=name, wait=True)).returncode == 0
        waiting = boto3.arguments("train", name="cv-keras-cifar10-2", hyperparameter="model=waits")
        assert server.run(waiting).returncode == 0
        until(lambda: "cv-keras-cifar10-2" in left(server)["streams"])
        server.pipeline_jobs = [start_pipeline(server, name) for name in PIPELINES]
        yield server
        assert "Traceback" not in server.end()


def start_pipeline(server: LaunchServer, name: str) -> str:
    """One whose only step waits, and a model package in a group of the same name; the step's job."""
    sagemaker = server.client("sagemaker")
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{PREFIX}/data/train/"}
    job = {
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "Pipe"},
        "RoleArn": ROLE,
        "HyperParameters": {"model": "waits"},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/{PREFIX}/jobs/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
    step = {"Name": "Train", "Type": "Training", "Arguments": job}
    definition = json.dumps({"Version": "2020-12-01", "Steps": [step]})
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=definition, RoleArn=ROLE)
    arn = sagemaker.start_pipeline_execution(PipelineName=name)["PipelineExecutionArn"]
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    sagemaker.create_model_package(ModelPackageGroupName=name)
    own = f"pipelines-{arn.rpartition('/')[2]}-"
    return until(lambda: next((stream for stream in left(server)["streams"] if stream.startswith(own)), None))


def left(server: LaunchServer) -> dict[str, Any]:
    """Keys, log streams, repositories, pipelines."""
    pipelines = server.client("sagemaker").list_pipelines()["PipelineSummaries"]
    contents = server.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    streams = server.client("logs").describe_log_streams(logGroupName=GROUP)["logStreams"]
    return {
        "keys": sorted(item["Key"] for item in contents),
        "streams": sorted({item["logStreamName"].partition("/")[0] for item in streams}),
        "pipelines": sorted(item["PipelineName"] for item in pipelines),
        "repositories": sorted(
            item["repositoryName"] for item in server.client("ecr").describe_repositories()["repositories"]
        ),
    }


def test_everything_goes_if_all_is_agreed_to(used: UsedServer) -> None:
    done = used.run(["bash", SCRIPT, "--bucket", BUCKET, "--yes"])
    assert done.returncode == 0, done.stderr
    job = ended(used.client("sagemaker"), "cv-keras-cifar10-2")
    assert job["TrainingJobStatus"] == "Stopped"
    found = left(used)
    assert [key for key in found["keys"] if not key.startswith(f"{PREFIX}/jobs/cv-keras-cifar10-2/")] == [
        "somebody/elses"
    ]
    assert found["repositories"] == ["other"]
    ours, others = used.pipeline_jobs
    kept = [name for name in found["streams"] if name not in ("cv-keras-cifar10-2", ours)]
    assert kept == sorted(["somebody-elses", others])
    ended(used.client("sagemaker"), ours)
    again = used.run(["bash", SCRIPT, "--bucket", BUCKET, "--yes"])
    assert again.returncode == 0, again.stderr
    assert "there is no repository cv-keras-cifar10" in again.stdout
    assert left(used)["pipelines"] == ["somebody-elses"]
    assert "DeleteModelPackage" in again.stderr  # which the local platform does not have
    assert "the model packages stay: aws has said why" in again.stderr
    assert used.client("sagemaker").describe_training_job(TrainingJobName=others)["TrainingJobStatus"] == "InProgress"


def test_nothing_goes_if_nothing_is_agreed_to(used: UsedServer) -> None:
    before = left(used)
    terminal = Terminal(["bash", SCRIPT, "--bucket", BUCKET], ROOT, used.environment())
    questions = (
        "Stop 1 executions", "Stop these 1 training jobs?", "Remove ", "log streams in",
        "model packages and their group", "Remove the pipeline", "Remove the repository",
    )  # fmt: skip
    for question in questions:
        terminal.wait_for(question)
        terminal.type("\n")
    assert terminal.end() == 0
    assert left(used) == before
    job = used.client("sagemaker").describe_training_job(TrainingJobName="cv-keras-cifar10-2")
    assert job["TrainingJobStatus"] == "InProgress"
    used.client("sagemaker").stop_training_job(TrainingJobName="cv-keras-cifar10-2")


def test_where_nobody_can_be_asked(launched: LaunchServer) -> None:
    done = launched.run(["bash", SCRIPT, "--bucket", BUCKET])
    assert done.returncode == 1
    assert "nobody can be asked here. Give --yes" in done.stderr
    done = launched.run(["bash", SCRIPT])
    assert "which bucket? Give --bucket." in done.stderr
