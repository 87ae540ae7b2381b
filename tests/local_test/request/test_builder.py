import json
import os
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_test.errors import BadRequest
from local_test.request.builder import Options, build, parse_pairs, read_job, timed_name
from local_test.request.defaults import fill_training_job, fill_tuning_job
from local_test.request.support import check_request
from local_test.request.validation import validate
from local_test.tuning.plan import read_plan
from local_test.util.atomic_files import file_uri, local_path
from tests.support.local_jobs import prepared_data_request, request_for
from tests.support.missing import missing
from tests.support.tuning import tuning_request

JOB = prepared_data_request()
# the SDK's tuner names the resources in the other way, and the service describes both
SDK_TUNING = tuning_request()
SDK_TUNING["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"] = SDK_TUNING["TrainingJobDefinition"].pop(
    "ResourceConfig"
)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)
LAUNCH = Path(__file__).resolve().parents[3] / "launch/training_job.json"


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    for name in ("train", "validation"):
        (tmp_path / "data" / name).mkdir(parents=True)
    (tmp_path / "data/dataset.json").write_text("{}")
    return tmp_path / "data"


def places(request: dict[str, Any]) -> dict[str, str]:
    return {c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3Uri"] for c in request["InputDataConfig"]}


@pytest.mark.parametrize("job", ["built-in", "launch"])
def test_the_default_jobs_become_valid_local_requests(job: str, prepared: Path, tmp_path: Path) -> None:
    if job == "launch" and not LAUNCH.exists():
        missing("no launch/training_job.json")
    source = prepared_data_request() if job == "built-in" else read_job(LAUNCH)
    request = build(source, Options(), tmp_path / "jobs", NOW, prepared)
    check_request(request)
    assert places(request) == {
        "train": file_uri(prepared / "train"),
        "validation": file_uri(prepared / "validation"),
        "dataset": file_uri(prepared / "dataset.json"),
    }
    assert request["InputDataConfig"][2]["InputMode"] == "File"
    assert request["TrainingJobName"] == "cv-keras-cifar10-2026-01-02-03-04-05-678"
    assert request["OutputDataConfig"]["S3OutputPath"] == file_uri(tmp_path / "jobs")
    checkpoints = tmp_path / "jobs" / request["TrainingJobName"] / "checkpoints"
    assert request["CheckpointConfig"]["S3Uri"] == file_uri(checkpoints)
    assert "<" not in json.dumps({**request, "AlgorithmSpecification": None})


@pytest.mark.parametrize(
    ("command", "kind", "job", "describe"),
    [
        ("train", "TrainingJob", request_for("again", Path("/out")), fill_training_job),
        ("tune", "HyperParameterTuningJob", tuning_request(), fill_tuning_job),
        ("tune", "HyperParameterTuningJob", SDK_TUNING, fill_tuning_job),
    ],
    ids=["train", "tune", "tune-sdk"],
)
def test_a_description_is_a_job_file_too(
    command: str, kind: str, job: dict[str, Any], describe: Callable[[Any], dict[str, Any]], tmp_path: Path
) -> None:
    """What `aws sagemaker describe-…` prints has what the service adds; and on Windows files begin with a mark."""
    description = describe(job)
    added = {f"{kind}Arn": "arn", f"{kind}Status": "Completed", "CreationTime": "2026-01-01T00:00:00Z"}
    path = tmp_path / "job.json"
    path.write_text(json.dumps({**description, **added}), encoding="utf-8-sig")
    request = read_job(path, command)
    if command == "train":
        check_request(request)
    else:
        read_plan(request)
    added_to_it = {"InputDataConfig": [], "ProfilingStatus": description.get("ProfilingStatus")}
    assert describe(request) == {**description, **(added_to_it if command == "train" else {})}


def test_options_are_laid_over_the_job(prepared: Path, tmp_path: Path) -> None:
    options = Options(
        image="mine:1",
        name="fixed",
        input_mode="FastFile",
        hyperparameters={"epochs": "2"},
        environment={"A": "b"},
        instance_count=3,
        checkpoints=tmp_path / "ck pt",
        max_runtime=60,
    )
    request = build(JOB, options, tmp_path, NOW, prepared)
    validate(request)
    assert request["TrainingJobName"] == "fixed"
    assert request["AlgorithmSpecification"]["TrainingImage"] == "mine:1"
    assert request["AlgorithmSpecification"]["TrainingInputMode"] == "FastFile"
    assert request["InputDataConfig"][2]["InputMode"] == "File"
    assert (request["HyperParameters"], request["Environment"]) == ({"epochs": "2"}, {"A": "b"})
    assert request["ResourceConfig"]["InstanceCount"] == 3
    assert request["StoppingCondition"]["MaxRuntimeInSeconds"] == 60
    assert local_path(request["CheckpointConfig"]["S3Uri"]) == tmp_path / "ck pt"


@pytest.mark.parametrize(
    "script",
    [
        {"hyperparameters": {"sagemaker_program": "mine.py", "lr": "1"}},
        {"environment": {"SAGEMAKER_PROGRAM": "mine.py"}},
    ],
)
def test_a_script_does_not_get_the_options_of_the_program_that_it_replaces(
    prepared: Path, tmp_path: Path, script: dict[str, Any]
) -> None:
    """`--model fast` would be taken for `--model_dir fast`."""
    job = {**JOB, "HyperParameters": {"model": "fast", "epochs": "10"}}
    assert build(job, Options(**script), tmp_path, NOW, prepared).get("HyperParameters", {}) == script.get(
        "hyperparameters", {}
    )
    job["HyperParameters"]["sagemaker_program"] = "theirs.py"
    kept = build(job, Options(**script), tmp_path, NOW, prepared)["HyperParameters"]
    assert kept == {**job["HyperParameters"], **script.get("hyperparameters", {})}


def test_a_channel_that_spells_out_the_jobs_mode_follows_it(prepared: Path, tmp_path: Path) -> None:
    job = prepared_data_request()
    job["InputDataConfig"][0]["InputMode"] = "Pipe"
    request = build(job, Options(input_mode="File"), tmp_path, NOW, prepared)
    assert request["InputDataConfig"][0]["InputMode"] == "File"


def test_an_overridden_channel_keeps_its_other_members_and_a_new_one_is_added(prepared: Path, tmp_path: Path) -> None:
    job = prepared_data_request()
    job["InputDataConfig"][0]["ContentType"] = "application/x-tfrecord"
    options = Options(channels={"train": "s3://bucket/own/", "extra": str(prepared)})
    request = build(job, options, tmp_path, NOW, prepared)
    assert request["InputDataConfig"][0]["ContentType"] == "application/x-tfrecord"
    assert places(request)["train"] == "s3://bucket/own/"
    assert places(request)["extra"] == file_uri(prepared)
    validate(request)


def test_a_new_channel_of_code_is_no_stream(prepared: Path, tmp_path: Path) -> None:
    job = prepared_data_request()
    request = build(job, Options(channels={"code": str(prepared), "extra": str(prepared)}), tmp_path, NOW, prepared)
    modes = {channel["ChannelName"]: channel.get("InputMode") for channel in request["InputDataConfig"]}
    assert (modes["code"], modes["extra"]) == ("File", None)
    code = {**job["InputDataConfig"][0], "ChannelName": "code"}
    for own, mode, expected in (
        ({}, "Pipe", "File"),
        ({"InputMode": "File"}, "Pipe", "File"),
        ({"InputMode": "Pipe"}, "File", "Pipe"),
    ):
        changed = {**job, "InputDataConfig": [*job["InputDataConfig"], {**code, **own}]}
        changed["AlgorithmSpecification"] = {**job["AlgorithmSpecification"], "TrainingInputMode": "File"}
        request = build(changed, Options(input_mode=mode, channels={"code": str(prepared)}), tmp_path, NOW, prepared)
        assert request["InputDataConfig"][-1]["InputMode"] == expected  # what a job file says stays


def test_a_channel_with_a_mode_of_its_own(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file's own name ends in is no mode, if there is such a file; once more says it for that, too."""
    monkeypatch.chdir(tmp_path)
    for name in ("a:File", "b:Pipe"):
        Path(name).write_text("x")
    texts = {
        "train": f"{prepared}/train:File",
        "s": "s3://bucket/p:FastFile",
        "a": "a:File",
        "b": "b:Pipe:File",
        "c": "s3://b/c:d",
    }
    request = build(prepared_data_request(), Options(channels=texts), tmp_path, NOW, prepared)
    modes = {channel["ChannelName"]: channel.get("InputMode") for channel in request["InputDataConfig"]}
    assert {name: (modes[name], places(request)[name]) for name in texts} == {
        "train": ("File", file_uri(prepared / "train")),
        "s": ("FastFile", "s3://bucket/p"),
        "a": (None, file_uri(tmp_path / "a:File")),
        "b": ("File", file_uri(tmp_path / "b:Pipe")),
        "c": (None, "s3://b/c:d"),
    }
    validate(request)
    for text, wrong in (
        (":File", "no file, folder or s3:// address. Received: ':File'"),
        ("a:file", "Received: a:file"),
    ):
        with pytest.raises(BadRequest, match=wrong):
            build(prepared_data_request(), Options(channels={"train": text}), tmp_path, NOW, prepared)


def test_what_lies_beside_an_own_train_folder_is_taken_with_it(prepared: Path, tmp_path: Path) -> None:
    own = prepared.rename(tmp_path / "own")
    request = build(
        prepared_data_request(), Options(channels={"train": str(own / "train")}), tmp_path, NOW, tmp_path / "absent"
    )
    assert places(request)["validation"] == file_uri(own / "validation")
    assert places(request)["dataset"] == file_uri(own / "dataset.json")


def test_without_dataset_json_there_is_no_such_channel(prepared: Path, tmp_path: Path) -> None:
    (prepared / "dataset.json").unlink()
    request = build(JOB, Options(), tmp_path, NOW, prepared)
    assert list(places(request)) == ["train", "validation"]


def test_data_that_is_not_prepared(tmp_path: Path) -> None:
    with pytest.raises(
        BadRequest, match=r"there is no .*train. Run python -m dataset prepare, or name it with --channel"
    ):
        build(JOB, Options(), tmp_path, NOW, tmp_path / "data")


def test_a_path_that_is_not_there(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"Channel train: there is no such file or folder. Received: nowhere"):
        build(JOB, Options(channels={"train": "nowhere"}), tmp_path, NOW, prepared)


def test_a_channel_without_a_local_place(prepared: Path, tmp_path: Path) -> None:
    job = prepared_data_request()
    job["InputDataConfig"][0]["ChannelName"] = "pictures"
    with pytest.raises(BadRequest, match=r"Name it with --channel pictures=PATH"):
        build(job, Options(), tmp_path, NOW, prepared)


def test_outputs_in_a_bucket_become_the_jobs_folder(prepared: Path, tmp_path: Path) -> None:
    job = {**JOB, "TensorBoardOutputConfig": {"S3OutputPath": "s3://<bucket>/events"}}
    request = build(job, Options(), tmp_path / "jobs", NOW, prepared)
    assert request["TensorBoardOutputConfig"] == {"S3OutputPath": file_uri(tmp_path / "jobs")}


def test_a_placeholder_that_stays(prepared: Path, tmp_path: Path) -> None:
    job = {**JOB, "Environment": {"BUCKET": "<bucket>"}}
    with pytest.raises(BadRequest, match=r"Environment.BUCKET has a placeholder that has no local value"):
        build(job, Options(), tmp_path, NOW, prepared)


def test_a_jobs_own_name_is_kept(prepared: Path, tmp_path: Path) -> None:
    assert build({**JOB, "TrainingJobName": "mine"}, Options(), tmp_path, NOW, prepared)["TrainingJobName"] == "mine"


@given(st.from_regex(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", fullmatch=True))
def test_a_timed_name_is_always_a_valid_one(base: str) -> None:
    name = timed_name(base, NOW)
    assert len(name) <= 63
    assert name.endswith("-2026-01-02-03-04-05-678")
    validate({**request_for("x", Path("/out")), "TrainingJobName": name})


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not JSON"), ("[]", "must hold one CreateTrainingJob request. Received: .*, a list"), ("", "not JSON")],
)
def test_a_bad_job_file(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(BadRequest, match=message):
        read_job(tmp_path / "job.json")


def test_a_job_file_without_an_end_and_one_from_a_pipe(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"The job file is too large\. Received: /dev/zero\."):
        read_job(Path("/dev/zero"))
    (tmp_path / "deep").write_text("[" * 100_000)
    with pytest.raises(BadRequest, match="The job file is not JSON: maximum recursion depth"):
        read_job(tmp_path / "deep")
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(["sh", "-c", f"echo '{{}}' > {tmp_path}/fifo"]):
        assert read_job(tmp_path / "fifo") == {}


def test_a_job_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"can't be read: No such file or directory. Received: .*job.json"):
        read_job(tmp_path / "job.json")


@given(st.dictionaries(st.sampled_from(sorted(JOB)), st.none() | st.integers() | st.text() | st.lists(st.none())))
def test_wrong_types_reach_validation(members: dict[str, Any]) -> None:
    """Whatever a job file holds, building leaves it for validation to say what is wrong."""
    try:
        validate(build({**JOB, **members}, Options(input_mode="File"), Path("/out"), NOW, Path("/absent")))
    except BadRequest as error:
        assert str(error)


def test_pairs() -> None:
    assert parse_pairs("--env", ["A=b=c", "D="]) == {"A": "b=c", "D": ""}
    with pytest.raises(BadRequest, match=r"--env takes NAME=VALUE. Received: A"):
        parse_pairs("--env", ["A"])
