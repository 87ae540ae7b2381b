"""A server that is killed, and the next one: nothing is lost, nothing left running."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from local_test.errors import BadRequest
from local_test.training.job_store import JobStore
from tests.support.served import BUCKET, WAIT, Served, ended, printed, request, until

pytestmark = pytest.mark.timeout(90)


def alive(pid: int) -> bool:
    """Not a zombie: nobody may be there to bury it."""
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_after_kill_9_every_job_is_there_and_none_runs(tmp_path: Path) -> None:
    code = "print(os.getpid(), flush=True)\n(BASE / 'model/w').write_text('x')\n"
    with Served(tmp_path, "--parallel", "2") as first:
        first.client("s3").create_bucket(Bucket=BUCKET)
        sagemaker = first.client("sagemaker")
        tags = [{"Key": "k", "Value": "v"}]
        sagemaker.create_training_job(**request("done", "print('a line')\n" + code, Tags=tags))
        before = ended(sagemaker, "done")
        for name in ("runs", "waits"):
            sagemaker.create_training_job(**request(name, code + WAIT))
        sagemaker.create_training_job(**request("queued", code))
        printed(first, "runs", "ready")
        sagemaker.add_tags(ResourceArn=before["TrainingJobArn"], Tags=[{"Key": "l", "Value": "w"}])
        pid = int((first.root / "training/runs/logs/algo-1.log").read_text().split()[0])
        first.end(signal.SIGKILL)
    assert alive(pid)
    with Served(tmp_path) as second:
        sagemaker = second.client("sagemaker")
        until(lambda: not alive(pid))
        after = sagemaker.describe_training_job(TrainingJobName="done")
        assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}
        assert sagemaker.list_tags(ResourceArn=after["TrainingJobArn"])["Tags"] == [*tags, {"Key": "l", "Value": "w"}]
        jobs = sagemaker.list_training_jobs(SortBy="Name")["TrainingJobSummaries"]
        assert [(job["TrainingJobName"], job["TrainingJobStatus"]) for job in jobs] == [
            ("done", "Completed"), ("queued", "Failed"), ("runs", "Failed"), ("waits", "Failed"),
        ]  # fmt: skip
        check_left(sagemaker, second.root)
        second.client("s3").create_bucket(Bucket=BUCKET)
        sagemaker.create_training_job(**request("new"))
        assert ended(sagemaker, "new")["TrainingJobStatus"] == "Completed"


def check_left(sagemaker: Any, root: Path) -> None:
    description = sagemaker.describe_training_job(TrainingJobName="runs")
    assert description["FailureReason"].startswith("InternalServerError: The local server ended while the job ran")
    assert description["SecondaryStatusTransitions"][-1]["Status"] == "Failed"
    assert description["TrainingTimeInSeconds"] >= 1
    assert "ready" in (root / "training/runs/logs/algo-1.log").read_text()
    assert not (root / "training/runs/algo-1").exists()
    assert (root / "training/done/model.tar.gz").exists()


def test_a_job_that_was_never_accepted_or_half_deleted_is_none(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "root")
    for name in (".deleted-old", "cut-off"):
        (store.jobs / name).mkdir()
        (store.jobs / name / "request.json").write_text("{}")
    assert list(store.load()) == []
    assert list(store.jobs.iterdir()) == []
    store.close()


def test_one_server_a_root(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "root")
    with pytest.raises(BadRequest, match=f"Another server keeps its jobs there. Received: {tmp_path / 'root'}"):
        JobStore(tmp_path / "root")
    store.close()
    JobStore(tmp_path / "root").close()


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(BadRequest, match="--root can't be used: "):
        JobStore(tmp_path / "root")


def test_a_deletion_leaves_nothing(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    (store.folder("job") / "logs").mkdir(parents=True)
    store.remove("job")
    assert list(store.jobs.iterdir()) == []
    store.close()
