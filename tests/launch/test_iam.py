"""The policies are JSON, each statement has its reason, and they allow what the programs do."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import BUCKET, Client, LaunchServer, sdk_python
from tests.support.docs import read_blocks
from tests.support.missing import missing
from tests.support.relay import Relay
from tests.support.served import ROOT

IAM = ROOT / "launch/iam"
POLICIES = sorted(path.name for path in IAM.glob("*.json"))
# operations whose permission has another name, or that need none
OTHER = {"s3:HeadBucket": "s3:ListBucket", "s3:ListObjectsV2": "s3:ListBucket", "sts:GetCallerIdentity": None}
RECORD = f"""
import boto3, sys
from launch import boto3_client
from launch.core.run import run
seen = set()
boto3.setup_default_session()
boto3.DEFAULT_SESSION.events.register(
    "before-call", lambda model, **_: seen.add(f"{{model.service_model.service_name}}:{{model.name}}"))
for command in ("train", "tune"):
    code = run("", boto3_client.create, [command, "--image", "i", "--role", "local", "--bucket", "{BUCKET}", "--wait",
                                        "--name", f"iam-{{command}}"])
    assert code == 0
print("SEEN", *sorted(seen))
"""


def statements(name: str) -> list[dict[str, Any]]:
    policy = json.loads((IAM / name).read_text())
    assert policy["Version"] == "2012-10-17"
    return policy["Statement"]


@pytest.mark.parametrize("name", POLICIES)
def test_each_statement_has_its_reason(name: str) -> None:
    section = (IAM / "README.md").read_text().partition(f"## `{name}`")[2].partition("\n## ")[0]
    reasons = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE))
    assert [statement["Sid"] for statement in statements(name)] == list(reasons)
    assert all(len(reason) > 10 for reason in reasons.values())
    placeholders = set(re.findall(r"<\w+>", (IAM / name).read_text()))
    assert placeholders <= {"<account>", "<region>", "<bucket>", "<repository>", "<role>"}


def test_nothing_is_allowed_everywhere_without_need() -> None:
    wide = {
        statement["Sid"]
        for name in POLICIES
        for statement in statements(name)
        if statement.get("Resource") == "*" and "Condition" not in statement
    }
    assert wide == {"LogInToRegistry"}  # a token belongs to no repository
    actions = [action for name in POLICIES for one in statements(name) for action in as_list(one["Action"])]
    assert [action for action in actions if "*" in action] == []


def test_the_page_is_typed(launched: LaunchServer, tmp_path: Path) -> None:
    """In a copy of the folder, against the local IAM: nothing is left to fill in, and all are taken."""
    shutil.copytree(IAM, tmp_path / "launch/iam")
    (lines,) = read_blocks(IAM / "README.md", "sh aws")
    typed = ["bash", "-e", "-o", "pipefail", "-c", lines.replace("ROLE=cifar10", "ROLE=typed")]
    done = subprocess.run(typed, cwd=tmp_path, env=launched.environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    made = {path.stem: path.read_text() for path in (tmp_path / "policies").iterdir()}
    assert sorted(made) == ["execution", "launcher", "pipeline_execution", "pipeline_launcher", "pusher", "trust"]
    assert [name for name, policy in made.items() if re.search("<.*>", policy)] == []
    iam = launched.client("iam")
    assert iam.get_role(RoleName="typed")["Role"]["AssumeRolePolicyDocument"] == json.loads(made["trust"])
    kept = iam.get_role_policy(RoleName="typed", PolicyName="typed")["PolicyDocument"]
    assert kept == json.loads(made["execution"])
    kept = iam.get_role_policy(RoleName="typed", PolicyName="typed-pipeline")["PolicyDocument"]
    assert kept == json.loads(made["pipeline_execution"])


JOBS = ["training_job.json", "tuning_job.json", "examples/training_job.json"]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_reads_and_writes_where_its_role_may(name: str) -> None:
    request = json.loads((ROOT / "launch" / name).read_text())
    job = request.get("TrainingJobDefinition", request)
    read = [channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in job["InputDataConfig"]]
    written = [job["OutputDataConfig"]["S3OutputPath"]]
    if "CheckpointConfig" in job:
        written.append(job["CheckpointConfig"]["S3Uri"])
    allowed = {one["Sid"]: as_list(one["Resource"]) for one in statements("execution_policy.json")}
    for uris, sid in ((read, "ReadData"), (written, "WriteResults")):
        for uri in uris:
            arn = uri.replace("s3://", "arn:aws:s3:::") + "x"
            assert any(fnmatch(arn, resource) for resource in allowed[sid]), uri


def test_a_pipelines_role_may_run_its_steps() -> None:
    """Each kind of step, and each address in S3, of launch/pipeline.json."""
    text = (ROOT / "launch/pipeline.json").read_text()
    kinds = set(re.findall(r'"Type": "(Processing|Training|Tuning|RegisterModel|Model|Transform|Lambda|EMR)"', text))
    needed = {
        "Processing": "CreateProcessingJob", "Training": "CreateTrainingJob",
        "Tuning": "CreateHyperParameterTuningJob", "RegisterModel": "CreateModelPackage",
    }  # fmt: skip
    statement = {one["Sid"]: one for one in statements("pipeline_execution_policy.json")}
    actions = {action for one in statement.values() for action in as_list(one["Action"])}
    assert {f"sagemaker:{needed[kind]}" for kind in kinds} <= actions
    read = as_list(next(one for one in statements("execution_policy.json") if one["Sid"] == "ReadData")["Resource"])
    jobs = next(one for one in statements("execution_policy.json") if one["Sid"] == "WriteResults")["Resource"]
    written = [*as_list(jobs), *statement["WriteData"]["Resource"]]
    folders = set(re.findall(r"s3://<bucket>/(\w+/\w+)", text))
    assert folders == {f"cv_keras_cifar10/{name}" for name in ("evaluations", "jobs", "pictures", "prepared")}
    for folder in folders:
        arn = f"arn:aws:s3:::<bucket>/{folder}/x"
        assert any(fnmatch(arn, resource) for resource in read)
        assert any(fnmatch(arn, resource) for resource in written) == (not folder.endswith("pictures"))


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_a_launcher_may_do_all_that_the_client_does(launched: LaunchServer, tmp_path: Path) -> None:
    (tmp_path / "record.py").write_text(RECORD)
    environment = launched.environment(PYTHONPATH=os.fspath(ROOT))
    done = subprocess.run(
        [sys.executable, str(tmp_path / "record.py")], env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    seen = done.stdout.rpartition("SEEN ")[2].split()
    needed = {OTHER.get(operation, operation) for operation in seen} - {None}
    assert {"sagemaker:CreateTrainingJob", "logs:GetLogEvents", "iam:GetRole", "s3:ListBucket"} <= needed
    allowed = {action for statement in statements("launcher_policy.json") for action in as_list(statement["Action"])}
    assert needed - allowed == set()
    assert "iam:PassRole" in allowed


# SDK v3 asks what the role may do, and goes on where it may not ask
NOT_NEEDED = {"sts:GetCallerIdentity", "iam:SimulatePrincipalPolicy"}


@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_launcher_may_do_all_that_any_client_asks_for(launched: LaunchServer, client: Client, command: str) -> None:
    with Relay(launched.exports["AWS_ENDPOINT_URL"]) as relay:
        arguments = client.arguments(command, wait=True, name=f"iam-{command}-{client.name.replace('_', '-')}")
        done = launched.run(arguments, AWS_ENDPOINT_URL=relay.url)
    assert done.returncode == 0, done.stderr
    asked = relay.actions - NOT_NEEDED
    assert {"sagemaker:DescribeTrainingJob", "iam:GetRole", "s3:ListBucket"} <= asked
    allowed = {action for statement in statements("launcher_policy.json") for action in as_list(statement["Action"])}
    assert asked - allowed == set()


@pytest.mark.parametrize("version", ["boto3", *(pytest.param(name, marks=pytest.mark.slow) for name in ("v2", "v3"))])
def test_a_launcher_of_pipelines_may_do_all_that_a_client_asks_for(
    launched: LaunchServer, tmp_path: Path, version: str
) -> None:
    """Twice: the second time the pipeline is brought up to date. There are no pictures in it, so each fails."""
    module = "launch.pipeline" if version == "boto3" else f"launch.pipeline.sdk_{version}"
    python = sys.executable if version == "boto3" else sdk_python(version)
    if not Path(python).exists():
        missing(f"no SageMaker SDK {version}: `make sdk-{version}` makes its environment")
    with zipfile.ZipFile(tmp_path / "no.zip", "w") as archive:
        archive.writestr("notes.txt", f"no pictures for {version}")
    words = ("--image", "i", "--role", "local", "--bucket", BUCKET, "--pictures", str(tmp_path / "no.zip"), "--wait")
    with Relay(launched.exports["AWS_ENDPOINT_URL"]) as relay:
        for _ in range(2):
            command = [python, "-m", module, *words, "--name", f"iam-{version}"]
            done = launched.run(command, AWS_ENDPOINT_URL=relay.url)
            assert done.returncode == 1, done.stderr
            assert done.stdout.splitlines()[-1].startswith("-- Failed"), (done.stdout, done.stderr)
    asked = relay.actions - NOT_NEEDED
    assert {"sagemaker:UpdatePipeline", "sagemaker:DescribeProcessingJob", "s3:PutObject"} <= asked
    policies = ("launcher_policy.json", "pipeline_launcher_policy.json")
    allowed = {action for name in policies for one in statements(name) for action in as_list(one["Action"])}
    assert asked - allowed == set()
