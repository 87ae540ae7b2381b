"""launch/pipeline.json, filled in; the SDKs build the same; its pictures; what a command line lacks."""

import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from launch.pipeline.execution import describe_step
from tests.support.clients import BUCKET, LaunchServer, sdk_python
from tests.support.missing import missing
from tests.support.pictures import draw_pictures
from tests.support.served import ROOT

HOME = f"s3://{BUCKET}/cv_keras_cifar10"
MODULES = {"boto3": "launch.pipeline", "v2": "launch.pipeline.sdk_v2", "v3": "launch.pipeline.sdk_v3"}
# What an SDK adds by itself, or writes in another way: path → what it says.
REGISTER = "CheckAccuracy.IfSteps.Register."
SAME = {
    "Tune.HyperParameterTuningJobConfig.TrainingJobEarlyStoppingType": "Off",
    f"{REGISTER}ModelMetrics.Bias": {},
    f"{REGISTER}ModelMetrics.Explainability": {},
    f"{REGISTER}SkipModelValidation": "None",
}
CONTAINER = f"{REGISTER}InferenceSpecification.Containers.Environment"
ADDED: dict[str, dict[str, Any]] = {
    "v2": SAME
    | {
        CONTAINER: {},
        "Train.ProfilerConfig": {"DisableProfiler": True},
        "Tune.HyperParameterTuningJobConfig.ParameterRanges.IntegerParameterRanges": [],
    },
    "v3": SAME
    | {
        CONTAINER: {
            "SAGEMAKER_PROGRAM": "", "SAGEMAKER_SUBMIT_DIRECTORY": "", "SAGEMAKER_CONTAINER_LOG_LEVEL": "20",
            "SAGEMAKER_REGION": "us-east-1",
        }
    },
}  # fmt: skip
BUILD = """
import importlib, json, sys
from launch.pipeline.definition import Options
options = Options("an-image", "arn:aws:iam::123456789012:role/local", sys.argv[2], "a-pipeline", dataset="some")
print("DEFINITION", importlib.import_module(sys.argv[1]).build(options).definition())
"""


def by_name(value: Any) -> Any:
    """Steps and what they hold by their names, so that a path can name them; numbers of ranges as numbers."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "Name" in item for item in value):
        return {item["Name"].partition("-Register")[0]: by_name(item.get("Arguments", item)) for item in value}
    if isinstance(value, list):
        return by_name(value[0]) if len(value) == 1 and isinstance(value[0], dict) else value
    if not isinstance(value, dict):
        return value
    found = {name: by_name(item) for name, item in value.items()}
    return {name: float(item) if name in ("MinValue", "MaxValue") else item for name, item in found.items()}


def without(definition: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """The steps without what an SDK adds, all of which is there."""
    steps = by_name(definition["Steps"])
    for path, value in added.items():
        *outer, last = path.split(".")
        place = steps
        for part in outer:
            place = place[part]
        assert place.pop(last) == value, path
    job = steps["Tune"]["TrainingJobDefinition"]
    if resources := job.pop("HyperParameterTuningResourceConfig", None):  # SDK v2 takes the newer of two members
        job["ResourceConfig"] = resources
    return steps


def print_definition(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "launch.pipeline.definition", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v2", "v3"])
def test_an_sdk_builds_the_same(launched: LaunchServer, tmp_path: Path, version: str) -> None:
    if not Path(sdk_python(version)).exists():
        missing(f"no SageMaker SDK {version}: `make sdk-{version}` makes its environment")
    (tmp_path / "build.py").write_text(BUILD)
    command = [sdk_python(version), str(tmp_path / "build.py"), MODULES[version], BUCKET]
    done = launched.run(command, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("DEFINITION "))
    built = json.loads(line.removeprefix("DEFINITION "))
    role = "arn:aws:iam::123456789012:role/local"
    options = ("--image", "an-image", "--role", role, "--bucket", BUCKET, "--name", "a-pipeline")
    expected = print_definition(*options, "--parameter", "Pictures=some")
    assert without(built, ADDED[version]) == without(expected, {})
    for member in ("Version", "Parameters", "PipelineExperimentConfig"):
        assert built[member] == expected[member]
    for name in ("CacheConfig", "DependsOn", "PropertyFiles"):
        assert [step.get(name) for step in built["Steps"]] == [step.get(name) for step in expected["Steps"]]


def test_what_an_sdk_adds_is_in_the_docs() -> None:
    page = (ROOT / "docs/launch.md").read_text().partition("## A pipeline")[2]
    listed = re.findall(r"^\| `sdk_(\w+)` \| `([\w.]+)` \| `(.+)` \|$", page, re.MULTILINE)
    added = [(version, path, json.dumps(value)) for version, one in ADDED.items() for path, value in one.items()]
    assert listed == added


def test_its_jobs_are_those_of_the_other_files() -> None:
    """Metrics, ranges and limits drift apart nowhere."""
    steps = by_name(print_definition(*WORDS, "--parameter", "Pictures=x")["Steps"])
    job, tuning = (
        by_name(json.loads((ROOT / f"launch/{name}_job.json").read_text())) for name in ("training", "tuning")
    )
    metrics = job["AlgorithmSpecification"]["MetricDefinitions"]
    assert steps["Train"]["AlgorithmSpecification"]["MetricDefinitions"] == metrics
    config = steps["Tune"]["HyperParameterTuningJobConfig"]
    assert config["ParameterRanges"] == tuning["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert steps["Tune"]["TrainingJobDefinition"]["InputDataConfig"] == steps["Train"]["InputDataConfig"]
    assert steps["Train"]["AlgorithmSpecification"]["TrainingInputMode"] == "Pipe"


WORDS = ("--image", "an-image", "--role", "local", "--bucket", BUCKET)


def run(launched: LaunchServer, *words: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
    return launched.run([sys.executable, "-m", "launch.pipeline", *WORDS, *words], **changes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Which pictures? Give --pictures PATH, or --parameter Pictures=NAME. --help says more."),
        (("--pictures", "a", "--parameter", "Pictures=b"), "--pictures and --parameter Pictures exclude each other."),
        (("--pictures", "a", "--parameter", "Epochs"), "--parameter must be NAME=VALUE. Received: Epochs"),
        (("--pictures", "a", "--name", "no name"), "--name must be letters, digits and hyphens."),
        (("--pictures", "/none"), "--pictures can't be read: No such file or directory. Received: /none."),
        (("--pictures", "/dev/zero"), "--pictures must be a file or a folder. Received: /dev/zero."),
        (("--pictures", __file__), f"--pictures must be a zip, a tar or a folder. Received: {__file__}."),
        (("--pictures", "{empty}"), "--pictures has no file in it. Received: "),
        (("--parameter", "Pictures=none"), f"There are no pictures. Received: nothing at {HOME}/pictures/none/. Give"),
        (("--pictures", "a", "--role", "nobody"), "The role does not exist in this account. Received: nobody."),
        (("--pictures", "a", "--bucket", "not-there"), "The bucket does not exist. Received: not-there."),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_line(
    launched: LaunchServer, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    done = run(launched, *(word.format(empty=tmp_path) for word in words))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(message)
    assert "Traceback" not in done.stderr


def test_pictures_are_uploaded_once_below_their_digest(launched: LaunchServer, tmp_path: Path) -> None:
    """A folder as an archive, the same on every machine; a change of a pixel is another one."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom launch.pipeline.pictures import upload\n"
        f"print('UPLOADED', upload(Path(sys.argv[1]), '{BUCKET}'))"
    )

    def upload(path: Path) -> list[str]:
        done = launched.run([sys.executable, "-c", program, str(path)])
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    zoo = draw_pictures(tmp_path / "zoo", 3, 2)
    said, last = upload(zoo)
    digest = last.removeprefix("UPLOADED ")
    assert said.startswith(f"-- upload {zoo} to {HOME}/pictures/{digest}/pictures.tar, ")
    for path in zoo.rglob("*"):
        path.touch()
    assert upload(zoo) == [last]
    s3 = launched.client("s3")
    s3.download_file(BUCKET, f"cv_keras_cifar10/pictures/{digest}/pictures.tar", str(tmp_path / "kept.tar"))
    with tarfile.open(tmp_path / "kept.tar") as tar:
        names = tar.getnames()
    assert sorted(names) == sorted(path.relative_to(zoo).as_posix() for path in zoo.rglob("*") if path.is_file())
    assert len(names) == 10
    assert upload(tmp_path / "kept.tar")[-1] == last
    next(zoo.rglob("*.png")).write_bytes(b"another")
    assert upload(zoo)[-1] != last


def test_a_line_for_a_step() -> None:
    arn = "arn:aws:sagemaker:us-east-1:123456789012:"
    step: dict[str, Any] = {"StepName": "Train", "StepStatus": "Executing"}
    assert describe_step(step) == "Train                  Executing"
    step["Metadata"] = {"TrainingJob": {"Arn": f"{arn}training-job/one"}}
    assert describe_step(step) == "Train                  Executing  one"
    cached = step | {"StepStatus": "Succeeded", "CacheHitResult": {"SourcePipelineExecutionArn": "a"}}
    assert describe_step(cached).endswith("one  not run again: the result of an earlier execution")
    failed = step | {"StepStatus": "Failed", "FailureReason": "ClientError: no data"}
    assert describe_step(failed).endswith("Failed  one  ClientError: no data")
    check = {"StepName": "Check", "StepStatus": "Succeeded", "Metadata": {"Condition": {"Outcome": "False"}}}
    assert describe_step(check) == "Check                  Succeeded  False"
    refuse = {
        "StepName": "R",
        "StepStatus": "Failed",
        "FailureReason": "low",
        "Metadata": {"Fail": {"ErrorMessage": "low"}},
    }
    assert describe_step(refuse) == "R                      Failed  low"
