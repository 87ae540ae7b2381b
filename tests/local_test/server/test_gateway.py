"""The address for containers: a running job's own credentials open what a job needs, and nothing opens the rest."""

import http.client
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from local_test.request.job_kind import TRAINING
from local_test.server.job_keys import JobKeys
from local_test.server.signatures import Signature
from local_test.training.job_status import TrainingJobStatus
from local_test.training.observer import Observer
from local_test.training.publisher import Publisher
from local_test.util.clock import now_utc
from tests.support.clients import CLIENTS, require_client, sdk_python
from tests.support.processing import processed, processing_request, put_program
from tests.support.served import BUCKET, MAIN_WITH_GATEWAY, WAIT, Served, ended, printed, request, until

KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
TELL = "import json\nprint(json.dumps(dict(os.environ)), flush=True)\n"


def client(environ: Mapping[str, str], service: str, **config: Any) -> Any:
    """As a program in the job's container has it."""
    return boto3.session.Session(*(environ.get(name) for name in KEYS), region_name="us-east-1").client(
        service,
        endpoint_url=environ["AWS_ENDPOINT_URL"],
        config=Config(proxies={}, retries={"total_max_attempts": 1}, **config),
    )


def refusal(call: Callable[..., Any], **members: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**members)
    assert error.value.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException", "403")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    return error.value.response["Error"]["Message"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served"), main=MAIN_WITH_GATEWAY) as server:
        server.client("s3").create_bucket(Bucket=BUCKET)
        yield server
        assert "Traceback" not in server.end()


def start(served: Served, name: str, **members: Any) -> dict[str, str]:
    """The environment of a job that waits."""
    served.client("sagemaker").create_training_job(**request(name, TELL + WAIT, **members))
    printed(served, name, "ready")
    return json.loads((served.root / f"training/{name}/logs/algo-1.log").read_text().splitlines()[0])


@pytest.fixture(scope="module")
def environ(served: Served) -> dict[str, str]:
    return start(served, "job")


def test_a_processing_job_opens_what_it_needs_until_it_ends(served: Served, environ: dict[str, str]) -> None:
    """There is a training job called `job`, too: it is another one."""
    jobs = served.client("sagemaker")
    program = put_program(served.client("s3"), "job", "print(json.dumps(dict(os.environ)), flush=True)\nsignal.pause()")
    jobs.create_processing_job(**processing_request("job", program))
    log = served.root / "processing/job/logs/algo-1.log"
    until(lambda: log.exists() and log.read_text().endswith("\n"))
    own = json.loads(log.read_text())
    sagemaker, s3 = client(own, "sagemaker"), client(own, "s3")
    assert sagemaker.describe_processing_job(ProcessingJobName="job")["ProcessingJobStatus"] == "InProgress"
    assert "A job may describe itself alone" in refusal(sagemaker.describe_training_job, TrainingJobName="job")
    assert "may not call this" in refusal(sagemaker.list_processing_jobs)
    s3.put_object(Bucket=BUCKET, Key="from-processing", Body=b"x")
    jobs.stop_processing_job(ProcessingJobName="job")
    assert processed(jobs, "job")["ProcessingJobStatus"] == "Stopped"
    refusal(s3.get_object, Bucket=BUCKET, Key="from-processing")


def test_each_job_has_credentials_of_its_own(served: Served, environ: dict[str, str]) -> None:
    other = start(served, "other")
    assert environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.2:")
    assert all(environ[name] != other[name] for name in KEYS)
    served.client("sagemaker").stop_training_job(TrainingJobName="other")
    for name in ("request.json", "describe.json"):
        assert environ["AWS_SECRET_ACCESS_KEY"] not in (served.root / "training/job" / name).read_text()


def test_a_job_reads_and_writes_s3(environ: dict[str, str]) -> None:
    s3 = client(environ, "s3")
    for key in ("plain", "a b/ü~(1)+=&%2F.txt"):
        s3.put_object(
            Bucket=BUCKET, Key=key, Body=b"content", Metadata={"with_underscore": "x", "with-dash": "two  blanks"}
        )
        assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"content"
        assert s3.head_object(Bucket=BUCKET, Key=key)["Metadata"]["with-dash"]
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix="a b/", Delimiter="/")
    assert [item["Key"] for item in listed["Contents"]] == ["a b/ü~(1)+=&%2F.txt"]


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_an_address_that_a_job_has_signed(environ: dict[str, str], version: str) -> None:
    client(environ, "s3").put_object(Bucket=BUCKET, Key="a b", Body=b"content")
    s3 = client(environ, "s3", signature_version=version)
    url = s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "a b"})
    assert fetch(url) == (200, "content")
    status, text = fetch(url.replace("a%20b", "plain"))
    assert (status, "<Code>AccessDenied</Code>" in text) == (403, True)
    place = url.index("oken=") + 5
    assert fetch(url[:place] + "x" + url[place + 1 :])[0] == 403
    soon = s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "a b"}, ExpiresIn=1)
    assert "Request has expired" in until(lambda: fetch(soon)[1] if fetch(soon)[0] == 403 else "")
    for seconds in (0, -5) if version == "s3" else (0, -5, 604801):
        assert fetch(s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "a b"}, seconds))[0] == 403
    for wrong in ("", "x", "1e9"):  # signed or not, that is no time
        assert fetch(re.sub("Expires=[0-9]+", f"Expires={wrong}", url))[0] == 403
    # no other service by an address that is signed for S3
    host, query = environ["AWS_ENDPOINT_URL"], url.partition("?")[2]
    assert fetch(f"{host}/iam_us-east-1/?Action=ListRoles&{query}")[0] == 403
    assert fetch(url, {"X-Amz-Target": "SageMaker.ListTrainingJobs"})[0] == 403


def fetch(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("GET", f"/{path}", headers=dict(headers or {}))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_what_a_job_legitimately_asks(environ: dict[str, str]) -> None:
    sagemaker = client(environ, "sagemaker")
    assert sagemaker.describe_training_job(TrainingJobName="job")["TrainingJobStatus"] == "InProgress"
    component = "job-aws-training-job"
    sagemaker.update_trial_component(TrialComponentName=component, Parameters={"a": {"NumberValue": 1.0}})
    assert sagemaker.describe_trial_component(TrialComponentName=component)["Parameters"]["a"] == {"NumberValue": 1.0}
    sagemaker.create_experiment(ExperimentName="mine")
    assert [item["ExperimentName"] for item in sagemaker.list_experiments()["ExperimentSummaries"]] == ["mine"]
    assert sagemaker.search(Resource="ExperimentTrialComponent")["Results"]
    artifact = sagemaker.create_artifact(Source={"SourceUri": f"s3://{BUCKET}/graph"}, ArtifactType="ROCCurve")
    own = sagemaker.describe_trial_component(TrialComponentName=component)["TrialComponentArn"]
    sagemaker.add_association(SourceArn=own, DestinationArn=artifact["ArtifactArn"])
    point = {"MetricName": "loss", "Timestamp": 1700000000, "Value": 1.0, "Step": 1}
    metrics = client(environ, "sagemaker-metrics")
    assert metrics.batch_put_metrics(TrialComponentName=component, MetricData=[point])["Errors"] == []
    assert client(environ, "sts").get_caller_identity()["Account"] == "123456789012"
    logs = client(environ, "logs")
    logs.create_log_group(logGroupName="/mine")
    logs.create_log_stream(logGroupName="/mine", logStreamName="s")
    logs.put_log_events(logGroupName="/mine", logStreamName="s", logEvents=[{"timestamp": 1, "message": "m"}])
    data = [{"MetricName": "m", "Value": 1.0}]
    client(environ, "cloudwatch").put_metric_data(Namespace="n", MetricData=data)


def test_all_else_is_refused_by_name(served: Served, environ: dict[str, str]) -> None:
    sagemaker = client(environ, "sagemaker")
    said = refusal(sagemaker.create_training_job, **request("planted"))
    assert "may not call this. Received: sagemaker: CreateTrainingJob. It may use S3" in said
    assert "describe itself alone. Received: 'other'" in refusal(
        sagemaker.describe_training_job, TrainingJobName="other"
    )
    assert "Received: 'TrainingJob'" in refusal(sagemaker.search, Resource="TrainingJob")
    for name in ("list_training_jobs", "list_hyper_parameter_tuning_jobs", "list_models"):
        refusal(getattr(sagemaker, name))
    refusal(sagemaker.stop_training_job, TrainingJobName="job")
    for service, operation in (("iam", "list_roles"), ("ecr", "describe_repositories"), ("sts", "get_session_token")):
        assert f"{service}: " in refusal(getattr(client(environ, service), operation))
    refusal(client(environ, "logs").delete_log_group, logGroupName="/aws/sagemaker/TrainingJobs")
    refusal(client(environ, "s3").get_object, Bucket="v20180820", Key="x")  # to moto, an address of S3 Control
    assert [
        job["TrainingJobName"]
        for job in served.client("sagemaker").list_training_jobs(NameContains="plan")["TrainingJobSummaries"]
    ] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"AWS_SESSION_TOKEN": "x"},
        {"AWS_SESSION_TOKEN": None},
        {"AWS_SECRET_ACCESS_KEY": "x"},
        {"AWS_ACCESS_KEY_ID": "local"},
        {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_SESSION_TOKEN": None},
    ],
)
def test_credentials_that_are_no_jobs_open_nothing(environ: dict[str, str], changes: dict[str, str | None]) -> None:
    given = {name: value for name, value in {**environ, **changes}.items() if value is not None}
    assert "not the credentials of a job that runs now" in refusal(client(given, "s3").list_buckets)
    refusal(client(given, "sagemaker").describe_training_job, TrainingJobName="job")
    refusal(client(given, "sts").get_caller_identity)
    assert fetch(client(given, "s3").generate_presigned_url("list_buckets"))[0] == 403


@pytest.mark.parametrize("path", ["/", f"/{BUCKET}/plain", "/moto-api/reset", "/latest/meta-data/", "/BatchPutMetrics"])
def test_a_request_that_nobody_signed_gets_nothing(environ: dict[str, str], path: str) -> None:
    for headers in ({}, {"X-Amz-Target": "SageMaker.ListTrainingJobs"}, {"Authorization": "AWS local:x"}):
        status, text = fetch(environ["AWS_ENDPOINT_URL"] + path, headers)
        assert (status, "Only the container of a running job" in text) == (403, True)


def test_they_are_void_when_the_job_is_over(served: Served) -> None:
    environ, sagemaker = start(served, "short"), served.client("sagemaker")
    s3 = client(environ, "s3")
    url = s3.generate_presigned_url("list_buckets")
    assert (s3.list_buckets()["Buckets"][0]["Name"], fetch(url)[0]) == (BUCKET, 200)
    sagemaker.stop_training_job(TrainingJobName="short")
    ended(sagemaker, "short")
    refusal(s3.list_buckets)
    assert fetch(url)[0] == 403


def test_the_persons_own_address_stays_open(served: Served, environ: dict[str, str]) -> None:
    own = {"AWS_ENDPOINT_URL": served.exports["AWS_ENDPOINT_URL"]}
    unsigned = boto3.client(
        "s3",
        endpoint_url=own["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        config=Config(signature_version=UNSIGNED, proxies={}),
    )
    assert unsigned.list_buckets()["Buckets"]
    assert client({**environ, **own}, "iam").list_roles()["Roles"]


LOAD_RUN = f"""
from sagemaker.experiments.run import load_run
from sagemaker.session import Session
quiet = {{"SchemaVersion": "1.0", "SageMaker": {{"PythonSDK": {{"Modules": {{"TelemetryOptOut": True}}}}}}}}
session = Session(default_bucket="{BUCKET}", sagemaker_config=quiet)
with load_run(sagemaker_session=session) as run:
    run.log_parameter("inside", 1)
    run.log_metric("loss", 0.5, step=1)
    run.log_file(__file__, name="program")
    run.log_artifact("model", "s3://{BUCKET}/model")
print("LOADED", run.experiment_name, run.run_name)
"""
RUN = """
from sagemaker.experiments.run import Run
from sagemaker.session import Session
with Run(experiment_name="by-run", run_name="first", sagemaker_session=Session()) as run:
    print("CONFIG", __import__("json").dumps(run.experiment_config))
"""


@pytest.mark.slow
def test_what_an_sdk_calls_within_a_job_is_open(served: Served, tmp_path: Path) -> None:
    """load_run of SDK v2, as a script in a job has it."""

    def run(program: str, environ: Mapping[str, str]) -> str:
        path = tmp_path / "program.py"
        path.write_text(program)
        kept = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
        command = [sdk_python("v2"), str(path)]
        done = subprocess.run(command, env={**kept, **environ}, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.splitlines()[-1].partition(" ")[2]

    require_client(CLIENTS[2])
    config = json.loads(run(RUN, served.exports))
    environ = start(served, "runs", ExperimentConfig=config)
    assert run(LOAD_RUN, environ) == "by-run first"
    (trial,) = served.client("sagemaker").list_trials(ExperimentName="by-run")["TrialSummaries"]
    found = served.client("sagemaker").search(
        Resource="ExperimentTrialComponent",
        SearchExpression={
            "Filters": [{"Name": "Parents.TrialName", "Operator": "Equals", "Value": trial["TrialName"]}]
        },
    )["Results"]
    assert [one for one in found if one["TrialComponent"].get("Parameters", {}).get("inside") == {"NumberValue": 1.0}]


def test_a_body_is_read_only_for_a_jobs_credentials(environ: dict[str, str]) -> None:
    """Else any container could fill this machine's memory."""
    host = environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    credential = "Credential=ASIAX/20260101/us-east-1/sagemaker/aws4_request"
    connection.putrequest("POST", "/")
    connection.putheader("Authorization", f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0")
    connection.putheader("Content-Length", str(60 << 20))
    connection.endheaders()
    answer = connection.getresponse()  # with not a byte of it sent
    assert (answer.status, b"not the credentials of a job" in answer.read()) == (403, True)
    connection.close()


def test_where_jobs_share_credentials_each_has_its_time() -> None:
    """Those that an S3 elsewhere knows."""
    shared = {"AWS_ACCESS_KEY_ID": "caller", "AWS_SECRET_ACCESS_KEY": "secret"}
    keys, signature = JobKeys(), Signature("caller", "", "s3", lambda secret: secret == "secret")
    grants = {name: keys.for_job(TRAINING, name, shared) for name in ("a", "b")}
    for name, state, running in (
        ("a", "Starting", set()), ("a", "Training", {"a"}), ("b", "Training", {"a", "b"}),
        ("a", "Stopping", {"a", "b"}), ("a", "Uploading", {"b"}), ("b", "Interrupted", set()),
        ("b", "Stopping", set()), ("b", "Training", {"b"}), ("b", "Failed", set()),
    ):  # fmt: skip
        grants[name].before_transition(state)
        assert {job for _, job in keys.jobs_of(signature)} == running, (name, state)


def test_who_sees_that_a_job_has_ended_finds_its_credentials_void(tmp_path: Path) -> None:
    """However long other observers take."""
    keys, signature = JobKeys(), Signature("own", "", "s3", lambda _: True)
    own = keys.for_job(TRAINING, "job", {"AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "secret"})
    status = TrainingJobStatus.from_request({"TrainingJobName": "job"}, "arn", now_utc)
    seen = []

    class Slow(Observer):
        def on_transition(self, description: dict[str, Any]) -> None:
            seen.append((description["TrainingJobStatus"], bool(keys.jobs_of(signature))))

    publisher = Publisher(tmp_path, status, [Slow(), own], now_utc)
    for state in ("Training", "Stopping", "Stopped"):
        publisher.move(state)
    assert seen == [("InProgress", True), ("Stopping", True), ("Stopped", False)]
