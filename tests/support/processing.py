"""Requests for processing jobs. A program is an input, as the SDKs' scripts are: an argument has 256 characters."""

import textwrap
from collections.abc import Mapping
from typing import Any

from tests.support.served import BUCKET, ROLE, until

ROOT = "/opt/ml/processing"


# what every program here begins with; a process finds its /opt/ml by the variable, a container has none of it
HEAD = """
import json, os, signal, sys, time
from pathlib import Path
BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
DATA = BASE / "processing"
"""


def put_program(s3: Any, name: str, code: str) -> str:
    """Its URI."""
    s3.put_object(Bucket=BUCKET, Key=f"code/{name}/script.py", Body=f"{HEAD}{textwrap.dedent(code)}".encode())
    return f"s3://{BUCKET}/code/{name}/script.py"


def processing_request(
    name: str,
    program: str,
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
    **members: Any,
) -> dict[str, Any]:
    """A small valid request. `program`: the URI of a script; `inputs`: name → URI, in the folder of that name;
    `outputs`: name → upload mode, to the prefix <job>/<name>; `members` replace its own."""
    found = {"code": program, **(inputs or {})}
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "image", "ContainerEntrypoint": ["python3", f"{ROOT}/code/script.py"]},
        "ProcessingInputs": [s3_input(key, uri) for key, uri in found.items()],
        "ProcessingOutputConfig": {
            "Outputs": [s3_output(key, f"s3://{BUCKET}/{name}/{key}", mode) for key, mode in (outputs or {}).items()]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **members,
    }


def s3_input(name: str, uri: str, **members: Any) -> dict[str, Any]:
    source = {"S3Uri": uri, "LocalPath": f"{ROOT}/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": {**source, **members}}


def s3_output(name: str, uri: str, mode: str = "EndOfJob", **members: Any) -> dict[str, Any]:
    place = {"S3Uri": uri, "LocalPath": f"{ROOT}/{name}", "S3UploadMode": mode}
    return {"OutputName": name, "S3Output": {**place, **members}}


def processed(sagemaker: Any, name: str) -> dict[str, Any]:
    """The description of the job once it is over."""

    def over() -> dict[str, Any] | None:
        description = sagemaker.describe_processing_job(ProcessingJobName=name)
        return description if description["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped") else None

    return until(over)
