"""A processing script, run with each SDK in two containers of this project's image, its data in S3."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import BUCKET, PREFIX, LaunchServer, sdk_python
from tests.support.missing import missing

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.timeout(400)]
ROLE = "arn:aws:iam::123456789012:role/local"
IMAGE = os.environ.get("IMAGE", "cv-keras-cifar10:local")
DATA, OUT = f"s3://{BUCKET}/{PREFIX}/data/train/", f"s3://{BUCKET}/processed"

# each host gets one of the two objects, meets the other by its name, and counts with the image's own packages
SCRIPT = """
import json, pathlib, socket, sys
import numpy as np
from train.runtime.environment import OPT_ML
if "--fail" in sys.argv:
    pathlib.Path("/opt/ml/output/message").write_text("label 12 out of range")
    sys.exit("this is the end")
resources = json.loads(pathlib.Path("/opt/ml/config/resourceconfig.json").read_text())
host = resources["current_host"]
addresses = {name: socket.gethostbyname(name) for name in resources["hosts"]}
assert len(set(addresses.values())) == 2, addresses
job = json.loads(pathlib.Path("/opt/ml/config/processingjobconfig.json").read_text())
(path,) = pathlib.Path("/opt/ml/processing/input/data").iterdir()
size = int(np.frombuffer(path.read_bytes(), np.uint8).size)
print("host", host, "has", path.name, "of", size, "arguments", sys.argv[1:], flush=True)
out = pathlib.Path("/opt/ml/processing/output/sizes")
out.mkdir()
(out / f"{host}.json").write_text(json.dumps({path.name: size, "arn": job["ProcessingJobArn"]}))
"""
BEGIN = f"""
import logging, sys
logging.basicConfig(level=logging.INFO)
script = sys.argv[1]
quiet = {{"SchemaVersion": "1.0", "SageMaker": {{"PythonSDK": {{"Modules": {{"TelemetryOptOut": True}}}}}}}}
def run(processor, inputs, outputs):
    processor.run(code=script, inputs=inputs, outputs=outputs, arguments=["--size", "5"], wait=True, logs=True)
    try:
        processor.run(code=script, inputs=inputs, outputs=outputs, arguments=["--fail"], wait=True, logs=True)
    except Exception as error:
        print("FAILURE", " ".join(str(error).split()))
members = dict(role="{ROLE}", image_uri="{IMAGE}", command=["python3"], instance_count=2,
               instance_type="ml.m5.large", base_job_name="processed")
"""
V2 = f"""
from sagemaker.processing import ProcessingInput, ProcessingOutput, ScriptProcessor
from sagemaker.session import Session
session = Session(default_bucket="{BUCKET}", sagemaker_config=quiet)
data = ProcessingInput("{DATA}", "/opt/ml/processing/input/data", s3_data_distribution_type="ShardedByS3Key")
out = ProcessingOutput("/opt/ml/processing/output", "{OUT}/v2", output_name="out")
run(ScriptProcessor(**members, sagemaker_session=session), [data], [out])
"""
V3 = f"""
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.processing import ScriptProcessor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
session = Session(default_bucket="{BUCKET}", sagemaker_config=quiet)
place = ProcessingS3Input(s3_uri="{DATA}", local_path="/opt/ml/processing/input/data", s3_data_type="S3Prefix",
                          s3_input_mode="File", s3_data_distribution_type="ShardedByS3Key")
there = ProcessingS3Output(s3_uri="{OUT}/v3", local_path="/opt/ml/processing/output", s3_upload_mode="EndOfJob")
data, out = ProcessingInput(input_name="data", s3_input=place), ProcessingOutput(output_name="out", s3_output=there)
run(ScriptProcessor(**members, sagemaker_session=session), [data], [out])
"""


@pytest.fixture(scope="module")
def in_containers(tmp_path_factory: pytest.TempPathFactory, docker_engine: Any) -> Iterator[LaunchServer]:
    with LaunchServer(tmp_path_factory.mktemp("containers"), "--runner", "docker", own=False) as server:
        yield server
        assert "Traceback" not in server.end()


@pytest.mark.parametrize(("version", "program"), [("v2", V2), ("v3", V3)])
def test_a_script_is_run_and_waited_for(
    in_containers: LaunchServer, tmp_path: Path, version: str, program: str
) -> None:
    if not Path(sdk_python(version)).exists():
        missing(f"no SageMaker SDK {version}: `make sdk-{version}` makes its environment")
    (tmp_path / "program.py").write_text(BEGIN + program)
    (tmp_path / "prepare.py").write_text(SCRIPT)
    command = [sdk_python(version), str(tmp_path / "program.py"), str(tmp_path / "prepare.py")]
    done = in_containers.run(command, HOME=str(tmp_path))
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    for host, name in (("algo-1", "a"), ("algo-2", "b")):
        assert f"host {host} has {name} of 5 arguments ['--size', '5']" in said
    assert "this is the end" in said
    assert "FAILURE" in done.stdout  # not by what: of SDK v3 it is an AttributeError of its own

    s3 = in_containers.client("s3")
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"processed/{version}/")["Contents"]
    assert [item["Key"] for item in found] == [f"processed/{version}/sizes/algo-{n}.json" for n in (1, 2)]
    *_, failed = in_containers.client("sagemaker").list_processing_jobs()["ProcessingJobSummaries"]
    assert failed["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert failed["ExitMessage"] == "label 12 out of range" * 2
