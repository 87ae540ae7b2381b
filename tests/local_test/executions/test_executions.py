"""Executions over HTTP: order, conditions, failures, parameters, what clients see of them."""

from typing import Any

import pytest

from tests.support.api import check_shape
from tests.support.executions import (
    condition_step,
    create_pipeline,
    ended,
    equals,
    fail_step,
    get,
    register_step,
    start,
    step_statuses,
    steps,
    train_step,
)

pytestmark = pytest.mark.timeout(90)
MODEL = "(BASE / 'model/m').write_text('m')"


def test_steps_run_in_their_order_and_a_model_is_registered(sagemaker: Any) -> None:
    first = train_step("First", MODEL)
    model = get("Steps.First.ModelArtifacts.S3ModelArtifacts")
    check = condition_step(
        "Check",
        [equals(get("Steps.First.TrainingJobStatus"), "Completed"), equals(get("Parameters.Go"), True)],
        [register_step("Register", "group-one", model)],
        [fail_step("Reject", "not good enough")],
    )
    go = {"Name": "Go", "Type": "Boolean", "DefaultValue": True}
    create_pipeline(sagemaker, "Whole", [first, check], go)
    arn = start(sagemaker, "Whole", PipelineExecutionDescription="a try")
    found = ended(sagemaker, arn)
    check_shape("DescribePipelineExecution", found)
    assert found["PipelineExecutionStatus"] == "Succeeded", (found, steps(sagemaker, arn))
    assert found["PipelineExecutionDescription"] == "a try"
    listed = steps(sagemaker, arn)
    assert {name: step["StepStatus"] for name, step in listed.items()} == dict.fromkeys(
        ("First", "Check", "Register"), "Succeeded"
    )
    assert list(listed) == ["First", "Check", "Register"]
    assert listed["Check"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    package = sagemaker.describe_model_package(ModelPackageName=listed["Register"]["Metadata"]["RegisterModel"]["Arn"])
    job = sagemaker.describe_training_job(
        TrainingJobName=listed["First"]["Metadata"]["TrainingJob"]["Arn"].rpartition("/")[2]
    )
    artifact = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert artifact == job["ModelArtifacts"]["S3ModelArtifacts"] != ""

    no = start(sagemaker, "Whole", {"Go": "false"})
    failed = ended(sagemaker, no)
    assert (failed["PipelineExecutionStatus"], failed["FailureReason"]) == ("Failed", "not good enough")
    assert step_statuses(sagemaker, no) == {"First": "Succeeded", "Check": "Succeeded", "Reject": "Failed"}
