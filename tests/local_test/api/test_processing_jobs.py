"""Operations on processing jobs, asked by boto3 of a server whose jobs are real processes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import check_shape, refusal_of
from tests.support.processing import ROOT, processed, processing_request, put_program, s3_input, s3_output
from tests.support.served import BUCKET, ROLE, Served, request, until

GROUP = "/aws/sagemaker/ProcessingJobs"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:processing-job"


def run(sagemaker: Any, s3: Any, name: str, code: str, *places: dict[str, str], **members: Any) -> dict[str, Any]:
    """The description of a job of that code, once it is over."""
    sagemaker.create_processing_job(**processing_request(name, put_program(s3, name, code), *places, **members))
    return check_shape("DescribeProcessingJob", processed(sagemaker, name))


def keys(s3: Any, prefix: str) -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]


def printed(served: Served, name: str, text: str) -> None:
    """Wait until the job's log has that line."""
    log = served.root / f"processing/{name}/logs/algo-1.log"
    until(lambda: log.exists() and text in log.read_text().splitlines())


@pytest.fixture(scope="module")
def data(s3: Any) -> str:
    for name in ("a", "b", "deep/c"):
        s3.put_object(Bucket=BUCKET, Key=f"numbers/{name}", Body=name.encode() * 3)
    manifest = [{"prefix": f"s3://{BUCKET}/numbers/"}, "b", "deep/c"]
    s3.put_object(Bucket=BUCKET, Key="manifest.json", Body=json.dumps(manifest).encode())
    return f"s3://{BUCKET}/numbers/"


WHOLE = """
job = json.loads((BASE / "config/processingjobconfig.json").read_text())
assert list(job) == ["ProcessingJobArn", "ProcessingJobName", "AppSpecification", "Environment", "ProcessingInputs",
                     "ProcessingOutputConfig", "ProcessingResources", "RoleArn", "StoppingCondition"], job
code, data, listed, own = job["ProcessingInputs"]
assert data == {"InputName": "data", "AppManaged": False, "DatasetDefinition": None, "S3Input": {
    "LocalPath": "/opt/ml/processing/data", "S3Uri": "s3://test-bucket/numbers/", "S3DataType": "S3Prefix",
    "S3DataDistributionType": "FullyReplicated", "S3InputMode": "File", "S3CompressionType": "None",
    "S3DownloadMode": "StartOfJob"}}, data
assert own["S3Input"]["LocalPath"] is None and own["AppManaged"]
assert job["ProcessingOutputConfig"]["KmsKeyId"] is None
assert job["AppSpecification"]["ContainerArguments"][0] == "--data=/opt/ml/processing/data"
assert (BASE / "config/resourceconfig.json").read_text() == '{"current_host":"algo-1","hosts":["algo-1"]}'
assert sys.argv[1:] == [f"--data={DATA / 'data'}", "/opt/mlx", "s3://b/opt/ml", str(BASE)], sys.argv
assert os.environ["PLACE"] == str(DATA / "out")
files = [path for folder in ("data", "listed") for path in sorted((DATA / folder).rglob("*")) if path.is_file()]
print(*(f"{path.relative_to(DATA)}={path.read_text()}" for path in files))
(DATA / "out/deep").mkdir()
(DATA / "out/deep/sum").write_text("9")
(DATA / "out/link").symlink_to("deep/sum")
(DATA / "soon/here").write_text("now")
(BASE / "output/message").write_text("counted")
import boto3
own = boto3.client("sagemaker").describe_processing_job(ProcessingJobName="Whole-1")
print(own["ProcessingJobArn"] == job["ProcessingJobArn"], own["ProcessingJobStatus"])
"""


def test_a_job_from_s3_to_s3(served: Served, sagemaker: Any, s3: Any, data: str) -> None:
    sagemaker.create_experiment(ExperimentName="prepared")
    program = put_program(s3, "Whole-1", WHOLE)
    whole = processing_request(
        "Whole-1", program, {"data": data}, {"out": "EndOfJob", "soon": "Continuous"},
        Environment={"PLACE": f"{ROOT}/out"}, Tags=[{"Key": "team", "Value": "a"}],
        ExperimentConfig={"ExperimentName": "prepared"},
    )  # fmt: skip
    whole["AppSpecification"] = {
        "ImageUri": "image",
        "ContainerEntrypoint": ["sh", "-c", f'exec python3 {ROOT}/code/script.py "$@"', "sh"],
        "ContainerArguments": [f"--data={ROOT}/data", "/opt/mlx", "s3://b/opt/ml", "/opt/ml"],
    }
    own = s3_input("own", "s3://elsewhere/theirs")
    del own["S3Input"]["LocalPath"]
    listed = s3_input("listed", f"s3://{BUCKET}/manifest.json", S3DataType="ManifestFile")
    whole["ProcessingInputs"] += [listed, {**own, "AppManaged": True}]
    assert sagemaker.create_processing_job(**whole)["ProcessingJobArn"] == f"{ARN}/whole-1"

    description = check_shape("DescribeProcessingJob", processed(sagemaker, "Whole-1"))
    logs = served.client("logs")
    (stream,) = logs.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="Whole-1/algo-1-")["logStreams"]
    events = logs.get_log_events(logGroupName=GROUP, logStreamName=stream["logStreamName"], startFromHead=True)
    lines = [event["message"] for event in events["events"]]
    assert description["ProcessingJobStatus"] == "Completed", (description, lines)
    assert lines == [
        "data/a=aaa data/b=bbb data/deep/c=deep/cdeep/cdeep/c listed/b=bbb listed/deep/c=deep/cdeep/cdeep/c",
        "True InProgress",
    ]
    assert (description["ExitMessage"], "FailureReason" in description) == ("counted", False)
    assert description["CreationTime"] <= description["ProcessingStartTime"] < description["ProcessingEndTime"]
    assert description["ProcessingInputs"][1]["S3Input"]["S3CompressionType"] == "None"
    assert keys(s3, "Whole-1/") == ["Whole-1/out/deep/sum", "Whole-1/soon/here"]  # no link is followed

    component = sagemaker.describe_trial_component(TrialComponentName="Whole-1-aws-processing-job")
    assert component["Source"] == {"SourceArn": f"{ARN}/whole-1", "SourceType": "SageMakerProcessingJob"}
    assert component["Status"]["PrimaryStatus"] == "Completed"
    assert component["InputArtifacts"]["data"] == {"Value": data}
    assert component["OutputArtifacts"]["out"] == {"Value": f"s3://{BUCKET}/Whole-1/out"}
    assert component["StartTime"] == description["ProcessingStartTime"]
    (trial,) = sagemaker.list_trials(ExperimentName="prepared")["TrialSummaries"]
    assert trial["TrialName"] == "Whole-1-trial"
    assert sagemaker.list_tags(ResourceArn=f"{ARN}/whole-1")["Tags"] == [{"Key": "team", "Value": "a"}]
    folder = served.root / "processing/Whole-1"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert files == {"request.json", "describe.json", "logs", "logs/algo-1.log", "logs/platform.log"}
    notes = (folder / "logs/platform.log").read_text()
    assert notes.endswith("ignored locally: ProcessingResources.ClusterConfig.VolumeSizeInGB\n")


def test_what_a_failed_job_leaves(served: Served, sagemaker: Any, s3: Any) -> None:
    code = """
    (DATA / "out/half").write_text("x")
    (DATA / "soon/half").write_text("x")
    (BASE / "output/message").write_text("label 12 is out of range, " + "é" * 2000)
    sys.exit(3)
    """
    description = run(sagemaker, s3, "fails", code, {}, {"out": "EndOfJob", "soon": "Continuous"})
    assert description["ProcessingJobStatus"] == "Failed"
    assert description["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert description["ExitMessage"] == f"label 12 is out of range, {'é' * 998}"
    assert keys(s3, "fails/") == ["fails/soon/half"]
    assert "ended with exit code 3" in (served.root / "processing/fails/logs/platform.log").read_text()


def test_a_message_that_is_no_text_fails_the_job(sagemaker: Any, s3: Any) -> None:
    code = "(BASE / 'output/message').write_bytes(b'\\xff')\n(DATA / 'out/a').write_text('a')"
    description = run(sagemaker, s3, "no-text", code, {}, {"out": "EndOfJob"})
    assert description["ProcessingJobStatus"] == "Failed"
    assert description["FailureReason"].startswith("ClientError: /opt/ml/output/message of algo-1 is not UTF-8")
    assert keys(s3, "no-text/") == []


def test_what_leads_out_of_the_container_is_neither_read_nor_sent(sagemaker: Any, s3: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("of this machine")
    code = f"""
    import shutil
    secret = Path({str(tmp_path / "secret")!r})
    shutil.rmtree(DATA / "out")
    (DATA / "out").symlink_to(secret)
    (DATA / "soon/key").symlink_to(secret / "key")
    (DATA / "soon/folder").symlink_to(secret)
    os.mkfifo(DATA / "soon/fifo")
    (DATA / "soon/mine").write_text("mine")
    (BASE / "output/message").symlink_to(secret / "key")
    """
    description = run(sagemaker, s3, "hostile", code, {}, {"out": "EndOfJob", "soon": "Continuous"})
    assert (description["ProcessingJobStatus"], description.get("ExitMessage")) == ("Completed", None)
    assert keys(s3, "hostile/") == ["hostile/soon/mine"]


def test_stop_and_delete(served: Served, sagemaker: Any, s3: Any) -> None:
    code = """
    (DATA / "soon/begun").write_text("x")
    (DATA / "out/begun").write_text("x")
    signal.signal(signal.SIGTERM, lambda *_: ((DATA / "soon/last").write_text("y"), sys.exit(0)))
    print("ready", flush=True)
    signal.pause()
    """
    program = put_program(s3, "stopped", code)
    sagemaker.create_processing_job(
        **processing_request("stopped", program, {}, {"out": "EndOfJob", "soon": "Continuous"})
    )
    printed(served, "stopped", "ready")
    message = refusal_of(sagemaker.delete_processing_job, "ResourceInUse", ProcessingJobName="stopped")
    assert message == "The processing job can't be deleted while it is in status InProgress: stopped"
    sagemaker.stop_processing_job(ProcessingJobName="stopped")
    description = processed(sagemaker, "stopped")
    assert (description["ProcessingJobStatus"], "FailureReason" in description) == ("Stopped", False)
    assert keys(s3, "stopped/") == ["stopped/soon/begun", "stopped/soon/last"]
    message = refusal_of(sagemaker.stop_processing_job, "ValidationException", ProcessingJobName="stopped")
    assert message == "The request was rejected because the processing job is in status Stopped."

    sagemaker.delete_processing_job(ProcessingJobName="stopped")
    missing = refusal_of(sagemaker.describe_processing_job, "ValidationException", ProcessingJobName="stopped")
    assert missing == "Requested resource not found."
    assert not (served.root / "processing/stopped").exists()
    assert run(sagemaker, s3, "stopped", "")["ProcessingJobStatus"] == "Completed"  # the name is free again


def test_max_runtime_and_a_job_that_waits_for_a_slot_of_training_jobs(tmp_path: Path) -> None:
    with Served(tmp_path, "--parallel", "1") as server:
        s3, sagemaker = server.client("s3"), server.client("sagemaker")
        s3.create_bucket(Bucket=BUCKET)
        limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
        description = run(sagemaker, s3, "long", "signal.pause()", **limit)
        assert description["ProcessingJobStatus"] == "Stopped"

        wait = "print('ready', flush=True)\nsignal.pause()"
        sagemaker.create_training_job(**request("first", wait))
        for name in ("second", "third"):
            sagemaker.create_processing_job(**processing_request(name, put_program(s3, name, "")))
        sagemaker.stop_processing_job(ProcessingJobName="third")  # ends at once, without a turn
        assert processed(sagemaker, "third")["ProcessingJobStatus"] == "Stopped"
        second = sagemaker.describe_processing_job(ProcessingJobName="second")
        assert (second["ProcessingJobStatus"], "ProcessingStartTime" in second) == ("InProgress", False)
        sagemaker.stop_training_job(TrainingJobName="first")
        assert processed(sagemaker, "second")["ProcessingJobStatus"] == "Completed"
        assert "Traceback" not in server.end()


def test_a_list_with_filters_order_and_pages(sagemaker: Any, s3: Any) -> None:
    for name, code in (("list-b", ""), ("list-a", "sys.exit(1)"), ("list-c", "")):
        run(sagemaker, s3, name, code)

    def names(**members: Any) -> list[str]:
        answer = sagemaker.list_processing_jobs(NameContains="list-", **members)
        check_shape("ListProcessingJobs", answer)
        return [job["ProcessingJobName"] for job in answer["ProcessingJobSummaries"]]

    assert names() == ["list-b", "list-a", "list-c"]
    assert names(SortBy="Name", SortOrder="Descending") == ["list-c", "list-b", "list-a"]
    assert names(StatusEquals="Failed") == ["list-a"]
    second = sagemaker.describe_processing_job(ProcessingJobName="list-a")["CreationTime"]
    assert names(CreationTimeAfter=second) == ["list-c"]
    first = sagemaker.list_processing_jobs(NameContains="list-", MaxResults=2)
    assert names(MaxResults=2, NextToken=first["NextToken"]) == ["list-c"]


def test_what_is_checked_before_the_answer(served: Served, sagemaker: Any, s3: Any, data: str) -> None:
    program = put_program(s3, "refused", "")

    def refused(code: str = "ValidationException", **members: Any) -> str:
        wrong = {**processing_request("refused", program), **members}
        return refusal_of(sagemaker.create_processing_job, code, **wrong)

    def with_input(**members: Any) -> str:
        return refused(ProcessingInputs=[s3_input("data", data, **members)])

    def with_output(uri: str = f"s3://{BUCKET}/x", **members: Any) -> str:
        return refused(ProcessingOutputConfig={"Outputs": [s3_output("out", uri, **members)]})

    for path in ("/opt/ml/other", "/opt/ml/processing", "/opt/ml/processing/../model", "relative", f"{ROOT}x/a"):
        assert f"LocalPath must begin with {ROOT}/ and be without .. Received: '{path}'" in with_input(LocalPath=path)
        assert f"LocalPath must begin with {ROOT}/" in with_output(LocalPath=path)
    assert "Input 'data' has its LocalPath, too" in refused(
        ProcessingInputs=[s3_input("data", data)],
        ProcessingOutputConfig={"Outputs": [s3_output("out", f"s3://{BUCKET}/x", LocalPath=f"{ROOT}/data/")]},
    )
    assert "Input names must be unique. Received: 'data' 2 times" in refused(
        ProcessingInputs=[s3_input("data", data)] * 2
    )
    twice = [s3_output("out", f"s3://{BUCKET}/x"), s3_output("out", f"s3://{BUCKET}/x", LocalPath=f"{ROOT}/y")]
    assert "Output names must be unique" in refused(ProcessingOutputConfig={"Outputs": twice})
    assert "Input 'data' has no S3Input" in refused(ProcessingInputs=[{"InputName": "data"}])
    lost = s3_input("data", data)
    del lost["S3Input"]["LocalPath"]
    assert "S3Input.LocalPath is missing" in refused(ProcessingInputs=[lost])
    assert "S3InputMode has a value that is not supported locally. Received: Pipe" in with_input(S3InputMode="Pipe")
    assert "S3CompressionType has a value" in with_input(S3CompressionType="Gzip")
    assert 'No S3 objects found under S3 URL "s3://test-bucket/none"' in refused(
        ProcessingInputs=[s3_input("data", f"s3://{BUCKET}/none")]
    )
    assert "Output out: its S3 bucket does not exist" in with_output("s3://no-such-bucket/x")
    assert "may not name this machine's files" in with_output("file:///tmp/x")
    athena = {
        "Catalog": "c", "Database": "d", "QueryString": "q", "OutputS3Uri": "s3://b/x", "OutputFormat": "JSON",
    }  # fmt: skip
    query = {"InputName": "q", "DatasetDefinition": {"AthenaDatasetDefinition": athena}}
    assert "DatasetDefinition.AthenaDatasetDefinition.Catalog is not supported" in refused(ProcessingInputs=[query])
    features = {"OutputName": "f", "AppManaged": True, "FeatureStoreOutput": {"FeatureGroupName": "g"}}
    assert "FeatureStoreOutput.FeatureGroupName is not supported" in refused(
        ProcessingOutputConfig={"Outputs": [features]}
    )
    cluster = {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    assert "ProcessingResources.ClusterConfig.InstanceCount above 1 needs a container" in refused(
        ProcessingResources={"ClusterConfig": cluster}
    )
    assert "ClusterConfig.InstanceType is missing" in refused(
        ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "VolumeSizeInGB": 1}}
    )
    assert "EnableNetworkIsolation needs a container" in refused(NetworkConfig={"EnableNetworkIsolation": True})
    assert "ContainerEntrypoint is missing, and without a container" in refused(AppSpecification={"ImageUri": "image"})
    assert "a program that this machine does not have. Received: /opt/own/program" in refused(
        AppSpecification={"ImageUri": "image", "ContainerEntrypoint": ["/opt/own/program"]}
    )
    assert "ExperimentConfig.TrialName needs" in refused(ExperimentConfig={"TrialName": "t"})
    refused("ResourceNotFound", ExperimentConfig={"ExperimentName": "no-such-experiment"})
    assert "nobody" in refused(RoleArn=ROLE.replace("local", "nobody"))
    run(sagemaker, s3, "Taken", "")
    taken = processing_request("tAKEN", program)
    message = refusal_of(sagemaker.create_processing_job, "ResourceInUse", **taken)
    assert "a processing job with this name already exists" in message
    assert not (served.root / "processing/refused").exists()
