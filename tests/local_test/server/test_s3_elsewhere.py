"""--s3-endpoint-url: data, artifacts and checkpoints in an S3 that the platform does not serve."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from tests.support.command_line import finish, start, write_program
from tests.support.served import BUCKET, ROOT, Served, ended, request

KEYS = {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "secret-of-mine"}
READS = (
    "(BASE / 'checkpoints/c').write_text('state')\n"
    "(BASE / 'model/m').write_bytes((BASE / 'input/data/train_0').read_bytes())\n"
    "print(os.environ['AWS_ENDPOINT_URL_S3'], os.environ['AWS_ACCESS_KEY_ID'], flush=True)\n"
)


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A server of its own process: this one. It shares nothing with the one of `serve`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(elsewhere: str) -> Iterator[Any]:
    session = boto3.session.Session("any", "any", region_name="us-east-1")
    client = session.client("s3", endpoint_url=elsewhere, config=Config(proxies={}))
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="data/a", Body=b"one ")
    client.put_object(Bucket=BUCKET, Key="data/b", Body=b"two")
    yield client
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


def keys(s3: Any) -> set[str]:
    return {item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}


def test_a_served_job(tmp_path: Path, elsewhere: str, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with Served(tmp_path, "--s3-endpoint-url", elsewhere, exports=3) as served:
        assert set(served.exports) == {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"}
        assert served.exports["AWS_ENDPOINT_URL_S3"] == elsewhere
        served.exports |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        sagemaker = served.client("sagemaker")
        kept = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/kept/"}}
        sagemaker.create_training_job(**request("job", READS, {"train": f"s3://{BUCKET}/data/"}, **kept))
        description = ended(sagemaker, "job")
        assert description["TrainingJobStatus"] == "Completed", description
        assert (served.root / "training/job/logs/algo-1.log").read_text() == f"{elsewhere} mine\n"
        model = description["ModelArtifacts"]["S3ModelArtifacts"]
        assert model == f"s3://{BUCKET}/out/job/output/model.tar.gz"
        written = {"kept/c", "out/job/output/model.tar.gz", "out/job/output/output.tar.gz"}
        assert keys(s3) == {"data/a", "data/b"} | written
        with pytest.raises(Exception, match=f"This address has no S3. Set AWS_ENDPOINT_URL_S3={elsewhere}"):
            served.client("s3").list_buckets()
        assert "Traceback" not in served.end(signal.SIGTERM)
        assert not (served.root / "s3").exists()  # what is another server's is not kept here


def test_without_credentials_any_value_will_do(
    tmp_path: Path, elsewhere: str, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with Served(tmp_path, "--s3-endpoint-url", f"{elsewhere}/", exports=5) as served:
        assert served.exports["AWS_ACCESS_KEY_ID"] == "local"
        assert served.exports["AWS_ENDPOINT_URL_S3"] == elsewhere


def test_nothing_answers_there(tmp_path: Path) -> None:
    for url, message in (
        ("http://127.0.0.1:9", "No S3 answers at --s3-endpoint-url. Received: http://127.0.0.1:9: "),
        ("127.0.0.1:9", "not an address. Received: 127.0.0.1:9. Expected: http://HOST:PORT"),
    ):
        words = ["serve", "--port", "0", "--runner", "process", "--root", str(tmp_path / "r"), "--s3-endpoint-url", url]
        environ = {"PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true"}
        done = subprocess.run(
            [sys.executable, "-m", "local_test", *words], env=environ, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 2
        assert message in done.stderr.splitlines()[-1]


def test_train_and_tune(tmp_path: Path, elsewhere: str, s3: Any) -> None:
    write_program(tmp_path, f"import time\n{READS}print('loss=1.5')")
    training = request("mine", channels={"train": f"s3://{BUCKET}/data/"})
    del training["Environment"]
    training["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/kept/"}
    (tmp_path / "job.json").write_text(json.dumps(training))
    options = ("--s3-endpoint-url", elsewhere)
    code, out, err = finish(start(tmp_path, "train", "--job", "job.json", *options, own=True, **KEYS))
    assert (code, out.splitlines()[0]) == (0, f"{elsewhere} mine"), err
    assert {"kept/c", "out/mine/output/model.tar.gz"} <= keys(s3)
    del training["TrainingJobName"]
    definition = {"StaticHyperParameters": {"epochs": "1"}, **training}
    definition["AlgorithmSpecification"] |= {"MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]}
    tuning = {
        "HyperParameterTuningJobName": "tuned",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
            "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0", "MaxValue": "1"}]},
        },
        "TrainingJobDefinition": definition,
    }
    (tmp_path / "tune.json").write_text(json.dumps(tuning))
    code, _, err = finish(start(tmp_path, "tune", "--job", "tune.json", *options, own=True, **KEYS))
    assert code == 0, err
    assert any(key.startswith("out/tuned-001-") for key in keys(s3))
