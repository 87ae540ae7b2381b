"""The whole way, as a person goes it: pictures → shards → a job over FIFOs, in a process and in the image → results."""

import csv
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.end_to_end import IMAGE, ROOT, job, run
from tests.support.pictures import prepare_shards


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_shards(tmp_path_factory.mktemp("zoo"), 200, 40, shards=4, kinds=3)


def check_artifacts(folder: Path, pictures: Path, scratch: Path) -> dict:
    """Everything is there, and the exported model has exactly the accuracy that the job reported."""
    import tensorflow as tf

    described = json.loads((folder / "describe.json").read_text())
    assert described["TrainingJobStatus"] == "Completed"
    assert {metric["MetricName"] for metric in described["FinalMetricDataList"]} >= {
        "train:loss",
        "validation:accuracy",
    }
    assert "epoch=2 step=38 " in (folder / "logs/algo-1.log").read_text()
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert sum(row["metric"] == "validation:accuracy" for row in rows) == 2
    for archive in ("model", "output"):
        with tarfile.open(folder / f"{archive}.tar.gz") as tar:
            tar.extractall(scratch / archive, filter="data")
    evaluation = json.loads((scratch / "output/evaluation.json").read_text())
    assert (scratch / "output/report.html").stat().st_size > 5000

    serve = tf.saved_model.load(str(scratch / "model/1")).signatures["serving_default"]
    files = sorted(pictures.glob("validation/*/*.png"))
    images = np.stack([np.asarray(Image.open(path)) for path in files])
    names = [name.decode() for name in serve(image=tf.constant(images))["class"].numpy()]
    right = sum(name == path.parent.name for name, path in zip(names, files, strict=True))
    assert right / len(files) == evaluation["accuracy"]
    assert evaluation["accuracy"] > 0.9
    return described


def check_predictions(folder: Path, pictures: Path, scratch: Path, *options: str) -> None:
    """`predict` says of every validation picture what the evaluation says."""
    done = run("local_test", "predict", str(folder), str(pictures / "validation"), "--json", *options)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    evaluation = json.loads((scratch / "output/evaluation.json").read_text())
    names = list(evaluation["classes"])
    confusion = np.zeros((len(names), len(names)), int)
    for one in told:
        confusion[names.index(Path(one["picture"]).parent.name), names.index(one["class"])] += 1
    assert confusion.tolist() == evaluation["confusion_matrix"]
    right = [best["probability"] for one in told for best in one["top"] if best["class"] in one["picture"].split("/")]
    assert -np.log(right).mean() == pytest.approx(evaluation["loss"], rel=1e-4)


def test_in_a_process(data, tmp_path):
    done = run(*job(data, tmp_path / "jobs", "process"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "end-to-end: Completed" in done.stderr
    assert "output.tar.gz: evaluation.json, history.csv, report.html" in done.stderr
    check_artifacts(tmp_path / "jobs/end-to-end", data.parent / "pictures", tmp_path)
    check_predictions(tmp_path / "jobs/end-to-end", data.parent / "pictures", tmp_path)


@pytest.mark.docker
def test_in_the_image_with_the_result_of_a_process(data, tmp_path, docker_engine):
    done = run(*job(data, tmp_path / "jobs", "docker"))
    assert done.returncode == 0, done.stdout + done.stderr
    described = check_artifacts(tmp_path / "jobs/end-to-end", data.parent / "pictures", tmp_path)
    assert described["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    options = ("--runner", "docker", "--image", IMAGE)
    check_predictions(tmp_path / "jobs/end-to-end", data.parent / "pictures", tmp_path, *options)
    left = docker_engine.containers.list(all=True, filters={"label": "sagemaker-local-job=end-to-end"})
    assert left == []


def test_pictures_of_an_augmented_manifest(data, tmp_path):
    """The pictures as they lie there, each named by a line that says what it shows: no shards."""
    zoo = data.parent / "pictures"
    definition = json.loads((ROOT / "launch/training_job.json").read_text().replace("<image>", IMAGE))
    inputs = []
    for channel in ("train", "validation"):
        lines = [
            json.dumps({"picture-ref": path.as_uri(), "kind": path.parent.name})
            for path in sorted(zoo.glob(f"{channel}/*/*.png"), key=lambda path: path.name)
        ]
        manifest = tmp_path / f"{channel}.manifest"
        manifest.write_text("\n".join(lines))
        source = {
            "S3DataType": "AugmentedManifestFile",
            "S3Uri": manifest.as_uri(),
            "AttributeNames": ["picture-ref", "kind"],
        }
        one = {"ChannelName": channel, "DataSource": {"S3DataSource": source}, "RecordWrapperType": "RecordIO"}
        inputs.append({**one, "InputMode": "Pipe", "ShuffleConfig": {"Seed": 1}})
    definition |= {
        "TrainingJobName": "end-to-end",
        "RoleArn": "arn:aws:iam::123456789012:role/local",
        "InputDataConfig": inputs,
        "OutputDataConfig": {"S3OutputPath": (tmp_path / "out").as_uri()},
        "HyperParameters": {
            "model": "tutorial", "epochs": "2", "batch-size": "32", "image-shape": "20,20,3",
            "classes": "dark,light,striped",
        },
    }  # fmt: skip
    definition.pop("CheckpointConfig")
    (tmp_path / "job.json").write_text(json.dumps(definition))
    words = ["local_test", "train", "--job", str(tmp_path / "job.json"), "--runner", "process"]
    done = run(*words, "--out", str(tmp_path / "jobs"))
    assert done.returncode == 0, done.stdout + done.stderr
    check_artifacts(tmp_path / "jobs/end-to-end", zoo, tmp_path)


def interrupted(words: list[str], line: str) -> tuple[int, str]:
    """Run, press Ctrl-C when a log line that starts so has come; exit code and output."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    seen = []
    try:
        for text in process.stdout:
            seen.append(text)
            if text.startswith(line):
                process.send_signal(signal.SIGINT)
                line = "\0"
        return process.wait(200), "".join(seen)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("runner", ["process", pytest.param("docker", marks=pytest.mark.docker)])
def test_ctrl_c_and_the_same_checkpoints_go_on(data, tmp_path, runner, request):
    if runner == "docker":
        request.getfixturevalue("docker_engine")
    more = ["--checkpoints", str(tmp_path / "state")]
    code, output = interrupted(job(data, tmp_path / "first", runner, *more, epochs="100"), "epoch=1 ")
    assert code == 130, output
    described = json.loads((tmp_path / "first/end-to-end/describe.json").read_text())
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
    reached = max(int(path.name.split("-")[1]) for path in (tmp_path / "state").glob("checkpoint-*.npz"))
    assert reached >= 1

    done = run(*job(data, tmp_path / "second", runner, *more, epochs=str(reached + 2)))
    assert done.returncode == 0, done.stdout + done.stderr
    epochs = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("epoch=")]
    assert epochs == [f"epoch={reached + 1}", f"epoch={reached + 2}"]
    with tarfile.open(tmp_path / "second/end-to-end/output.tar.gz") as tar:
        history = tar.extractfile("history.csv").read().decode()
    assert [line.split(",")[0] for line in history.splitlines()] == ["epoch", *map(str, range(1, reached + 3))]


def test_a_failure_reaches_the_person(data, tmp_path):
    done = run(*job(data, tmp_path / "jobs", "process", "--hyperparameter", "epoch=3"))
    assert done.returncode == 1
    reason = "AlgorithmError: Unknown hyperparameter. Received: epoch. Did you mean epochs?"
    assert reason in done.stdout + done.stderr
    described = json.loads((tmp_path / "jobs/end-to-end/describe.json").read_text())
    assert described["FailureReason"].startswith(reason)
    assert described["FailureReason"].endswith("exit code: 1")


@pytest.fixture
def address(tmp_path, request) -> Iterator[dict[str, str]]:
    """The exports of a running `local_test serve`, with the runner that the test asks for."""
    command = [sys.executable, "-m", "local_test", "serve", "--port", "0", "--root", str(tmp_path / "root")]
    server = subprocess.Popen(
        [*command, "--runner", request.param], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        lines = [server.stdout.readline() for _ in range(4)]
        yield dict(line.strip().removeprefix("export ").split("=", 1) for line in lines)
        server.send_signal(signal.SIGINT)
        assert server.wait(200) == 0
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.parametrize(
    "address", ["process", pytest.param("docker", marks=pytest.mark.docker)], indirect=True, ids=["process", "docker"]
)
def test_the_same_job_through_the_api(data, tmp_path, address, request):
    """launch/training_job.json with its placeholders filled in, sent by boto3; the data comes from S3."""
    import boto3

    if "docker" in request.node.name:
        request.getfixturevalue("docker_engine")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | address
    session = boto3.Session(
        address["AWS_ACCESS_KEY_ID"], address["AWS_SECRET_ACCESS_KEY"], region_name=address["AWS_DEFAULT_REGION"]
    )
    s3, sagemaker = (session.client(name, endpoint_url=address["AWS_ENDPOINT_URL"]) for name in ("s3", "sagemaker"))
    s3.create_bucket(Bucket="somewhere")
    uploaded = run("dataset", "upload", "--bucket", "somewhere", "--data", str(data), env=environment)
    assert uploaded.returncode == 0, uploaded.stderr

    text = (ROOT / "launch/training_job.json").read_text()
    role = "arn:aws:iam::123456789012:role/local"
    for placeholder, value in (("name", "sent"), ("image", IMAGE), ("role", role), ("bucket", "somewhere")):
        text = text.replace(f"<{placeholder}>", value)
    definition = json.loads(text)
    definition["HyperParameters"] = {"model": "tutorial", "epochs": "2", "batch-size": "32"}
    sagemaker.create_training_job(**definition)
    waiter = sagemaker.get_waiter("training_job_completed_or_stopped")
    waiter.wait(TrainingJobName="sent", WaiterConfig={"Delay": 1, "MaxAttempts": 240})

    described = sagemaker.describe_training_job(TrainingJobName="sent")
    assert described["TrainingJobStatus"] == "Completed", described.get("FailureReason")
    final = {metric["MetricName"]: metric["Value"] for metric in described["FinalMetricDataList"]}
    assert final["validation:accuracy"] > 0.9
    address_of_model = described["ModelArtifacts"]["S3ModelArtifacts"]
    assert address_of_model == "s3://somewhere/cv_keras_cifar10/jobs/sent/output/model.tar.gz"
    s3.download_file("somewhere", address_of_model.partition("somewhere/")[2], str(tmp_path / "model.tar.gz"))
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        assert {"1/saved_model.pb", "model.keras", "classes.json"} <= {
            name.removeprefix("./") for name in tar.getnames()
        }
    for client in (s3, sagemaker):
        client.close()
