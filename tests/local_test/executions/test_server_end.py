"""What becomes of executions when the server ends, by a signal or a kill; and a tuning job's best model."""

import json
import signal
from pathlib import Path
from typing import Any

from tests.support.executions import (
    condition_step,
    create_pipeline,
    describe,
    ended,
    equals,
    get,
    job_name,
    register_step,
    start,
    step_statuses,
    steps,
    train_step,
    wait_for_step,
)
from tests.support.served import BUCKET, WAIT, Served, printed, until


def callback_step(queue: str) -> dict[str, Any]:
    return {"Name": "Ask", "Type": "Callback", "SqsQueueUrl": queue, "Arguments": {}, "OutputParameters": []}


def test_an_orderly_end_stops_executions_which_can_be_retried(tmp_path: Path) -> None:
    """Nobody's answer to a callback is waited for."""
    with Served(tmp_path) as first:
        first.client("s3").create_bucket(Bucket=BUCKET)
        sagemaker = first.client("sagemaker")
        queue = first.client("sqs").create_queue(QueueName="work")["QueueUrl"]
        create_pipeline(
            sagemaker, "Ends", [train_step("Done"), train_step("Waits", WAIT, DependsOn=["Done"]), callback_step(queue)]
        )
        arn = start(sagemaker, "Ends")
        printed(first, job_name(wait_for_step(sagemaker, arn, "Waits")), "ready")
        wait_for_step(sagemaker, arn, "Ask")
        assert "Traceback" not in first.end()
    with Served(tmp_path) as second:
        sagemaker = second.client("sagemaker")
        assert describe(sagemaker, arn)["PipelineExecutionStatus"] == "Stopped"
        assert step_statuses(sagemaker, arn) == {"Done": "Succeeded", "Ask": "Stopped", "Waits": "Stopped"}
        done = steps(sagemaker, arn)["Done"]
        second.client("sqs").create_queue(QueueName="work")
        sagemaker.retry_pipeline_execution(PipelineExecutionArn=arn)
        printed(second, job_name(wait_for_step(sagemaker, arn, "Waits")), "ready")
        assert steps(sagemaker, arn)["Done"] == done
        assert "Traceback" not in second.end()


def test_a_callback_and_another_region_outlive_a_kill(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        sagemaker = first.client("sagemaker", "eu-west-1")
        sqs = first.client("sqs", "eu-west-1")
        queue = sqs.create_queue(QueueName="work")["QueueUrl"]
        create_pipeline(sagemaker, "Asks", [callback_step(queue)])
        arn = start(sagemaker, "Asks")
        (message,) = until(lambda: sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20).get("Messages"))
        token = json.loads(message["Body"])["token"]
        wait_for_step(sagemaker, arn, "Ask")
        first.end(signal.SIGKILL)
    with Served(tmp_path) as second:
        sagemaker = second.client("sagemaker", "eu-west-1")
        assert describe(sagemaker, arn)["PipelineExecutionStatus"] == "Executing"
        sagemaker.send_pipeline_execution_step_success(CallbackToken=token)
        assert ended(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded"
        assert "Traceback" not in second.end()


def test_a_damaged_execution_keeps_no_server_from_starting(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        sagemaker = first.client("sagemaker")
        create_pipeline(sagemaker, "Kept", [condition_step("Check", [equals(1, 1)], [])])
        kept, damaged, empty = (start(sagemaker, "Kept") for _ in range(3))
        for arn in (kept, damaged, empty):
            ended(sagemaker, arn)
        first.end(signal.SIGKILL)
    folder = first.root / "executions"
    (folder / damaged.rpartition("/")[2] / "execution.json").write_text('{"steps": []')
    (folder / empty.rpartition("/")[2] / "execution.json").unlink()
    with Served(tmp_path) as second:
        listed = second.client("sagemaker").list_pipeline_executions(PipelineName="Kept")["PipelineExecutionSummaries"]
        assert [item["PipelineExecutionArn"] for item in listed] == [kept]
        said = second.end()
    assert said.count("can't be read, so it is left out") == 1
    assert "Traceback" not in said


def test_a_tuning_steps_best_model_is_registered(sagemaker: Any) -> None:
    """By property references, and all of its jobs are part of the trial. Two are equally good: they are one best."""
    code = (
        "import json\nrate = json.loads((BASE / 'input/config/hyperparameters.json').read_text())['rate']\n"
        "(BASE / 'model/m').write_text(rate)\nprint(f'accuracy={rate};', flush=True)"
    )
    child = train_step("unnamed", code)["Arguments"]
    child["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "accuracy", "Regex": "accuracy=(.*?);"}]
    tune = {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "accuracy"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 4},
            "ParameterRanges": {
                "CategoricalParameterRanges": [{"Name": "rate", "Values": ["0.25", "0.75", "0.750", "0.5"]}]
            },
        },
        "TrainingJobDefinition": child,
    }
    best = get("Steps.Tune.TrainingJobSummaries[0].TrainingJobName")
    join = {"Std:Join": {"On": "/", "Values": [f"s3://{BUCKET}/out", best, "output/model.tar.gz"]}}
    second = get("Steps.Tune.TrainingJobSummaries[1].TrainingJobName")
    register = register_step("Register", "tuned", join, CustomerMetadataProperties={
        "best": get("Steps.Tune.BestTrainingJob.TrainingJobName"), "second": second})  # fmt: skip
    names = {"ExperimentName": "tuned", "TrialName": get("Execution.PipelineExecutionId")}
    step = {"Name": "Tune", "Type": "Tuning", "Arguments": tune}
    create_pipeline(sagemaker, "Tuned", [step, register], PipelineExperimentConfig=names)
    arn = start(sagemaker, "Tuned")
    assert ended(sagemaker, arn)["PipelineExecutionStatus"] == "Succeeded", steps(sagemaker, arn)
    found = steps(sagemaker, arn)
    children = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=job_name(found["Tune"], "TuningJob")
    )["TrainingJobSummaries"]
    by_rate = {item["TunedHyperParameters"]["rate"]: item["TrainingJobName"] for item in children}
    package = sagemaker.describe_model_package(ModelPackageName=found["Register"]["Metadata"]["RegisterModel"]["Arn"])
    named = package["CustomerMetadataProperties"]
    assert {named["best"], named["second"]} == {by_rate["0.75"], by_rate["0.750"]}
    job = sagemaker.describe_training_job(TrainingJobName=named["best"])
    container = package["InferenceSpecification"]["Containers"][0]
    assert container["ModelDataUrl"] == job["ModelArtifacts"]["S3ModelArtifacts"]
    trial = sagemaker.list_trial_components(TrialName=arn.rpartition("/")[2])["TrialComponentSummaries"]
    assert {item["TrialComponentName"] for item in trial} == {f"{name}-aws-training-job" for name in by_rate.values()}
    tags = sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert {"Key": "sagemaker:pipeline-step-name", "Value": "Tune"} in tags
