"""`pipeline` as a person runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import termios
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from local_test.cli.pipeline import read_definition
from local_test.errors import BadRequest
from tests.support.pipelines import ACCURACY, FAIL, RESOURCES
from tests.support.processing import HEAD, s3_input, s3_output
from tests.support.programs import write_executable
from tests.support.served import MAIN, ROOT, TRAIN, WAIT, Served, until

SCOPE = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sagemaker/aws4_request"
LEARN = """
h = __import__("json").loads((BASE / "input/config/hyperparameters.json").read_text())
(BASE / "model/accuracy").write_text((BASE / "input/data/train/a").read_text() + h["more"])
"""
EVALUATE = f"""{HEAD}
import tarfile
with tarfile.open(DATA / "model/model.tar.gz") as model:
    accuracy = float(model.extractfile("accuracy").read())
(DATA / "report/evaluation.json").write_text(json.dumps({{"metrics": {{"accuracy": {{"value": accuracy}}}}}}))
"""


def train_step(program: str) -> dict[str, Any]:
    where = {"Std:Join": {"On": "/", "Values": ["s3://<bucket>", {"Get": "Parameters.Data"}]}}
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": where}}
    return {
        "Name": "Train",
        "Type": "Training",
        "Arguments": {
            "AlgorithmSpecification": {"TrainingImage": "<image>", "TrainingInputMode": "File"},
            "RoleArn": "<role>",
            "InputDataConfig": [{"ChannelName": "train", "DataSource": source}],
            "OutputDataConfig": {"S3OutputPath": "s3://<bucket>/out"},
            "ResourceConfig": RESOURCES,
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            "HyperParameters": {"more": {"Get": "Parameters.More"}},
            "Environment": {"PROGRAM": program},
        },
        "CacheConfig": {"Enabled": True},
    }


def definition(program: str = LEARN) -> dict[str, Any]:
    model = {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    evaluate = {
        "Name": "Evaluate",
        "Type": "Processing",
        "Arguments": {
            "AppSpecification": {
                "ImageUri": "<image>",
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/evaluate.py"],
            },
            "RoleArn": "<role>",
            "ProcessingResources": {"ClusterConfig": RESOURCES},
            "ProcessingInputs": [s3_input("code", "s3://<bucket>/code/evaluate.py"), s3_input("model", model)],  # type: ignore[arg-type]
            "ProcessingOutputConfig": {"Outputs": [s3_output("report", "s3://<bucket>/report")]},
        },
        "PropertyFiles": [{"PropertyFileName": "Report", "OutputName": "report", "FilePath": "evaluation.json"}],
    }
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": "cifar",
            "InferenceSpecification": {
                "Containers": [{"Image": "<image>", "ModelDataUrl": model}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
            "CustomerMetadataProperties": {"accuracy": ACCURACY},
        },
    }
    conditions = [{"Type": "GreaterThan", "LeftValue": ACCURACY, "RightValue": {"Get": "Parameters.Threshold"}}]
    decide = {
        "Name": "IsGood",
        "Type": "Condition",
        "Arguments": {"Conditions": conditions, "IfSteps": [register], "ElseSteps": [FAIL]},
    }
    return {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "Data", "Type": "String", "DefaultValue": "<data>"},
            {"Name": "More", "Type": "Integer", "DefaultValue": 5},
            {"Name": "Threshold", "Type": "Float", "DefaultValue": 0.5},
        ],
        "Steps": [train_step(program), evaluate, decide],
    }


def write(folder: Path, value: dict[str, Any]) -> None:
    write_executable(folder / "train.py", TRAIN)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data/a").write_text("0.7")
    (folder / "evaluate.py").write_text(EVALUATE)
    (folder / "The lab.json").write_text(json.dumps(value))


def pipeline(folder: Path, *arguments: str, stderr: int = subprocess.PIPE, main: str = MAIN) -> subprocess.Popen[str]:
    uploads = ["--upload", "data=s3://local/things", "--upload", "evaluate.py=s3://local/code/evaluate.py"]
    options = ["--parameter", "Data=things", "--out", "out", *uploads, *arguments]
    return subprocess.Popen(
        [sys.executable, "-c", main, "pipeline", "The lab.json", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = process.communicate(timeout=200)
    assert "Traceback" not in err, err
    return process.returncode, err


def test_a_pipeline_from_the_command_line(tmp_path: Path) -> None:
    """Then once more, with a step from the cache and a threshold that fails; a server shows what it has left."""
    write(tmp_path, definition())
    code, err = finish(pipeline(tmp_path))
    assert code == 0, err
    lines = err.splitlines()
    assert re.search(r"^Train  Succeeded  \d+:\d\d$", err, re.MULTILINE), err
    assert re.search(r"^IsGood  Succeeded  \d+:\d\d  true$", err, re.MULTILINE), err
    assert "The-lab: Succeeded" in lines
    (registered,) = (line for line in lines if line.startswith("Register: arn:"))
    assert registered.endswith(":model-package/cifar/1")
    assert lines[-1] == "S3, models and experiments: python -m local_test serve --root out"

    code, err = finish(pipeline(tmp_path, "--parameter", "Threshold=0.9"))
    assert code == 1, err
    assert re.search(r"^Train  Succeeded  \d+:\d\d  cached: \w{12}$", err, re.MULTILINE), err
    assert re.search(r"^TooBad  Failed  \d+:\d\d  accuracy is too low$", err, re.MULTILINE), err
    assert "FailureReason: " in err
    assert "--upload" not in err

    code, err = finish(pipeline(tmp_path, "--parameter", "More=-5"))  # 0.7-5 is no accuracy
    (said,) = (line for line in err.splitlines() if line.startswith("Log of Evaluate: python -m local_test "))
    command = [sys.executable, "-m", *said.partition(" -m ")[2].split()]
    log = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert "ValueError: could not convert string to float: b'0.7-5'" in log.stdout, (log.stdout, log.stderr)

    lab = tmp_path / "The lab.json"
    lab.write_text(lab.read_text().replace("s3://<bucket>", "s3://nothing"))
    code, err = finish(pipeline(tmp_path))
    assert (code, 'No S3 objects found under S3 URL "s3://nothing/things"' in err) == (1, True), err
    assert err.splitlines()[-1].startswith("S3 is this command's own: --upload PATH=s3://BUCKET/KEY puts")

    (tmp_path / "root").symlink_to("out")
    with Served(tmp_path) as server:
        sagemaker, s3 = server.client("sagemaker"), server.client("s3")
        found = sagemaker.list_pipeline_executions(PipelineName="The-lab")["PipelineExecutionSummaries"]
        assert [item["PipelineExecutionStatus"] for item in found] == ["Failed", "Failed", "Failed", "Succeeded"]
        assert json.loads(s3.get_object(Bucket="local", Key="report/evaluation.json")["Body"].read())


def test_ctrl_c_stops_it_and_nobody_else_is_answered(tmp_path: Path) -> None:
    measured = 'print("progress training epoch=1/2 step=1/4 rate=2 loss=1.0 accuracy=0.5", flush=True)\n'
    write(tmp_path, definition(measured + WAIT))
    screen, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = pipeline(tmp_path, "--ui", stderr=terminal)
    os.close(terminal)
    seen = ""
    while not re.search(r"Train +Training +Executing +\d+:\d\d +epoch 1/2 25 %\r\n", seen.rpartition("\x1b[J")[2]):
        seen += os.read(screen, 4096).decode(errors="replace")
    assert "The-lab: Executing, 0 of 5 steps over\r\n" in seen
    assert re.search(r"TooBad +Fail +not begun\r\n", seen)
    (page,) = re.findall(r"Page, while the pipeline runs: http://127.0.0.1:(\d+)/pipelines/The-lab\r\n", seen)
    ports = set(listening(process.pid))
    assert int(page) in ports
    for port in ports - {int(page)}:
        status, body = ask(port, "ListPipelines")
        assert (status, "This address is a program's own" in body) == (403, True)
    assert len(ports) > 1
    assert '"The-lab"' in ask(int(page), path="/.page/pipelines/The-lab")[1]
    refused = ask(int(page), "CreateTrainingJob")
    assert refused[0] >= 400, refused
    process.send_signal(signal.SIGINT)
    with suppress(OSError):  # the terminal's way to say that nobody writes to it any more
        while chunk := os.read(screen, 4096):
            seen += chunk.decode(errors="replace")
    os.close(screen)
    process.communicate(timeout=200)
    assert (process.returncode, "Traceback" in seen) == (130, False), seen
    assert "The-lab: Stopped" in seen.rpartition("Ctrl-C again kills it")[2]


def ask(port: int, operation: str = "", path: str = "/") -> tuple[int, str]:
    """The status and the answer of an operation, or of an address of the page."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"X-Amz-Target": f"SageMaker.{operation}", "Authorization": SCOPE} if operation else {}
    connection.request("POST" if operation else "GET", path, b"{}" if operation else None, headers)
    response = connection.getresponse()
    found = response.status, response.read().decode()
    connection.close()
    return found


def listening(pid: int) -> list[int]:
    """The ports of 127.0.0.1 at which the process listens; at least one."""
    files = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the process goes on, and closes files
            files.add(str(path.readlink()))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ports = [int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in files]
    assert ports
    return ports


def test_what_was_killed_goes_on(tmp_path: Path) -> None:
    """The same command once more takes the execution up where it was."""
    first = (
        "if not Path('once').exists():\n    Path('once').touch()\n    print('waits', flush=True)\n    signal.pause()\n"
    )
    write(tmp_path, definition(first.replace("'once'", repr(str(tmp_path / "once"))) + LEARN))
    process = pipeline(tmp_path)
    until(lambda: (tmp_path / "once").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    code, err = finish(pipeline(tmp_path))
    assert code == 0, err
    for path in (tmp_path / "out").glob("*/*/*.json"):  # they hold Environment
        assert path.stat().st_mode & 0o077 == 0, path
    assert re.match(r"The-lab: goes on with \w{12}, which was left by an earlier program\n", err), err
    assert len(list((tmp_path / "out/executions").glob("*/execution.json"))) == 1
    assert len(list((tmp_path / "out/training").glob("pipelines-*"))) == 1


@pytest.mark.parametrize(
    ("options", "path", "value", "expected"),
    [
        (["--parameter", "More=many"], (), None, "Parameter More: the value must be of type Integer. Received: 'many'"),
        (["--name", "a b"], (), None, "1 validation error detected: Value 'a b' at 'pipelineName' failed to satisfy"),
        (["--parameter", "Moer=5"], (), None, "Invalid parameter: the pipeline has no Moer. It has: Data, More, Thre"),
        (["--upload", "none=s3://local/x"], (), None, "--upload takes PATH=s3://BUCKET/KEY, of a file or a folder"),
        (
            ["--upload", "/dev/zero=s3://local/x"],
            (),
            None,
            "--upload takes PATH=s3://BUCKET/KEY, of a file or a folder",
        ),
        (
            [],
            ("Steps", 0, "Type"),
            "Lambda",
            "Unable to parse pipeline definition. Step Train: The local platform runs",
        ),
        (
            [],
            ("Steps", 0, "Name"),
            "<nobody>",
            "The definition has a placeholder that has no local value. Received: <no",
        ),
        (
            [],
            ("Steps",),
            [{"Name": "A", "Type": "Callback", "SqsQueueUrl": "x"}],
            "Step A waits for an answer over the",
        ),
    ],
)
def test_what_cannot_run_is_one_line(
    tmp_path: Path, options: list[str], path: tuple[str | int, ...], value: Any, expected: str
) -> None:
    wrong: Any = definition()
    *outer, last = path or ("Version",)
    inner = wrong
    for part in outer:
        inner = inner[part]
    inner[last] = value or "2020-12-01"
    write(tmp_path, wrong)
    code, err = finish(pipeline(tmp_path, *options))
    assert (code, err.count("\n")) == (2, 1), err
    assert err.startswith(f"local_test: {expected}"), err
    assert not (tmp_path / "out").exists()


def test_a_definition_is_filled_in(tmp_path: Path) -> None:
    write(tmp_path, definition())
    found = json.loads(read_definition(tmp_path / "The lab.json", "the-lab", "mine:1", "eu-west-1"))
    arguments = found["Steps"][0]["Arguments"]
    assert arguments["AlgorithmSpecification"]["TrainingImage"] == "mine:1"
    assert arguments["OutputDataConfig"]["S3OutputPath"] == "s3://local/out"
    assert "DefaultValue" not in found["Parameters"][0]
    text = json.dumps(definition())
    for value in (text, {"PipelineName": "of describe-pipeline", "PipelineDefinition": text}):
        (tmp_path / "x.json").write_text(json.dumps(value))
        assert json.loads(read_definition(tmp_path / "x.json", "the-lab", "mine:1", "eu-west-1")) == found
    (tmp_path / "x.json").write_text('{"PipelineDefinition": "{"}')
    with pytest.raises(BadRequest, match="The definition in it is not JSON: "):
        read_definition(tmp_path / "x.json", "x", "image", "us-east-1")
    for text in ("", "[", "{}x"):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(BadRequest, match="The definition is not JSON"):
            read_definition(tmp_path / "x.json", "x", "image", "us-east-1")
