"""The whole pipeline in containers, by each client: from pictures to a registered model, once more, and refused."""

import json
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import BUCKET, LaunchServer, sdk_python
from tests.support.end_to_end import IMAGE
from tests.support.missing import missing
from tests.support.pictures import draw_pictures
from tests.support.served import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]
ROLE = "arn:aws:iam::123456789012:role/local"
CACHED = ["Prepare", "Train", "Tune", "Evaluate"]
LIMIT = 500  # seconds; 30 are usual
FEW = {"Epochs": "1", "TuningJobs": "2"}
SDK = f"""
import importlib, sys
from pathlib import Path
from launch.pipeline.definition import Options
from launch.pipeline.run import prepare
_, version, name, folder = sys.argv
options = prepare(Options({IMAGE!r}, "local", {BUCKET!r}, name, Path(folder)))
pipeline = importlib.import_module("launch.pipeline.sdk_" + version).build(options)
pipeline.upsert(role_arn=options.role)
pipeline.start(parameters={FEW | {"AccuracyThreshold": 0.0}}).wait(delay=1, max_attempts=300)
pipeline.upsert(role_arn=options.role)  # it is there already
refused = pipeline.start(parameters={FEW | {"AccuracyThreshold": 1.5}})
try:
    refused.wait(delay=1, max_attempts=60)
except Exception as error:
    print("REFUSED", type(error).__name__)
print("STEPS", sorted(step["StepName"] for step in refused.list_steps()))
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, docker_engine: Any) -> Iterator[LaunchServer]:
    folder = tmp_path_factory.mktemp("pipelines")
    with LaunchServer(folder, "--runner", "docker", "--parallel", "2", own=False) as server:
        yield server
        assert "Traceback" not in server.end()
    left = docker_engine.containers.list(all=True, filters={"label": "sagemaker-local-job"})
    assert [one.name for one in left if "pipelines-" in one.labels["sagemaker-local-job"]] == []


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_pictures(tmp_path_factory.mktemp("pictures") / "zoo", 120, 30)


def run_boto3(served: LaunchServer, name: str, zoo: Path) -> None:
    words = ("--image", IMAGE, "--role", "local", "--bucket", BUCKET, "--pictures", str(zoo), "--name", name, "--wait")
    for threshold, code, last in (("0", 0, f"model-package/{name}/1"), ("1.5", 1, "/evaluation.json")):
        parameters = [f"{key}={value}" for key, value in (FEW | {"AccuracyThreshold": threshold}).items()]
        given = [word for parameter in parameters for word in ("--parameter", parameter)]
        done = served.run([sys.executable, "-m", "launch.pipeline", *words, *given], LIMIT)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert done.stdout.splitlines()[-1].endswith(last)
        for step in CACHED:
            assert any(line.startswith(f"{step} ") and " Succeeded " in line for line in done.stdout.splitlines())


def test_why_pictures_can_not_be_prepared_is_said(served: LaunchServer, tmp_path: Path) -> None:
    """In the container's own words: its ExitMessage."""
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("notes.txt", "no pictures")
    words = ("--image", IMAGE, "--role", "local", "--bucket", BUCKET, "--pictures", str(tmp_path / "notes.zip"))
    done = served.run([sys.executable, "-m", "launch.pipeline", *words, "--name", "no-pictures", "--wait"])
    assert done.returncode == 1, done.stderr
    said = "Prepare said: /opt/ml/processing/pictures/notes.zip has no "
    assert any(line.startswith(said) for line in done.stdout.splitlines()), done.stdout


def run_sdk(served: LaunchServer, name: str, zoo: Path, version: str) -> None:
    if not Path(sdk_python(version)).exists():
        missing(f"no SageMaker SDK {version}: `make sdk-{version}` makes its environment")
    program = zoo.parent / "program.py"
    program.write_text(SDK)
    done = served.run([sdk_python(version), str(program), version, name, str(zoo)], LIMIT, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr[-3000:]
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("REFUSED", "STEPS")))
    assert lines["REFUSED"] in ("WaiterError", "PipelineExecutionFailedError"), done.stdout
    assert lines["STEPS"] == str(sorted([*CACHED, "CheckAccuracy", "Refuse"]))


@pytest.mark.parametrize("client", ["boto3", "v2", "v3"])
def test_pictures_become_a_registered_model(served: LaunchServer, zoo: Path, tmp_path: Path, client: str) -> None:
    name = f"by-{client}"
    if client == "boto3":
        run_boto3(served, name, zoo)
    else:
        run_sdk(served, name, zoo, client)
    sagemaker = served.client("sagemaker")
    listed = sagemaker.list_pipeline_executions(PipelineName=name, SortOrder="Ascending")["PipelineExecutionSummaries"]
    first, second = (item["PipelineExecutionArn"] for item in listed)
    check_first(served, first, tmp_path)
    check_second(sagemaker, second)


def read_steps(sagemaker: Any, execution: str) -> dict[str, dict[str, Any]]:
    """By the name in launch/pipeline.json."""
    found = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=execution)["PipelineExecutionSteps"]
    return {step["StepName"].partition("-Register")[0]: step for step in found}


def check_first(served: LaunchServer, execution: str, folder: Path) -> None:
    """Each step ran; what is registered is the best model of the tuning job, and what its own job said of it."""
    sagemaker = served.client("sagemaker")
    steps = read_steps(sagemaker, execution)
    assert {step["StepStatus"] for step in steps.values()} == {"Succeeded"}
    assert sorted(steps) == sorted([*CACHED, "CheckAccuracy", "Register"])
    assert not any("CacheHitResult" in step for step in steps.values())
    trained = describe_job(sagemaker, steps["Train"]["Metadata"]["TrainingJob"]["Arn"])
    assert trained["AlgorithmSpecification"]["TrainingInputMode"] == "Pipe"
    assert trained["HyperParameters"]["epochs"].strip('"') == "1"

    tuned = sagemaker.describe_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=steps["Tune"]["Metadata"]["TuningJob"]["Arn"].rpartition("/")[2]
    )
    assert tuned["TrainingJobStatusCounters"]["Completed"] == 2
    best = describe_job(sagemaker, tuned["BestTrainingJob"]["TrainingJobArn"])
    package = sagemaker.describe_model_package(ModelPackageName=steps["Register"]["Metadata"]["RegisterModel"]["Arn"])
    (container,) = package["InferenceSpecification"]["Containers"]
    assert container["ModelDataUrl"] == best["ModelArtifacts"]["S3ModelArtifacts"]
    assert package["ModelApprovalStatus"] == "PendingManualApproval"

    metrics = json.loads(fetch(served, package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]))
    (folder / "output.tar.gz").write_bytes(fetch(served, container["ModelDataUrl"].replace("/model.", "/output.")))
    with tarfile.open(folder / "output.tar.gz") as tar:
        (member,) = (item for item in tar if item.name.endswith("evaluation.json"))
        own = json.load(tar.extractfile(member))  # type: ignore[arg-type]  # it is a file
    assert metrics["multiclass_classification_metrics"]["accuracy"]["value"] == own["accuracy"]
    assert metrics["confusion_matrix"] == own["confusion_matrix"]
    assert metrics["loss"] == pytest.approx(own["loss"], rel=1e-6)
    final = tuned["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
    assert final == pytest.approx(own["accuracy"], abs=1e-6)

    trial = sagemaker.list_trial_components(TrialName=execution.rpartition("/")[2])["TrialComponentSummaries"]
    assert len(trial) >= len(CACHED)


def check_second(sagemaker: Any, execution: str) -> None:
    """Nothing of it ran; the Fail step's message is the execution's."""
    described = sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
    assert described["PipelineExecutionStatus"] == "Failed"
    reason = described["FailureReason"]
    assert reason.startswith("The best model's accuracy is below AccuracyThreshold, which is 1.5: see s3://")
    steps = read_steps(sagemaker, execution)
    assert [name for name in CACHED if "CacheHitResult" not in steps[name]] == []
    assert steps["Refuse"]["Metadata"]["Fail"]["ErrorMessage"] == reason
    assert "Register" not in steps
    own = execution.rpartition("/")[2]
    assert sagemaker.list_training_jobs(NameContains=own)["TrainingJobSummaries"] == []
    assert sagemaker.list_processing_jobs(NameContains=own)["ProcessingJobSummaries"] == []


def describe_job(sagemaker: Any, arn: str) -> Mapping[str, Any]:
    return sagemaker.describe_training_job(TrainingJobName=arn.rpartition("/")[2])


def fetch(served: LaunchServer, uri: str) -> bytes:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return served.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
