"""Executions over HTTP: order, conditions, failures, parameters, what clients see of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import check_shape, refusal_of
from tests.support.executions import (
    condition_step,
    create_pipeline,
    describe,
    ended,
    equals,
    fail_step,
    get,
    job_name,
    register_step,
    start,
    step_statuses,
    steps,
    train_step,
    wait_for_step,
)
from tests.support.processing import processing_request, put_program
from tests.support.served import BUCKET, WAIT, printed, until

MODEL = "(BASE / 'model/m').write_text('m')"
GO = {"Name": "Go", "Type": "Boolean", "DefaultValue": True}


def test_steps_run_in_their_order_and_a_model_is_registered(sagemaker: Any) -> None:
    model = get("Steps.First.ModelArtifacts.S3ModelArtifacts")
    conditions = [equals(get("Steps.First.TrainingJobStatus"), "Completed"), equals(get("Parameters.Go"), True)]
    check = condition_step(
        "Check", conditions, [register_step("Register", "group-one", model)], [fail_step("Reject", "not good enough")]
    )
    create_pipeline(sagemaker, "Whole", [train_step("First", MODEL), check], GO)
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
    job = sagemaker.describe_training_job(TrainingJobName=job_name(listed["First"]))
    artifact = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    assert artifact == job["ModelArtifacts"]["S3ModelArtifacts"] != ""
    tags = sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "sagemaker:pipeline-execution-arn": arn,
        "sagemaker:pipeline-step-name": "First",
    }
    no = start(sagemaker, "Whole", {"Go": "false"})
    failed = ended(sagemaker, no)
    assert (failed["PipelineExecutionStatus"], failed["FailureReason"]) == ("Failed", "not good enough")
    assert step_statuses(sagemaker, no) == {"First": "Succeeded", "Check": "Succeeded", "Reject": "Failed"}


def test_a_property_file_decides(sagemaker: Any, s3: Any) -> None:
    """The metrics that a processing step leaves in S3 are read, and go with the model."""
    code = (
        "import json\nfolder = BASE / 'processing/out'\nfolder.mkdir(parents=True, exist_ok=True)\n"
        "(folder / 'metrics.json').write_text(json.dumps({'test': [{'accuracy': 0.75}]}))"
    )
    evaluate = processing_request("evaluated", put_program(s3, "evaluate", code), outputs={"out": "EndOfJob"})
    del evaluate["ProcessingJobName"]
    file = {"PropertyFileName": "Report", "OutputName": "out", "FilePath": "metrics.json"}
    report = {"ContentType": "application/json", "S3Uri": get(
        "Steps.Evaluate.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri")}  # fmt: skip
    accuracy = {"Std:JsonGet": {"PropertyFile": get("Steps.Evaluate.PropertyFiles.Report"), "Path": "test[0].accuracy"}}
    more = {"Type": "GreaterThanOrEqualTo", "LeftValue": accuracy, "RightValue": get("Parameters.Least")}
    register = register_step("Register", "evaluated", "s3://b/m", ModelMetrics={"ModelQuality": {"Statistics": report}})
    message = {"Std:Join": {"On": " ", "Values": ["accuracy", accuracy, "<", get("Parameters.Least")]}}
    create_pipeline(
        sagemaker,
        "Judged",
        [
            {"Name": "Evaluate", "Type": "Processing", "Arguments": evaluate, "PropertyFiles": [file]},
            condition_step("Check", [more], [register], [fail_step("Reject", message)]),
        ],
        {"Name": "Least", "Type": "Float", "DefaultValue": 0.7},
    )
    good, bad = start(sagemaker, "Judged"), start(sagemaker, "Judged", {"Least": "0.8"})
    assert ended(sagemaker, good)["PipelineExecutionStatus"] == "Succeeded", steps(sagemaker, good)
    arn = steps(sagemaker, good)["Register"]["Metadata"]["RegisterModel"]["Arn"]
    metrics = sagemaker.describe_model_package(ModelPackageName=arn)["ModelMetrics"]
    assert metrics["ModelQuality"]["Statistics"]["S3Uri"] == f"s3://{BUCKET}/evaluated/out"
    assert ended(sagemaker, bad)["FailureReason"] == "accuracy 0.75 < 0.8"
    listed = sagemaker.list_pipeline_executions(PipelineName="Judged")["PipelineExecutionSummaries"]
    assert listed[0]["PipelineExecutionFailureReason"] == "Step failure: One or multiple steps failed."
    assert step_statuses(sagemaker, bad)["Check"] == "Succeeded"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": "\\ud800"}', "A property file must be JSON: 'utf-8' codec can't encode character"),
        (b'{"a": "' + bytes(17 << 20) + b'"}', "is too large. Received: more than 16777216 bytes"),
        (b"[" * 100_000, "A property file must be JSON: maximum recursion depth exceeded"),
        (b'{"a": "' + b"x" * 9999 + b'"}', "x" * 1000),
    ],
    ids=["no text", "large", "deep", "long"],
)
def test_whatever_a_property_file_holds_the_execution_ends(
    sagemaker: Any, s3: Any, content: bytes, reason: str
) -> None:
    s3.put_object(Bucket=BUCKET, Key="odd.json", Body=content)
    message = {"Std:JsonGet": {"S3Uri": f"s3://{BUCKET}/odd.json", "Path": "a"}}
    name = f"Odd-{len(content)}"
    create_pipeline(sagemaker, name, [fail_step("Say", message)])
    arn = start(sagemaker, name)
    assert ended(sagemaker, arn)["PipelineExecutionStatus"] == "Failed"
    assert reason in steps(sagemaker, arn)["Say"]["FailureReason"]


def test_a_failed_step_lets_running_ones_end_and_starts_no_more(sagemaker: Any, tmp_path: Path) -> None:
    """And RetryPipelineExecution begins what has failed again, in a job of another name."""
    marker, gate = tmp_path / "marker", tmp_path / "gate"
    fails = f"if not Path({str(marker)!r}).exists(): (BASE / 'output/failure').write_text('broken'); sys.exit(3)"
    waits = f"\nwhile not Path({str(gate)!r}).exists(): time.sleep(0.05)"
    wanted = [train_step("Fails", fails), train_step("Waits", waits), train_step("After", DependsOn=["Waits"])]
    create_pipeline(sagemaker, "Failing", wanted)
    arn = start(sagemaker, "Failing")
    failed = wait_for_step(sagemaker, arn, "Fails", "Failed")
    assert failed["FailureReason"] == "ClientError: AlgorithmError: broken, exit code: 3"
    assert describe(sagemaker, arn)["PipelineExecutionStatus"] == "Executing"
    gate.touch()
    found = ended(sagemaker, arn)
    assert found["FailureReason"] == "Step failure: One or multiple steps failed."
    assert step_statuses(sagemaker, arn) == {"Fails": "Failed", "Waits": "Succeeded"}
    listed = sagemaker.list_pipeline_executions(PipelineName="Failing")["PipelineExecutionSummaries"]
    assert [item["PipelineExecutionFailureReason"] for item in listed] == [found["FailureReason"]]
    before = steps(sagemaker, arn)
    marker.touch()
    sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
    assert ended(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded"
    after = steps(sagemaker, arn)
    assert {name: step["AttemptCount"] for name, step in after.items()} == {"Waits": 1, "Fails": 2, "After": 1}
    assert after["Waits"] == before["Waits"]
    assert job_name(after["Fails"]) != job_name(before["Fails"])
    refusal_of(sagemaker.retry_pipeline_execution, "ConflictException", PipelineExecutionArn=arn)


def test_stop_ends_running_jobs_and_retry_goes_on(sagemaker: Any, served: Any) -> None:
    create_pipeline(sagemaker, "Stopped", [train_step("Waits", WAIT), train_step("After", DependsOn=["Waits"])])
    arn = start(sagemaker, "Stopped")
    job = job_name(wait_for_step(sagemaker, arn, "Waits"))
    printed(served, job, "ready")
    assert sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionArn"] == arn
    token = {"PipelineExecutionArn": arn, "ClientRequestToken": "t" * 32}
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)  # once more changes nothing
    assert ended(sagemaker, arn)["PipelineExecutionStatus"] == "Stopped"
    assert step_statuses(sagemaker, arn) == {"Waits": "Stopped"}
    assert sagemaker.describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "Stopped"
    message = refusal_of(sagemaker.stop_pipeline_execution, "ConflictException", PipelineExecutionArn=arn)
    assert "is Stopped" in message
    for _ in range(2):  # the same request that comes again is no second one
        assert sagemaker.retry_pipeline_execution(**token)["PipelineExecutionArn"] == arn
    again = job_name(wait_for_step(sagemaker, arn, "Waits"))
    assert again != job
    printed(served, again, "ready")
    sagemaker.stop_training_job(TrainingJobName=again)  # by somebody else: that is no success
    assert ended(sagemaker, arn)["PipelineExecutionStatus"] == "Failed"
    assert "is Stopped" in steps(sagemaker, arn)["Waits"]["FailureReason"]


def test_as_many_steps_at_a_time_as_the_execution_may_have(sagemaker: Any, tmp_path: Path) -> None:
    """Steps beside each other wait for all of them; one after the other they could not."""
    meet = f"(Path({str(tmp_path)!r}) / BASE.parents[2].name).touch()\n"
    meet += f"while len(list(Path({str(tmp_path)!r}).iterdir())) < 3: time.sleep(0.05)"
    create_pipeline(sagemaker, "Parallel", [train_step(name) for name in ("A", "B", "C")])
    create_pipeline(sagemaker, "Together", [train_step(name, meet) for name in ("A", "B", "C")])
    arn = start(sagemaker, "Parallel", ParallelismConfiguration={"MaxParallelExecutionSteps": 1})
    other = start(sagemaker, "Together")
    found = ended(sagemaker, arn)
    assert found["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 1}
    one, two, three = steps(sagemaker, arn).values()
    assert one["EndTime"] <= two["StartTime"] <= two["EndTime"] <= three["StartTime"]
    assert ended(sagemaker, other)["PipelineExecutionStatus"] == "Succeeded"
    starts = [step["StartTime"] for step in steps(sagemaker, other).values()]
    ends = [step["EndTime"] for step in steps(sagemaker, other).values()]
    assert max(starts) < min(ends)


def test_a_step_with_the_same_arguments_is_not_run_again(sagemaker: Any) -> None:
    cached = train_step("Cached", MODEL, CacheConfig={"Enabled": True, "ExpireAfter": "PT1H"})
    cached["Arguments"]["HyperParameters"] = {"rate": get("Parameters.Rate")}
    model = get("Steps.Cached.ModelArtifacts.S3ModelArtifacts")
    use = train_step("Use", arguments={"Environment": {"MODEL": model}})
    rate = {"Name": "Rate", "Type": "String", "DefaultValue": "1"}
    create_pipeline(sagemaker, "Cached", [cached, use], rate)
    first = start(sagemaker, "Cached")
    ended(sagemaker, first)
    second, other = start(sagemaker, "Cached"), start(sagemaker, "Cached", {"Rate": "2"})
    for arn in (second, other):
        assert ended(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded"
    hit, miss = steps(sagemaker, second)["Cached"], steps(sagemaker, other)["Cached"]
    assert hit["CacheHitResult"] == {"SourcePipelineExecutionArn": first}
    assert hit["Metadata"] == steps(sagemaker, first)["Cached"]["Metadata"] != miss["Metadata"]
    assert "CacheHitResult" not in miss
    job = sagemaker.describe_training_job(TrainingJobName=job_name(steps(sagemaker, second)["Use"]))
    assert job_name(hit) in job["Environment"]["MODEL"]
    third = start(sagemaker, "Cached")
    ended(sagemaker, third)
    assert steps(sagemaker, third)["Cached"]["CacheHitResult"] == {"SourcePipelineExecutionArn": first}


def test_selected_steps_take_the_rest_from_an_earlier_execution(sagemaker: Any) -> None:
    model = get("Steps.Train.ModelArtifacts.S3ModelArtifacts")
    wanted = [train_step("Other"), train_step("Train", MODEL), register_step("Register", "selected", model)]
    create_pipeline(sagemaker, "Selective", wanted)
    first = start(sagemaker, "Selective")
    ended(sagemaker, first)
    selection = {"SourcePipelineExecutionArn": first, "SelectedSteps": [{"StepName": "Register"}]}
    second = start(sagemaker, "Selective", SelectiveExecutionConfig=selection)
    assert ended(sagemaker, second)["SelectiveExecutionConfig"] == selection
    found = steps(sagemaker, second)
    assert {name: step["StepStatus"] for name, step in found.items()} == {"Train": "Succeeded", "Register": "Succeeded"}
    assert found["Train"]["SelectiveExecutionResult"] == {"SourcePipelineExecutionArn": first}
    assert found["Train"]["Metadata"] == steps(sagemaker, first)["Train"]["Metadata"]
    assert found["Register"]["Metadata"]["RegisterModel"]["Arn"].endswith("/2")
    for bad, text in (
        ({"SelectedSteps": [{"StepName": "None"}]}, "Received: None. It has: Other, Train, Register"),
        ({"SelectedSteps": [{"StepName": "Register"}]}, "need step Train"),
    ):
        members = {"PipelineName": "Selective", "SelectiveExecutionConfig": bad}
        assert text in refusal_of(sagemaker.start_pipeline_execution, "ValidationException", **members)


def test_a_callback_step_waits_for_its_answer(sagemaker: Any, served: Any) -> None:
    sqs = served.client("sqs")
    queue = sqs.create_queue(QueueName="work")["QueueUrl"]
    ask = {
        "Name": "Ask",
        "Type": "Callback",
        "SqsQueueUrl": queue,
        "Arguments": {"place": get("Execution.PipelineName")},
        "OutputParameters": [
            {"OutputName": "answer", "OutputType": "String"},
            {"OutputName": "score", "OutputType": "Float"},
            {"OutputName": "good", "OutputType": "Boolean"},
        ],
    }
    outputs = {name: get(f"Steps.Ask.OutputParameters['{name}']") for name in ("answer", "score", "good")}
    above = {"Type": "GreaterThan", "LeftValue": outputs["score"], "RightValue": 0.5}
    conditions = [equals(outputs["answer"], "42"), above, equals(outputs["good"], True)]
    check = condition_step("Check", conditions, [])
    create_pipeline(sagemaker, "Asking", [ask, check])

    def ask_once() -> tuple[str, dict[str, Any]]:
        arn = start(sagemaker, "Asking")
        return arn, receive()

    def receive() -> dict[str, Any]:
        (message,) = until(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20).get("Messages"))
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return dict(json.loads(message["Body"]))

    arn, message = ask_once()
    assert (message["arguments"], message["status"]) == ({"place": "Asking"}, "Executing")
    values = {"answer": "42", "score": "0.75", "good": "true"}
    output = [{"Name": name, "Value": value} for name, value in values.items()]
    token = message["token"]
    wrong = {"CallbackToken": token, "OutputParameters": [{"Name": "score", "Value": "high"}]}
    message = refusal_of(sagemaker.send_pipeline_execution_step_success, "ValidationException", **wrong)
    assert message == "Parameter score: the value must be of type Float. Received: 'high'"
    answered = sagemaker.send_pipeline_execution_step_success(CallbackToken=token, OutputParameters=output)
    assert answered["PipelineExecutionArn"] == arn
    assert ended(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded"
    found = steps(sagemaker, arn)
    assert found["Ask"]["Metadata"]["Callback"]["OutputParameters"] == output
    assert found["Check"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    refusal_of(sagemaker.send_pipeline_execution_step_success, "ConflictException", CallbackToken=token)
    refusal_of(sagemaker.send_pipeline_execution_step_failure, "ResourceNotFound", CallbackToken="0123456789")

    arn, message = ask_once()
    sagemaker.send_pipeline_execution_step_failure(CallbackToken=message["token"], FailureReason="no idea")
    assert ended(sagemaker, arn)["PipelineExecutionStatus"] == "Failed"
    assert steps(sagemaker, arn)["Ask"]["FailureReason"] == "ClientError: no idea"

    arn, message = ask_once()
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)
    told = receive()
    assert (told["token"], told["status"]) == (message["token"], "Stopping")
    assert describe(sagemaker, arn)["PipelineExecutionStatus"] == "Stopping"
    sagemaker.send_pipeline_execution_step_success(CallbackToken=message["token"])
    assert ended(sagemaker, arn)["PipelineExecutionStatus"] == "Stopped"


def test_every_job_is_in_the_experiment_and_trial_of_the_execution(sagemaker: Any) -> None:
    names = {
        "ExperimentName": get("Execution.PipelineName"),
        "TrialName": {"Std:Join": {"On": "-", "Values": ["trial", get("Execution.PipelineExecutionId")]}},
    }
    create_pipeline(sagemaker, "Tracked", [train_step("A"), train_step("B")], PipelineExperimentConfig=names)
    create_pipeline(sagemaker, "Untracked", [train_step("A")])
    arn, untracked = start(sagemaker, "Tracked"), start(sagemaker, "Untracked")
    config = ended(sagemaker, arn)["PipelineExperimentConfig"]
    assert config == {"ExperimentName": "Tracked", "TrialName": f"trial-{arn.rpartition('/')[2]}"}
    components = sagemaker.list_trial_components(TrialName=config["TrialName"])["TrialComponentSummaries"]
    expected = {f"{job_name(step)}-aws-training-job" for step in steps(sagemaker, arn).values()}
    assert {item["TrialComponentName"] for item in components} == expected
    assert "PipelineExperimentConfig" not in ended(sagemaker, untracked)
    job = sagemaker.describe_training_job(TrainingJobName=job_name(steps(sagemaker, untracked)["A"]))
    assert "ExperimentConfig" not in job


def test_what_a_start_says_is_checked_and_what_clients_see(sagemaker: Any) -> None:
    size = {"Name": "Size", "Type": "Integer"}
    kind = {"Name": "Kind", "Type": "String", "DefaultValue": "a", "EnumValues": ["a", "b"]}
    create_pipeline(
        sagemaker, "Checked", [condition_step("Check", [equals(get("Parameters.Size"), 1)], [])], size, kind
    )
    for values, text in (
        ([], "Missing parameters: Size"),
        ([("Size", "x")], "must be of type Integer. Received: 'x'"),
        ([("Size", "1"), ("Kind", "c")], "must be one of a, b. Received: 'c'"),
        ([("Size", "1"), ("Wrong", "1")], "the pipeline has no Wrong"),
        ([("Size", "1"), ("Size", "2")], "Size is given twice"),
    ):
        given = [{"Name": name, "Value": value} for name, value in values]
        members = {"PipelineName": "Checked", "PipelineParameters": given}
        assert text in refusal_of(sagemaker.start_pipeline_execution, "ValidationException", **members)
    refusal_of(sagemaker.start_pipeline_execution, "ResourceNotFound", PipelineName="None")
    refusal_of(sagemaker.start_pipeline_execution, "ResourceNotFound", PipelineName="Checked", PipelineVersionId=7)
    mlflow = {"PipelineName": "Checked", "MlflowExperimentName": "m"}
    assert "MlflowExperimentName" in refusal_of(sagemaker.start_pipeline_execution, "ValidationException", **mlflow)
    refusal_of(sagemaker.list_pipeline_executions, "ResourceNotFound", PipelineName="None")
    token = "t" * 40
    arn = start(sagemaker, "Checked", {"Size": "1"}, ClientRequestToken=token)
    assert start(sagemaker, "Checked", {"Size": "1"}, ClientRequestToken=token) == arn
    ended(sagemaker, arn)
    second = start(sagemaker, "Checked", {"Size": "2"}, PipelineExecutionDisplayName="mine")
    assert ended(sagemaker, second)["PipelineExecutionDisplayName"] == "mine"
    listed = sagemaker.list_pipeline_executions(PipelineName="Checked")
    check_shape("ListPipelineExecutions", listed)
    assert [item["PipelineExecutionArn"] for item in listed["PipelineExecutionSummaries"]] == [second, arn]
    page = sagemaker.list_pipeline_executions(PipelineName="Checked", MaxResults=1, SortOrder="Ascending")
    assert [item["PipelineExecutionArn"] for item in page["PipelineExecutionSummaries"]] == [arn]
    more = sagemaker.list_pipeline_executions(
        PipelineName="Checked", MaxResults=1, SortOrder="Ascending", NextToken=page["NextToken"]
    )
    assert [item["PipelineExecutionArn"] for item in more["PipelineExecutionSummaries"]] == [second]
    answer = sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)
    check_shape("ListPipelineExecutionSteps", answer)
    parameters = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    assert parameters == [{"Name": "Size", "Value": "1"}]
    shown = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    assert json.loads(shown["PipelineDefinition"])["Steps"][0]["Name"] == "Check"
    sagemaker.update_pipeline_execution(PipelineExecutionArn=arn, PipelineExecutionDescription="kept")
    assert describe(sagemaker, arn)["PipelineExecutionDescription"] == "kept"
    unknown = f"{arn[:-3]}000"
    for operation in (
        *("describe_pipeline_execution", "stop_pipeline_execution", "retry_pipeline_execution"),
        *("list_pipeline_execution_steps", "describe_pipeline_definition_for_execution"),
    ):
        refusal_of(getattr(sagemaker, operation), "ResourceNotFound", PipelineExecutionArn=unknown)
    sagemaker.delete_pipeline(PipelineName="Checked")
    refusal_of(sagemaker.describe_pipeline_execution, "ResourceNotFound", PipelineExecutionArn=arn)
