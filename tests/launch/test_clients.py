"""The four clients against the local API: jobs run, results are told, errors are one line, all send the same."""

import json
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launch.core import follow
from launch.core.request import Options, build_training_job
from launch.core.summary import summarize_training
from local_test.cli.main import main
from local_test.util.arns import ACCOUNT
from tests.support.clients import BUCKET, CLIENTS, QUICK, Client, LaunchServer, require_client
from tests.support.programs import write_executable
from tests.support.relay import Relay
from tests.support.served import ROOT, until
from tests.support.terminal import Terminal

pytestmark = pytest.mark.timeout(400)


def find_accepted(output: str) -> str:
    """The name of the job that was started."""
    found = re.search(r"^-- (\S+) was accepted$", output, re.MULTILINE)
    assert found, output
    return found[1]


def test_a_training_job_is_followed_to_its_result(launched: LaunchServer, client: Client) -> None:
    done = launched.run(client.arguments("train", wait=True, spot=True, name=f"one-{client.name.replace('_', '-')}"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    name = find_accepted(done.stdout)
    model = f"s3://{BUCKET}/cv_keras_cifar10/jobs/{name}/output/model.tar.gz"
    lines = done.stdout.splitlines()
    assert sum(line.startswith("algo-1  epoch=1 step=10 train:loss=1.5") for line in lines) == client.prints_log
    assert any(line.startswith("-- Completed: ") for line in lines)
    assert ["validation:accuracy", "0.5005"] in [line.split() for line in lines]
    assert re.fullmatch(r"took {17}\d+ s", lines[-2])
    assert lines[-1].split() == ["model", model]
    head = launched.client("s3").head_object(Bucket=BUCKET, Key=model.removeprefix(f"s3://{BUCKET}/"))
    assert head["ContentLength"] > 0
    described = launched.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert described["Environment"] == {"PROGRESS_SECONDS": "9"}  # somebody reads its log


class _Slow:
    """What is not over for some polls."""

    def __init__(self, polls: int) -> None:
        self.left, self.state = polls, "Training"

    def poll(self) -> bool:
        self.left -= 1
        return not self.left

    def stop(self) -> None: ...

    def print_summary(self) -> int:
        return 0


def test_a_job_that_says_nothing_is_told_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_SECONDS", 0.05)
    monkeypatch.setattr(follow, "_QUIET_SECONDS", 0.12)
    began = time.monotonic()
    assert follow.follow_to_end("slow", _Slow(12)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(re.fullmatch(r"-- Training: \d+:\d\d", line) for line in lines), lines
    assert 2 <= len(lines) <= (time.monotonic() - began) / 0.12 + 1


def test_a_script_does_not_get_the_options_of_the_program_that_it_replaces() -> None:
    given = {"sagemaker_program": "mine.py", "lr": "1"}
    chosen = Options("train", "image", "arn:aws:iam::123456789012:role/x", BUCKET, "mine", hyperparameters=given)
    assert build_training_job(chosen)["HyperParameters"] == given


def test_what_is_billed_is_said_of_aws_alone() -> None:
    description = {
        "TrainingJobArn": "arn:aws:sagemaker:eu-west-1:111122223333:training-job/one",
        "TrainingJobName": "one",
        "TrainingJobStatus": "Completed",
        "ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.c5.2xlarge"},
        "BillableTimeInSeconds": 60,
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
    }
    model = "model                s3://b/model.tar.gz"
    assert list(summarize_training(description)) == ["billed               60 s of 2 × ml.c5.2xlarge", model]
    description["TrainingJobArn"] = f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:training-job/one"
    assert list(summarize_training(description)) == ["took                 60 s", model]
    description |= {"TrainingJobStatus": "Failed", "FailureReason": "no data"}
    assert list(summarize_training(description)) == ["one has failed: no data", "took                 60 s"]


def test_a_tuning_job_is_followed_to_its_best(launched: LaunchServer, client: Client) -> None:
    name = f"six-{client.name.replace('_', '-')}"
    done = launched.run(client.arguments("tune", wait=True, name=name))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert find_accepted(done.stdout) == name
    job = launched.client("sagemaker").describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert job["TrainingJobStatusCounters"]["Completed"] == 6
    best = job["BestTrainingJob"]["TrainingJobName"]
    lines = done.stdout.splitlines()
    assert ["best", best] in [line.split() for line in lines]
    completed = {line.split()[0] for line in lines if line.startswith(f"{name}-") and "Completed" in line}
    assert len(completed) == (6 if client.prints_log else 0)
    assert lines[-1].split() == ["model", f"s3://{BUCKET}/cv_keras_cifar10/jobs/{best}/output/model.tar.gz"]


def test_a_failed_job_is_told_with_its_reason(launched: LaunchServer, client: Client) -> None:
    name = f"bad-{client.name.replace('_', '-')}"
    done = launched.run(client.arguments("train", wait=True, name=name, hyperparameter="model=fails"))
    assert done.returncode == 1
    assert "has failed: AlgorithmError: it was to fail, exit code: 3" in done.stdout


@pytest.mark.slow
def test_the_aws_clis_client_needs_the_standard_library_alone(launched: LaunchServer, tmp_path: Path) -> None:
    (client,) = (client for client in CLIENTS if client.name == "aws_cli")
    python = tmp_path / "python3"
    write_executable(python, f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')  # without site-packages
    path = f"{tmp_path}{os.pathsep}{launched.environment()['PATH']}"
    done = launched.run(client.arguments("train", wait=True, name="no-boto3", experiment="no-boto3"), PATH=path)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.splitlines()[-1].startswith("model ")


# ---- the same requests

# What a client adds by itself, or writes in another way: path → what it says, None for the client's own choice.
ADDED: dict[str, dict[str, Any]] = {
    "boto3_client": {},
    "aws_cli": {},
    "sdk_v2": {
        "ProfilerConfig": {"DisableProfiler": True},
        "HyperParameterTuningJobConfig.TrainingJobEarlyStoppingType": "Off",
        "HyperParameterTuningJobConfig.ParameterRanges.IntegerParameterRanges": [],
    },
    "sdk_v3": {"HyperParameterTuningJobConfig.TrainingJobEarlyStoppingType": "Off"},
}


def normal(request: dict[str, Any], client: str, name: str) -> dict[str, Any]:
    """The request without what its client adds; numbers of ranges as numbers, names as `<name>`."""
    found = json.loads(json.dumps(request).replace(name, "<name>"))
    found["TrainingJobName" if "TrainingJobName" in found else "HyperParameterTuningJobName"] = "<name>"
    for path, value in ADDED[client].items():
        *outer, last = path.split(".")
        place = found
        for part in outer:
            place = place.get(part, {})
        if path.startswith("HyperParameterTuning") == ("HyperParameterTuningJobName" in found):
            assert place.pop(last) == value, path
    for item in (
        found.get("HyperParameterTuningJobConfig", {}).get("ParameterRanges", {}).get("ContinuousParameterRanges", [])
    ):
        item.update({key: float(item[key]) for key in ("MinValue", "MaxValue")})
    job = found.get("TrainingJobDefinition", {})
    # SDK v2 takes the newer of the two members that say the same
    if resources := job.pop("HyperParameterTuningResourceConfig", None):
        job["ResourceConfig"] = resources
    return found


def test_what_a_client_adds_is_in_the_docs() -> None:
    page = (ROOT / "docs/launch.md").read_text().partition("## A pipeline")[0]
    listed = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \| `(.+)` \|$", page, re.MULTILINE)
    added = [(name, path, json.dumps(value)) for name, members in ADDED.items() for path, value in members.items()]
    assert listed == added


@pytest.mark.parametrize(
    ("command", "spot", "clients"),
    [
        ("train", True, QUICK),
        ("tune", False, QUICK),
        *(
            pytest.param(command, spot, CLIENTS, marks=pytest.mark.slow)
            for command in ("train", "tune")
            for spot in (False, True)
        ),
    ],
)
def test_all_clients_send_the_same(launched: LaunchServer, clients: list[Client], command: str, spot: bool) -> None:
    folder = launched.root / ("training" if command == "train" else "tuning")
    sent: dict[str, Any] = {}
    for client in clients:
        require_client(client)
        name = f"same-{len(clients)}-{command}-{spot}-{client.name}".lower().replace("_", "-")
        options = {"name": name, "spot": spot, "instance_type": "ml.m5.xlarge", "hyperparameter": "epochs=2"}
        done = launched.run(client.arguments(command, **options))
        assert done.returncode == 0, done.stderr
        request = json.loads((folder / find_accepted(done.stdout) / "request.json").read_text())
        sent[client.name] = normal(request, client.name, name)
    expected = sent["boto3_client"]
    assert [name for name, request in sent.items() if request != expected] == []
    job = expected.get("TrainingJobDefinition", expected)
    assert job["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    assert job.get("EnableManagedSpotTraining", False) is spot
    assert job["StoppingCondition"].get("MaxWaitTimeInSeconds") == (7200 if spot else None)
    assert (job.get("HyperParameters") or job["StaticHyperParameters"])["epochs"] == "2"
    assert ("CheckpointConfig" in job) is (spot or command == "train")


# ---- errors: one line that says what to do

NOWHERE = "http://127.0.0.1:9"  # the discard port, where nothing listens
NO_CREDENTIALS: dict[str, str | None] = {
    "AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_CONFIG_FILE": os.devnull,
}  # fmt: skip
EUROPE = "bucket-in-europe"
ERRORS: dict[str, tuple[dict[str, str], dict[str, str | None], str]] = {
    "no credentials": ({}, NO_CREDENTIALS, r"No AWS credentials were found\. Run `aws configure`"),
    "no region": (
        {},
        {"AWS_DEFAULT_REGION": None, "AWS_CONFIG_FILE": os.devnull},
        r"No region is set\. Set AWS_DEFAULT_REGION",
    ),
    "no network": ({}, {"AWS_ENDPOINT_URL": NOWHERE}, r"Nothing answers.*Is there a network\?"),
    "wrong role": ({"role": "nobody"}, {}, r"role does not exist in this account\. Received: nobody\..*launch/iam/"),
    "wrong role ARN": (
        {"role": "arn:aws:iam::999999999999:role/local"},
        {},
        r"The role does not exist\. Received: arn:aws:iam::9+:role/local\. Did you mean arn:aws:iam::123456789012",
    ),
    "role without trust": ({"role": "untrusting"}, {}, r"SageMaker may not assume the role.*trust_policy\.json"),
    "wrong bucket": (
        {"bucket": "no-such-bucket-here"},
        {},
        r"The bucket does not exist\..*aws s3 mb s3://no-such-bucket-here",
    ),
    "bucket in another region": (
        {"bucket": EUROPE},
        {},
        rf"another region.*{EUROPE} in eu-west-1.*Set AWS_DEFAULT_REGION=eu-west-1",
    ),
    "no data": (
        {"bucket": "empty-bucket"},
        {},
        r"There is no data for channel train\..*python -m dataset upload --bucket empty-bucket",
    ),
    "refused by the service": (
        {"instance_type": "ml.none.huge"},
        {},
        r"was refused: .*1 validation error detected: Value 'ml\.none\.huge' at 'resourceConfig\.instanceType'",
    ),
}


@pytest.fixture(scope="session")
def places(launched: LaunchServer) -> None:
    """Buckets and a role that are wrong in one way each."""
    launched.client("s3").create_bucket(Bucket="empty-bucket")
    europe = launched.client("s3", "eu-west-1")
    europe.create_bucket(Bucket=EUROPE, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    statement = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    launched.client("iam").create_role(RoleName="untrusting", AssumeRolePolicyDocument=json.dumps(policy))


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_one_line_that_says_what_to_do(launched: LaunchServer, client: Client, error: str) -> None:
    options, environment, message = ERRORS[error]
    done = launched.run(client.arguments("train", **options), HOME=os.devnull, **environment)
    assert done.returncode == 1, (done.stdout, done.stderr)
    last = done.stderr.strip().splitlines()[-1]
    assert re.search(message, last), done.stderr
    assert "Traceback" not in done.stderr
    assert "accepted" not in done.stdout


def test_what_the_command_line_lacks_is_said(launched: LaunchServer, client: Client) -> None:
    done = launched.run(client.arguments("train", image=""))
    assert done.returncode == 2
    assert "the following arguments are required: --image" in done.stderr
    done = launched.run(client.arguments("train", hyperparameter="epochs"))
    assert done.returncode == 1
    assert "--hyperparameter must be NAME=VALUE. Received: epochs" in done.stderr
    done = launched.run(client.arguments("train", bucket=f"s3://{BUCKET}/data"))
    assert done.returncode == 1
    assert f"--bucket must be a bucket's name alone. Received: s3://{BUCKET}/data" in done.stderr
    for option in ("name", "experiment"):
        done = launched.run(client.arguments("train", **{option: "a b; c -h d"}))
        assert done.returncode == 1
        assert f"--{option} must be letters, digits and hyphens. Received: 'a b; c -h d'" in done.stderr


@pytest.mark.parametrize(
    ("command", "text", "message"),
    [
        ("train", None, "--job can't be read: No such file or directory. Received: {path}"),
        ("train", "{", "--job is not JSON: Expecting property name"),
        pytest.param("train", "[" * 100_000, "--job is not JSON: maximum recursion depth", id="deep"),
        ("train", "[]", "--job must hold a request with TrainingJobName to train. Received: {path}"),
        ("train", '{"HyperParameterTuningJobName": "a"}', "--job must hold a request with TrainingJobName to train."),
        ("tune", '{"HyperParameterTuningJobName": "a", "TrainingJobDefinitions": []}', "--job must hold one Training"),
    ],
    ids=str,
)
def test_a_job_file_that_can_not_be_used(
    launched: LaunchServer, client: Client, tmp_path: Path, command, text, message
):
    path = tmp_path / "a job's -h file.json"
    if text is not None:
        path.write_text(text)
    done = launched.run(client.arguments(command, job=str(path)))
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(message.format(path=path))


def test_a_job_file_of_ones_own_is_sent(launched: LaunchServer, client: Client, tmp_path: Path) -> None:
    """Its channels are looked at before, those that no command of the project fills as well."""
    job = json.loads((ROOT / "launch/examples/training_job.json").read_text())
    folder = tmp_path / "my 'jobs' -h"
    folder.mkdir()
    (folder / "job.json").write_text(json.dumps(job))
    name = f"own-{client.name.replace('_', '-')}"
    s3, prefix = launched.client("s3"), "cv_keras_cifar10/shapes"
    for key in ("data/train/a", "data/validation/a", "data/dataset.json"):
        s3.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=b"12345")
    arguments = client.arguments("train", job=str(folder / "job.json"), wait=True, name=name)
    done = launched.run(arguments, TMPDIR=str(folder))
    assert done.returncode == 1
    where = f"s3://{BUCKET}/{prefix}/code/"
    assert done.stderr.strip().splitlines()[-1] == (
        f"There is no data for channel code. Received: nothing at {where}. "
        f"Put its files there: `aws s3 cp FILE {where}`."
    )
    s3.put_object(Bucket=BUCKET, Key=f"{prefix}/code/own_model.py", Body=b"# a model")
    done = launched.run(arguments)
    s3.delete_object(Bucket=BUCKET, Key=f"{prefix}/code/own_model.py")
    assert done.returncode == 0, (done.stdout, done.stderr)
    described = launched.client("sagemaker").describe_training_job(TrainingJobName=find_accepted(done.stdout))
    assert described["HyperParameters"]["model"].strip('"') == "own_model.py"
    assert [channel["ChannelName"] for channel in described["InputDataConfig"]] == [
        channel["ChannelName"] for channel in job["InputDataConfig"]
    ]


def test_a_job_file_of_what_the_service_demands_and_no_more(
    launched: LaunchServer, client: Client, tmp_path: Path
) -> None:
    """Of null and of members that have a default the service has its own. What an SDK's classes are not given is never
    left out unsaid."""
    job = {
        "TrainingJobName": "<name>",
        "AlgorithmSpecification": {"TrainingImage": "<image>", "TrainingInputMode": "Pipe"},
        "RoleArn": "<role>",
        "HyperParameters": None,
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://<bucket>/cv_keras_cifar10/data/train/"}
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://<bucket>/jobs/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    }
    path = tmp_path / "job.json"
    path.write_text(json.dumps(job))
    name = f"least-{client.name.replace('_', '-')}"
    done = launched.run(client.arguments("train", job=str(path), name=name, spot=True, instance_type="ml.m5.xlarge"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    described = launched.client("sagemaker").describe_training_job(TrainingJobName=find_accepted(done.stdout))
    assert described["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400, "MaxWaitTimeInSeconds": 172800}
    assert described["ResourceConfig"] == {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10}
    path.write_text(json.dumps({**job, "RetryStrategy": {"MaximumRetryAttempts": 1}}))
    done = launched.run(client.arguments("train", job=str(path), name=f"{name}-more"))
    if client.name.startswith("sdk"):
        assert done.returncode == 1
        assert "is not given this of a request. Received: RetryStrategy.MaximumRetryAttempts." in done.stderr
    else:
        assert done.returncode == 0, (done.stdout, done.stderr)


# ---- Ctrl-C


@pytest.mark.parametrize("answer", ["y", "n"])
def test_ctrl_c_asks_whether_the_job_is_to_stop(launched: LaunchServer, client: Client, answer: str) -> None:
    wanted = f"ctrl-c-{answer}-{client.name.replace('_', '-')}"
    arguments = client.arguments("train", wait=True, name=wanted, hyperparameter="model=waits")
    terminal = Terminal(arguments, ROOT, launched.environment())
    terminal.wait_for("algo-1  waiting" if client.prints_log else "-- Training: ")
    job = find_accepted(terminal.output)
    terminal.type("\x03")
    terminal.wait_for(f"Stop {job}, too? [y/N] ")
    terminal.type(f"{answer}\n")
    sagemaker = launched.client("sagemaker")
    if answer == "y":
        terminal.wait_for("-- Stopped: ")
        assert terminal.end() == 1
    else:
        terminal.wait_for(f"{job} goes on.")
        assert terminal.end() == 130
        assert sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "InProgress"
        at = f"{job} --endpoint-url {launched.exports['AWS_ENDPOINT_URL']}"
        assert f"-- follow it: python -m local_test attach {at}\n-- stop it:   python -m local_test stop {at}\n" in (
            terminal.output
        )
        assert main(["stop", *at.split()]) == 0
    until(lambda: sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "Stopped")


def test_ctrl_c_asks_whether_a_tuning_job_is_to_stop(launched: LaunchServer, client: Client) -> None:
    job = f"c-{client.name.replace('_', '-')}"
    arguments = client.arguments("tune", wait=True, name=job, hyperparameter="model=waits")
    terminal = Terminal(arguments, ROOT, launched.environment())
    terminal.wait_for("  InProgress" if client.prints_log else '"InProgress":2')
    terminal.type("\x03")
    terminal.wait_for(f"Stop {job}, too? [y/N] ")
    terminal.type("y\n")
    terminal.wait_for("-- Stopped")
    assert terminal.end() == 1


def test_ctrl_c_before_there_is_a_job_is_one_line(launched: LaunchServer, client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(200)
        environment = launched.environment(AWS_ENDPOINT_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        terminal = Terminal(client.arguments("train", name="never"), ROOT, environment)
        connection, _ = silent.accept()  # it asks, and gets no answer
        with connection:
            terminal.type("\x03")
            assert terminal.end() == 130
    assert terminal.output.replace("^C", "").strip() == "Interrupted. If never was accepted already, it goes on."


# ---- a network that is away for a while


def test_following_outlives_a_lost_network(launched: LaunchServer, client: Client) -> None:
    with Relay(launched.exports["AWS_ENDPOINT_URL"]) as relay:
        wanted = f"lost-{client.name.replace('_', '-')}"
        arguments = client.arguments("train", wait=True, name=wanted, hyperparameter="model=waits")
        terminal = Terminal(arguments, ROOT, launched.environment(AWS_ENDPOINT_URL=relay.url))
        terminal.wait_for("algo-1  waiting" if client.prints_log else "-- Training: ")
        relay.offline.set()
        terminal.wait_for("-- AWS does not answer; the job goes on, and so does looking")
        launched.client("sagemaker").stop_training_job(TrainingJobName=find_accepted(terminal.output))
        relay.offline.clear()
        terminal.wait_for("-- Stopped")
        assert terminal.end() == 1
    assert terminal.output.count("algo-1  waiting") == client.prints_log
