"""A script of the user's as a process: the training toolkit itself, with what the platform writes."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.served import ROOT

REQUEST = {
    "TrainingJobName": "<name>",
    "AlgorithmSpecification": {"TrainingImage": "any:local", "TrainingInputMode": "File"},
    "RoleArn": "<role>",
    "OutputDataConfig": {"S3OutputPath": "s3://<bucket>/jobs/"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
}


def test_a_script_runs(tmp_path: Path) -> None:
    """There is no name algo-1 that the toolkit could wait for."""
    code = (
        "import os\nprint('on', os.environ['SM_CURRENT_HOST'])\nopen(os.environ['SM_MODEL_DIR'] + '/m', 'w').close()\n"
    )
    (tmp_path / "code").mkdir()
    (tmp_path / "code/mine.py").write_text(code)
    hyperparameters = {
        "sagemaker_program": '"mine.py"',
        "sagemaker_submit_directory": json.dumps(str(tmp_path / "code")),
    }
    (tmp_path / "job.json").write_text(json.dumps(REQUEST | {"HyperParameters": hyperparameters}))
    command = ["local_test", "train", "--runner", "process", "--job", "job.json", "--name", "scripted"]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on algo-1" in done.stdout + done.stderr
    assert (tmp_path / "jobs/scripted/model.tar.gz").exists()
