"""Training jobs over the API, as boto3 sees them; every answer is held against the model's output shape."""

import tarfile
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest

from local_test.request.defaults import fill_training_job
from tests.support.api import check_shape, refusal_of
from tests.support.served import BUCKET, ROLE, WAIT, Served, ended, printed, request, until

GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture(scope="module")
def data(s3: Any) -> str:
    for index, name in enumerate(("b", "a", "c")):
        s3.put_object(Bucket=BUCKET, Key=f"data/{name}", Body=str(index).encode() * 10)
    return f"s3://{BUCKET}/data/"


def test_a_job_over_fifos_from_s3_to_s3(served: Served, sagemaker: Any, s3: Any, data: str) -> None:
    code = (
        "for n in range(2): print('epoch', n, (BASE / f'input/data/train_{n}').read_text(), f'acc=0.{n}', flush=True)\n"
        "(BASE / 'model/weights').write_text(os.environ['AWS_ENDPOINT_URL'])\n"
        "(BASE / 'checkpoints/c').write_text('kept')\n"
    )
    wanted = request("Whole-1", code, {"train": data}, CheckpointConfig={"S3Uri": f"s3://{BUCKET}/checkpoints/"})
    wanted["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "acc", "Regex": "acc=([0-9.]+)"}]
    arn = check_shape("CreateTrainingJob", sagemaker.create_training_job(**wanted))["TrainingJobArn"]
    assert arn == "arn:aws:sagemaker:us-east-1:123456789012:training-job/whole-1"
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName="Whole-1", WaiterConfig={"Delay": 1, "MaxAttempts": 200}
    )
    description = check_shape("DescribeTrainingJob", sagemaker.describe_training_job(TrainingJobName="Whole-1"))
    assert description["TrainingJobStatus"] == "Completed"
    assert [step["Status"] for step in description["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed",
    ]  # fmt: skip
    assert fill_training_job(wanted).items() <= description.items()
    assert [(metric["MetricName"], round(metric["Value"], 3)) for metric in description["FinalMetricDataList"]] == [
        ("acc", 0.1)
    ]
    model = description["ModelArtifacts"]["S3ModelArtifacts"]
    assert model == f"s3://{BUCKET}/out/Whole-1/output/model.tar.gz"
    body = s3.get_object(Bucket=BUCKET, Key="out/Whole-1/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=BytesIO(body)) as tar:
        assert tar.extractfile("weights").read().decode() == served.exports["AWS_ENDPOINT_URL"]
    assert s3.get_object(Bucket=BUCKET, Key="checkpoints/c")["Body"].read() == b"kept"
    check_log(served.client("logs"))
    check_values(served.client("cloudwatch"))


def check_log(logs: Any) -> None:
    (stream,) = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="Whole-1/")["logStreams"]
    assert abs(int(stream["logStreamName"].removeprefix("Whole-1/algo-1-")) - datetime.now(UTC).timestamp()) < 600
    events = logs.get_log_events(logGroupName=GROUP, logStreamName=stream["logStreamName"], startFromHead=True)
    every = "1" * 10 + "0" * 10 + "2" * 10  # a, b, c
    assert [event["message"] for event in events["events"]] == [f"epoch {n} {every} acc=0.{n}" for n in range(2)]


def check_values(cloudwatch: Any) -> None:
    now = datetime.now(UTC)
    answer = cloudwatch.get_metric_statistics(
        Namespace=GROUP,
        MetricName="acc",
        Dimensions=[{"Name": "TrainingJobName", "Value": "Whole-1"}],
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=10),
        Period=3600,
        Statistics=["SampleCount", "Maximum"],
    )
    assert sum(point["SampleCount"] for point in answer["Datapoints"]) == 2
    assert max(point["Maximum"] for point in answer["Datapoints"]) == 0.1


def test_a_failed_job_says_why(sagemaker: Any) -> None:
    sagemaker.create_training_job(**request("fails", "(BASE / 'output/failure').write_text('no records')\nsys.exit(7)"))
    description = check_shape("DescribeTrainingJob", ended(sagemaker, "fails"))
    assert description["TrainingJobStatus"] == "Failed"
    assert description["FailureReason"] == "AlgorithmError: no records, exit code: 7"


def test_stop_update_and_delete(served: Served, sagemaker: Any) -> None:
    sagemaker.create_training_job(**request("stopped", WAIT))
    message = refusal_of(sagemaker.delete_training_job, "ResourceInUse", TrainingJobName="stopped")
    assert "InProgress" in message
    printed(served, "stopped", "ready")
    update = {"TrainingJobName": "stopped", "RemoteDebugConfig": {"EnableRemoteDebug": True}}
    check_shape("UpdateTrainingJob", sagemaker.update_training_job(**update))
    described = sagemaker.describe_training_job(TrainingJobName="stopped")
    assert described["RemoteDebugConfig"] == {"EnableRemoteDebug": True}
    pool = {"TrainingJobName": "stopped", "ResourceConfig": {"KeepAlivePeriodInSeconds": 1}}
    assert "ResourceConfig" in refusal_of(sagemaker.update_training_job, "ValidationException", **pool)
    sagemaker.stop_training_job(TrainingJobName="stopped")
    description = ended(sagemaker, "stopped")
    assert description["TrainingJobStatus"] == description["SecondaryStatus"] == "Stopped"
    over = "The request was rejected because the training job is in status Stopped."
    assert refusal_of(sagemaker.stop_training_job, "ValidationException", TrainingJobName="stopped") == over
    assert refusal_of(sagemaker.update_training_job, "ValidationException", **update) == over
    logs, streams = served.client("logs"), {"logGroupName": GROUP, "logStreamNamePrefix": "stopped/"}
    assert len(logs.describe_log_streams(**streams)["logStreams"]) == 1
    sagemaker.delete_training_job(TrainingJobName="stopped")
    assert logs.describe_log_streams(**streams)["logStreams"] == []  # they are in the server's memory
    assert not (served.root / "training/stopped").exists()
    for call in (sagemaker.describe_training_job, sagemaker.stop_training_job, sagemaker.delete_training_job):
        missing = refusal_of(call, "ValidationException", TrainingJobName="stopped")
        assert missing == "Requested resource not found."
    sagemaker.create_training_job(**request("stopped"))  # the name is free again
    assert ended(sagemaker, "stopped")["TrainingJobStatus"] == "Completed"


def test_what_is_checked_before_the_answer(sagemaker: Any, data: str) -> None:
    def message(code: str = "ValidationException", **members: Any) -> str:
        return refusal_of(sagemaker.create_training_job, code, **{**request("checked"), **members})

    empty = request("checked", "", {"train": f"s3://{BUCKET}/nothing/"})
    assert message(**empty).startswith(
        f'No S3 objects found under S3 URL "s3://{BUCKET}/nothing/" given in input data source. '
        f"Please ensure that the bucket exists in the selected region, that objects exist under that S3 prefix, "
        f'and that the role "{ROLE}" has "s3:ListBucket" permissions on the bucket.'
    )
    nowhere = request("checked", "", {"train": "s3://no-such-bucket/x"})
    assert "The specified bucket does not exist" in message(**nowhere)
    assert "OutputDataConfig.S3OutputPath" in message(OutputDataConfig={"S3OutputPath": "s3://no-such-bucket/x"})
    assert "CheckpointConfig.S3Uri" in message(CheckpointConfig={"S3Uri": "s3://no-such-bucket/x"})
    assert message(TrainingJobName="a_b") == (
        "1 validation error detected: Value 'a_b' at 'trainingJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )
    assert "'roleArn'" in message(RoleArn="arn:aws:iam::1:role/short-account")
    by_name = {"AlgorithmName": "other", "TrainingImage": "image", "TrainingInputMode": "Pipe"}
    assert "AlgorithmSpecification.AlgorithmName is not supp" in message(AlgorithmSpecification=by_name)
    twice = request("checked", "", {"train": data})
    twice["InputDataConfig"] *= 2
    assert "Channel names must be unique" in message(**twice)
    names = sagemaker.list_training_jobs(NameContains="checked")["TrainingJobSummaries"]
    assert names == []  # nothing of a refused request is left
    sagemaker.create_training_job(**request("checked"))
    used = message("ResourceInUse")
    assert used.startswith("Training job names must be unique within an AWS account and region")
    ended(sagemaker, "checked")


def test_a_list_with_filters_order_and_pages(sagemaker: Any) -> None:
    names = [f"listed-{n}" for n in (3, 1, 4, 2, 5)]
    for name in names:
        sagemaker.create_training_job(**request(name, "sys.exit(1)" if name == "listed-4" else ""))
    for name in names:
        ended(sagemaker, name)

    def listed(**members: Any) -> list[str]:
        answer = sagemaker.list_training_jobs(NameContains="listed-", **members)
        return [job["TrainingJobName"] for job in check_shape("ListTrainingJobs", answer)["TrainingJobSummaries"]]

    assert listed() == names  # CreationTime, ascending
    assert listed(SortOrder="Descending") == names[::-1]
    assert listed(SortBy="Name") == sorted(names)
    assert listed(SortBy="Status") == ["listed-1", "listed-2", "listed-3", "listed-5", "listed-4"]
    assert listed(StatusEquals="Failed") == ["listed-4"]
    assert listed(StatusEquals="Failed", MaxResults=2) == []  # of the first two none has failed
    assert listed(StatusEquals="Failed", MaxResults=3) == ["listed-4"]
    assert listed(WarmPoolStatusEquals="Available") == []
    now = datetime.now(UTC)
    for prefix in ("CreationTime", "LastModifiedTime"):
        assert listed(**{f"{prefix}After": now - timedelta(minutes=5)}) == names
        assert listed(**{f"{prefix}After": now + timedelta(minutes=5)}) == []
        assert listed(**{f"{prefix}Before": now - timedelta(minutes=5)}) == []
    for order in ("Ascending", "Descending"):
        pages = sagemaker.get_paginator("list_training_jobs").paginate(
            NameContains="listed-", SortOrder=order, PaginationConfig={"PageSize": 2}
        )
        sizes = [[job["TrainingJobName"] for job in page["TrainingJobSummaries"]] for page in pages]
        assert [len(names) for names in sizes] == [2, 2, 1]
        assert [name for page in sizes for name in page] == listed(SortOrder=order)
    assert "NextToken" in refusal_of(sagemaker.list_training_jobs, "ValidationException", NextToken="x")


def test_many_at_once_wait_their_turn(served: Served, sagemaker: Any) -> None:
    """Four slots: while four jobs hold them, a fifth waits, and can be stopped without ever having started."""
    holders = [f"holder-{n}" for n in range(4)]
    for name in holders:
        sagemaker.create_training_job(**request(name, WAIT))
    for name in holders:
        printed(served, name, "ready")
    for name in ("waits", "stopped-waiting"):
        sagemaker.create_training_job(**request(name, "print('ran')"))
    assert sagemaker.describe_training_job(TrainingJobName="waits")["SecondaryStatus"] == "Starting"
    sagemaker.stop_training_job(TrainingJobName="stopped-waiting")
    stopped = ended(sagemaker, "stopped-waiting")
    assert stopped["TrainingJobStatus"] == "Stopped"
    assert "TrainingStartTime" not in stopped
    assert not (served.root / "training/stopped-waiting/logs/algo-1.log").exists()
    assert sagemaker.describe_training_job(TrainingJobName="waits")["SecondaryStatus"] == "Starting"
    for name in holders:
        sagemaker.stop_training_job(TrainingJobName=name)
    assert ended(sagemaker, "waits")["TrainingJobStatus"] == "Completed"
    until(lambda: all(ended(sagemaker, name) for name in holders))


def test_a_job_in_another_region(served: Served) -> None:
    there = served.client("sagemaker", "eu-west-1")
    arn = there.create_training_job(**request("elsewhere", "print(os.environ['AWS_REGION'])"))["TrainingJobArn"]
    assert arn == "arn:aws:sagemaker:eu-west-1:123456789012:training-job/elsewhere"
    assert ended(there, "elsewhere")["TrainingJobStatus"] == "Completed"
    logs = served.client("logs", "eu-west-1")
    (stream,) = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="elsewhere/")["logStreams"]
    (event,) = logs.get_log_events(logGroupName=GROUP, logStreamName=stream["logStreamName"])["events"]
    assert event["message"] == "eu-west-1"
