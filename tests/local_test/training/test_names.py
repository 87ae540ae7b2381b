"""A name is one job's, in any case; a request that is refused takes none; what is kept is for this user alone."""

import json
import re
import resource
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_test.data.object_store import ObjectStore
from local_test.errors import BadRequest, ResourceInUse
from local_test.training.job import TrainingJob
from tests.support.api import refusal_of
from tests.support.local_jobs import AnyRunner, request_for
from tests.support.served import BUCKET, WAIT, Served, ended, printed, request, until
from tests.support.tuning import tuning_request

USED = "Training job names must be unique within an AWS account and region"


@contextmanager
def full_disk(served: Served) -> Iterator[None]:
    """No file of the server's can grow beyond a few bytes: to it, much as if the disk were full."""
    pid, limits = served.process.pid, resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (50, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), "--parallel", "2") as server:
        server.client("s3").create_bucket(Bucket=BUCKET)
        yield server
        assert "Traceback" not in server.end()


def test_names_that_differ_by_case_are_one(served: Served, sagemaker: Any) -> None:
    sagemaker.create_training_job(**request("Case"))
    for name in ("case", "CASE", "Case"):
        said = refusal_of(sagemaker.create_training_job, "ResourceInUse", **request(name))
        assert said.startswith(USED)
    ended(sagemaker, "Case")
    assert [path.name for path in (served.root / "training").iterdir() if path.name.lower() == "case"] == ["Case"]
    sagemaker.delete_training_job(TrainingJobName="Case")
    sagemaker.create_training_job(**request("case"))
    ended(sagemaker, "case")


def test_of_many_at_once_one_gets_the_name(sagemaker: Any) -> None:
    def create(name: str) -> str:
        try:
            sagemaker.create_training_job(**request(name))
        except ClientError as error:
            return error.response["Error"]["Code"]
        return name

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, ["Race", "race", "RACE", "rACE"] * 2))
    (winner,) = (answer for answer in answers if answer != "ResourceInUse")
    assert ended(sagemaker, winner)["TrainingJobStatus"] == "Completed"
    pages = sagemaker.get_paginator("list_training_jobs").paginate()
    names = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    assert [name for name in names if name.lower() == "race"] == [winner]


def test_a_full_disk_keeps_no_name_in_use(own: Served) -> None:
    sagemaker = own.client("sagemaker")
    tuning = tuning_request(1, 1)
    tuning["TrainingJobDefinition"] |= {name: request("x")[name] for name in ("OutputDataConfig", "Environment")}
    with full_disk(own):
        assert "The job can't be kept: File too large" in refusal_of(
            sagemaker.create_training_job, "ValidationException", **request("full")
        )
        assert "The tuning job can't be kept" in refusal_of(
            sagemaker.create_hyper_parameter_tuning_job, "ValidationException", **tuning
        )
        assert "The Experiment can't be kept" in refusal_of(
            sagemaker.create_experiment, "ValidationException", ExperimentName="full"
        )
    assert [list((own.root / "training").iterdir()), list((own.root / "tuning").iterdir())] == [[], []]
    sagemaker.create_experiment(ExperimentName="full")
    sagemaker.create_hyper_parameter_tuning_job(**tuning)
    sagemaker.create_training_job(**request("full"))
    assert ended(sagemaker, "full")["TrainingJobStatus"] == "Completed"


def test_what_ends_on_a_full_disk_is_written_when_there_is_room(tmp_path: Path) -> None:
    """By the server that saw it, since the next one would call it Failed."""
    with Served(tmp_path) as own:
        own.client("s3").create_bucket(Bucket=BUCKET)
        sagemaker = own.client("sagemaker")
        tuning = tuning_request(1, 1)
        waits = {"OutputDataConfig": request("x")["OutputDataConfig"], "Environment": {"PROGRAM": WAIT}}
        tuning["TrainingJobDefinition"] |= waits
        sagemaker.create_hyper_parameter_tuning_job(**tuning)
        name = tuning["HyperParameterTuningJobName"]
        find = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job
        child = find(HyperParameterTuningJobName=name)["TrainingJobSummaries"]
        child = child or until(lambda: find(HyperParameterTuningJobName=name)["TrainingJobSummaries"])
        printed(own, child[0]["TrainingJobName"], "ready")
        sagemaker.create_training_job(**request("fills", WAIT))
        printed(own, "fills", "ready")
        read = sagemaker.describe_hyper_parameter_tuning_job
        with full_disk(own):
            sagemaker.stop_training_job(TrainingJobName="fills")
            description = ended(sagemaker, "fills")
            sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
            until(lambda: read(HyperParameterTuningJobName=name)["HyperParameterTuningJobStatus"] == "Stopped")
            assert '"Training"' in (own.root / "training/fills/describe.json").read_text()
            component = {"TrialComponentName": "fills-aws-training-job", "DisplayName": "x"}
            said = refusal_of(sagemaker.update_trial_component, "ValidationException", **component)
            assert said == "The change can't be kept: File too large. Received: UpdateTrialComponent"
        assert description["TrainingJobStatus"] == "Failed"
        assert "Artifact upload failed" in description["FailureReason"]
        for path in (own.root / "training/fills/describe.json", own.root / "tuning" / name / "describe.json"):
            until(lambda path=path: re.search('Status": "(Failed|Stopped)"', path.read_text()))
        assert "Traceback" not in own.end()


def test_names_of_the_command_line_that_differ_by_case_are_one(tmp_path: Path, storage: ObjectStore) -> None:
    def make(name: str) -> None:
        TrainingJob(request_for(name, tmp_path / "jobs"), tmp_path / "jobs", AnyRunner(), storage, {})

    make("Job")
    with pytest.raises(ResourceInUse, match=rf"^{USED}.*training-job/job\). Received: Job, see "):
        make("job")


def test_half_of_a_surrogate_pair_in_a_job_file_keeps_no_name_in_use(tmp_path: Path, storage: ObjectStore) -> None:
    wanted = request_for("half", tmp_path / "jobs", Environment={"A": "\ud800"})
    with pytest.raises(BadRequest, match=r"^The job has half of a surrogate pair, which is no text"):
        TrainingJob(wanted, tmp_path / "jobs", AnyRunner(), storage, {})
    assert list((tmp_path / "jobs").iterdir()) == []


def test_what_holds_the_environment_is_for_this_user_alone(served: Served, sagemaker: Any) -> None:
    sagemaker.create_training_job(**request("secret"))
    ended(sagemaker, "secret")
    for name in ("request.json", "describe.json"):
        path = served.root / "training/secret" / name
        assert "PROGRAM" in json.loads(path.read_text())["Environment"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
