"""A server that is killed, and the next one: nothing is lost, nothing left running."""

import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from local_test.errors import BadRequest
from local_test.training.job_store import JobStore, load
from tests.support.served import BUCKET, WAIT, Served, ended, printed, request, until


def alive(pid: int) -> bool:
    """Not a zombie: nobody may be there to bury it."""
    with suppress(FileNotFoundError, ProcessLookupError):  # gone before it is opened, or read
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
        (store.training.path / name).mkdir()
        (store.training.path / name / "request.json").write_text("{}")
    assert list(store.training.load()) == []
    assert list(store.training.path.iterdir()) == []
    store.close()


def test_one_server_a_root(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "root")
    with pytest.raises(BadRequest, match=f"Another program keeps its jobs there. Received: {tmp_path / 'root'}"):
        JobStore(tmp_path / "root")
    store.close()
    JobStore(tmp_path / "root").close()


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(BadRequest, match="The folder of jobs can't be used: "):
        JobStore(tmp_path / "root")


def test_a_deletion_leaves_nothing(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    (store.training.folder("job") / "logs").mkdir(parents=True)
    store.training.remove("job")
    assert list(store.training.path.iterdir()) == []
    store.close()


def test_a_folder_of_somebody_elses_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "training/thesis").mkdir(parents=True)
    (tmp_path / "training/thesis/data.csv").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadRequest, match=r"The folder of jobs must be new or empty.*notes.txt and 1 more"):
        JobStore(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_root_of_an_earlier_version_is_taken(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / ".lock").touch()
    JobStore(tmp_path).close()
    (tmp_path / "notes.txt").touch()  # from here on the marker says whose it is
    JobStore(tmp_path).close()


def test_only_what_a_jobs_creation_leaves_is_removed(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    for name, file in (("cut-off", "request.json"), ("thesis", "data.csv"), (".deleted-x", "describe.json")):
        (store.training.path / name).mkdir()
        (store.training.path / name / file).write_text("{}")
    (store.training.path / "link").symlink_to(tmp_path)
    said: list[str] = []
    assert list(load(store.training.path, "DescribeTrainingJob", said.append)) == []
    assert sorted(path.name for path in store.training.path.iterdir()) == [".damaged-thesis", "link"]
    assert (store.training.path / ".damaged-thesis/data.csv").exists()
    store.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"TrainingJobName": "../../x"}',
        '{"TrainingJobName": "a", "CreationTime": 7}',
        "\0",
        "[" * 20_000,
    ],
)
def test_a_damaged_description_is_put_aside_and_the_others_are_there(tmp_path: Path, text: str) -> None:
    for name, content in (("a", text), ("b", '{"TrainingJobName": "b"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "describe.json").write_text(content)
    for count in range(2):
        said: list[str] = []
        assert list(load(tmp_path, "DescribeTrainingJob", said.append)) == [{"TrainingJobName": "b"}]
        assert len(said) == 1 - count
    assert (tmp_path / ".damaged-a/describe.json").read_text() == text


def test_damaged_files_do_not_keep_a_server_from_starting(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        first.client("s3").create_bucket(Bucket=BUCKET)
        sagemaker = first.client("sagemaker")
        sagemaker.create_training_job(**request("kept"))
        tagged = ended(sagemaker, "kept")["TrainingJobArn"]
        sagemaker.add_tags(ResourceArn=tagged, Tags=[{"Key": "k", "Value": "v"}])
        sagemaker.create_trial_component(TrialComponentName="run")
        first.end()
    damaged = {
        "training/kept/tags.json": "{",
        "training/kept/request.json": "",
        "experiments/trial-component/run/metrics.jsonl": '["acc", 1.0, 0.5, 0]\n["ac["acc", 2.0, 1, 1]\n[]\n["acc", 3',
        "training/a/describe.json": "",
        "tuning/t/describe.json": '{"HyperParameterTuningJobName": "t", "HyperParameterTuningJobStatus": "Completed"}',
        "tuning/t/training_jobs.json": "{",
        "experiments/experiment/e/describe.json": "[",
        "s3/index.json": "{",
    }
    for name, text in damaged.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    with Served(tmp_path) as second:
        sagemaker = second.client("sagemaker")
        assert [job["TrainingJobName"] for job in sagemaker.list_training_jobs()["TrainingJobSummaries"]] == ["kept"]
        assert sagemaker.list_tags(ResourceArn=tagged)["Tags"] == []
        assert len(sagemaker.search(Resource="TrainingJob")["Results"]) == 1
        metrics = sagemaker.describe_trial_component(TrialComponentName="run")["Metrics"]
        assert [(one["MetricName"], one["Count"], one["Last"]) for one in metrics] == [("acc", 1, 0.5)]
        assert sagemaker.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"] == []
        assert second.client("s3").list_buckets()["Buckets"] == []
        err = second.end()
    assert "Traceback" not in err
    for place in ("training/a", "tuning/t", "experiment/e", "S3 held"):
        assert re.search(rf"{place} can't be read", err), err
