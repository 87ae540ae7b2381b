"""clean_up.sh removes what was made, and nothing else, and asks before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import BUCKET, CLIENTS, PREFIX, LaunchServer
from tests.support.served import ROOT, ended, until
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]
SCRIPT = str(ROOT / "launch/clean_up.sh")
GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture
def used(tmp_path: Path) -> Iterator[LaunchServer]:
    """A service in which there is something of everything, and something of somebody else's."""
    with LaunchServer(tmp_path) as server:
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
        yield server
        assert "Traceback" not in server.end()


def left(server: LaunchServer) -> dict[str, Any]:
    """Keys, log streams, repositories."""
    contents = server.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    streams = server.client("logs").describe_log_streams(logGroupName=GROUP)["logStreams"]
    return {
        "keys": sorted(item["Key"] for item in contents),
        "streams": sorted({item["logStreamName"].partition("/")[0] for item in streams}),
        "repositories": sorted(
            item["repositoryName"] for item in server.client("ecr").describe_repositories()["repositories"]
        ),
    }


def test_everything_goes_if_all_is_agreed_to(used: LaunchServer) -> None:
    done = used.run(["bash", SCRIPT, "--bucket", BUCKET, "--yes"])
    assert done.returncode == 0, done.stderr
    job = ended(used.client("sagemaker"), "cv-keras-cifar10-2")
    assert job["TrainingJobStatus"] == "Stopped"
    found = left(used)
    assert [key for key in found["keys"] if not key.startswith(f"{PREFIX}/jobs/cv-keras-cifar10-2/")] == [
        "somebody/elses"
    ]
    assert found["repositories"] == ["other"]
    assert [name for name in found["streams"] if name != "cv-keras-cifar10-2"] == ["somebody-elses"]
    again = used.run(["bash", SCRIPT, "--bucket", BUCKET, "--yes"])
    assert again.returncode == 0, again.stderr
    assert "there is no repository cv-keras-cifar10" in again.stdout


def test_nothing_goes_if_nothing_is_agreed_to(used: LaunchServer) -> None:
    before = left(used)
    terminal = Terminal(["bash", SCRIPT, "--bucket", BUCKET], ROOT, used.environment())
    for question in ("Stop these 1 training jobs?", "Remove ", "log streams in", "Remove the repository"):
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
