"""Scripts of a person's own, in this project's image: submitted and waited for with each SDK, run in containers.

The estimator's script that fails has no network: its code comes as a channel then.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import BUCKET, PREFIX, LaunchServer, sdk_python
from tests.support.missing import missing
from tests.support.wheels import write_wheel

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(400)]
ROLE = "arn:aws:iam::123456789012:role/local"
IMAGE = os.environ.get("IMAGE", "cv-keras-cifar10:local")
DATA, OUT = f"s3://{BUCKET}/{PREFIX}/data/train/", f"s3://{BUCKET}/own/"

# what scripts do: arguments, requirements, a module beside them, input that they change, metrics, a model, a failure
SCRIPT = """
import argparse, json, os, pathlib
from greeting import WORD
from helper import label
parser = argparse.ArgumentParser()
parser.add_argument("--size", type=int)
parser.add_argument("--fail", type=int, default=0)
size = parser.parse_known_args()[0]
folder = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"])
files = sorted(folder.iterdir())
print("files", [path.name for path in files], "size", size.size, label, WORD, flush=True)
files[0].write_text("changed")
files[0].chmod(0o755)
pathlib.Path("/opt/ml/input/data/extracted").mkdir()
if size.fail:
    raise ValueError("label 12 out of range")
print("validation:accuracy=0.75", flush=True)
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
(model / "size").write_text(str(size.size))
"""
BEGIN = """
import logging, sys
logging.basicConfig(level=logging.INFO)
folder = sys.argv[1]
quiet = {"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}}
METRICS = [{"Name": "validation:accuracy", "Regex": "validation:accuracy=([0-9.]+)"}]
def failure(start):
    try:
        start()
    except Exception as error:
        print("FAILURE", " ".join(str(error).split()))
"""
V2 = f"""
from sagemaker.estimator import Estimator
from sagemaker.session import Session
session = Session(default_bucket="{BUCKET}", sagemaker_config=quiet)
def estimator(name, isolated, **hyperparameters):
    return Estimator("{IMAGE}", "{ROLE}", 1, "ml.m5.large", output_path="{OUT}", base_job_name=name,
                     entry_point="train_it.py", source_dir=folder, hyperparameters=hyperparameters,
                     metric_definitions=METRICS, enable_network_isolation=isolated, sagemaker_session=session)
first = estimator("ok", False, size=3)
first.fit({{"train": "{DATA}"}})
print("MODEL", first.model_data)
print("ACCURACY", first.training_job_analytics.dataframe()["value"].tolist())
failure(lambda: estimator("fails", True, size=4, fail=1).fit({{"train": "{DATA}"}}))
"""
TRAINER = f"""
def trainer(name, code, **hyperparameters):
    return ModelTrainer(training_image="{IMAGE}", role="{ROLE}", base_job_name=name, source_code=code,
                        hyperparameters=hyperparameters, sagemaker_session=session,
                        compute=Compute(instance_type="ml.m5.large", instance_count=1),
                        output_data_config=OutputDataConfig(s3_output_path="{OUT}"))
data = [InputData(channel_name="train", data_source="{DATA}")]
script = SourceCode(source_dir=folder, entry_script="train_it.py", requirements="requirements.txt")
first = trainer("ok", script, size=3)
first.with_metric_definitions([MetricDefinition(name=one["Name"], regex=one["Regex"]) for one in METRICS])
first.train(data, wait=True, logs=True)
job = first._latest_training_job
job.refresh()
print("MODEL", job.model_artifacts.s3_model_artifacts)
print("ACCURACY", [metric.value for metric in job.final_metric_data_list])
by_command = SourceCode(source_dir=folder, command="bash run.sh 5", requirements="requirements.txt")
trainer("command", by_command).train(data, wait=True, logs=True)
failure(lambda: trainer("fails", script, size=4, fail=1).train(data, wait=True, logs=True))
"""
V2_MODULES = f"""
from sagemaker.modules import Session
from sagemaker.modules.configs import Compute, InputData, OutputDataConfig, SourceCode
from sagemaker.modules.train import ModelTrainer
from sagemaker_core.shapes import MetricDefinition
session = Session(default_bucket="{BUCKET}")
{TRAINER}
"""
V3 = f"""
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.shapes import MetricDefinition, OutputDataConfig
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.train import ModelTrainer
session = Session(default_bucket="{BUCKET}", sagemaker_config=quiet)
{TRAINER}
"""


@pytest.fixture(scope="module")
def in_containers(tmp_path_factory: pytest.TempPathFactory, docker_engine: Any) -> Iterator[LaunchServer]:
    with LaunchServer(tmp_path_factory.mktemp("containers"), "--runner", "docker", own=False) as server:
        yield server
        # a line of its own: a failed job's reason may name the traceback of its script
        assert not re.search("^Traceback", server.end(), re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A person's `source_dir`."""
    source = tmp_path / "src"
    source.mkdir()
    (source / "train_it.py").write_text(SCRIPT)
    (source / "helper.py").write_text("label = 'helped'\n")
    (source / "run.sh").write_text('python3 train_it.py --size "$1"\n')
    (source / "requirements.txt").write_text("./greeting-1.0-py3-none-any.whl\n")
    write_wheel(source / "greeting-1.0-py3-none-any.whl")
    for path in source.iterdir():
        if os.getuid() == 0:
            os.chown(path, 4321, 4321)  # an archive keeps it
    return source


@pytest.mark.parametrize(
    ("version", "program", "sizes"),
    [("v2", V2, ["3", "4"]), ("v2", V2_MODULES, ["3", "4", "5"]), ("v3", V3, ["3", "4", "5"])],
    ids=["v2-estimator", "v2-modules", "v3"],
)
def test_source_code_is_run_and_waited_for(
    in_containers: LaunchServer, folder: Path, tmp_path: Path, version: str, program: str, sizes: list[str]
) -> None:
    if not Path(sdk_python(version)).exists():
        missing(f"no SageMaker SDK {version}: `make sdk-{version}` makes its environment")
    (tmp_path / "program.py").write_text(BEGIN + program)
    done = in_containers.run([sdk_python(version), str(tmp_path / "program.py"), str(folder)], HOME=str(tmp_path))
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("MODEL", "ACC", "FAIL")))
    for size in sizes:
        assert f"files ['a', 'b'] size {size} helped hello" in said
    assert told["ACCURACY"] == "[0.75]"
    assert "label 12 out of range" in said  # in the log, at least
    assert "AlgorithmError" in told["FAILURE"]

    assert told["MODEL"].startswith(OUT)
    s3 = in_containers.client("s3")
    s3.download_file(BUCKET, told["MODEL"].partition(f"{BUCKET}/")[2], str(tmp_path / "model.tar.gz"))
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        assert tar.getnames() == ["size"]
    body = s3.get_object(Bucket=BUCKET, Key=f"{PREFIX}/data/train/a")["Body"]
    assert body.read() == b"x" * 5  # the job has changed its copy
    body.close()
