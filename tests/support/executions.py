"""Pipelines of small programs: definitions, and executions as clients see them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.served import BUCKET, ROLE, request, until

FINAL = ("Succeeded", "Failed", "Stopped")
Json = dict[str, Any]


def get(path: str) -> Json:
    return {"Get": path}


def train_step(name: str, program: str = "", **members: Any) -> Json:
    """A Training step whose program is the Python code; `members` of the step, those of its arguments in lower case."""
    arguments = request("unnamed", program)
    del arguments["TrainingJobName"]
    arguments |= members.pop("arguments", {})
    return {"Name": name, "Type": "Training", "Arguments": arguments, **members}


def fail_step(name: str, message: Any) -> Json:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def condition_step(name: str, conditions: Sequence[Json], then: Sequence[Json], otherwise: Sequence[Json] = ()) -> Json:
    arguments = {"Conditions": list(conditions), "IfSteps": list(then), "ElseSteps": list(otherwise)}
    return {"Name": name, "Type": "Condition", "Arguments": arguments}


def equals(left: Any, right: Any) -> Json:
    return {"Type": "Equals", "LeftValue": left, "RightValue": right}


def definition(steps: Sequence[Json], parameters: Sequence[Json] = (), **members: Any) -> Json:
    return {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": list(parameters),
        "PipelineExperimentConfig": None,
        "Steps": list(steps),
        **members,
    }


def create_pipeline(sagemaker: Any, name: str, steps: Sequence[Json], *parameters: Json, **members: Any) -> None:
    text = json.dumps(definition(steps, parameters, **members))
    token = f"{name:-<32}"
    sagemaker.create_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=ROLE, ClientRequestToken=token)


def start(sagemaker: Any, name: str, values: Mapping[str, str] | None = None, **members: Any) -> str:
    """The execution's ARN."""
    given = [{"Name": key, "Value": value} for key, value in (values or {}).items()]
    return str(
        sagemaker.start_pipeline_execution(PipelineName=name, PipelineParameters=given, **members)[
            "PipelineExecutionArn"
        ]
    )


def describe(sagemaker: Any, arn: str) -> Json:
    return dict(sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn))


def ended(sagemaker: Any, arn: str) -> Json:
    """The execution's description, once it is over."""

    def over() -> Json | None:
        found = describe(sagemaker, arn)
        return found if found["PipelineExecutionStatus"] in FINAL else None

    return dict(until(over))


def steps(sagemaker: Any, arn: str) -> dict[str, Json]:
    """Those that were begun, in their order."""
    answer = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn, SortOrder="Ascending", MaxResults=100)
    return {step["StepName"]: step for step in answer["PipelineExecutionSteps"]}


def step_statuses(sagemaker: Any, arn: str) -> dict[str, str]:
    return {name: step["StepStatus"] for name, step in steps(sagemaker, arn).items()}


def wait_for_step(sagemaker: Any, arn: str, name: str, status: str = "Executing") -> Json:
    """The step, once it has that status."""

    def reached() -> Json | None:
        found = steps(sagemaker, arn).get(name)
        return found if found and found["StepStatus"] == status else None

    return dict(until(reached))


def register_step(name: str, group: str, model: Any, **arguments: Any) -> Json:
    container = {"Image": "image", "ModelDataUrl": model}
    specification = {
        "Containers": [container],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }
    return {
        "Name": name,
        "Type": "RegisterModel",
        "Arguments": {"ModelPackageGroupName": group, "InferenceSpecification": specification, **arguments},
    }


def job_name(step: Json, kind: str = "TrainingJob") -> str:
    return str(step["Metadata"][kind]["Arn"]).rpartition("/")[2]


OUT = f"s3://{BUCKET}/out"
