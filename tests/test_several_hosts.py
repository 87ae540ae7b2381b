"""A job on two hosts in the image: real containers, on the job's own network, through local_test."""

import csv
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.end_to_end import IMAGE, ROOT, job, run
from tests.support.pictures import prepare_shards

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_shards(tmp_path_factory.mktemp("zoo"), 200, 40, shards=4, kinds=3)


def of_hosts(data: Path, out: Path, hosts: int, batch: int, **more: str) -> list[str]:
    own = {"batch-size": str(batch), "optimizer": "sgd", "learning-rate": "0.003", **more}
    return job(data, out, "docker", "--instance-count", str(hosts), **own)


def losses(folder: Path) -> list[float]:
    with tarfile.open(folder / "output.tar.gz") as archive:
        rows = list(csv.DictReader(archive.extractfile("history.csv").read().decode().splitlines()))
    return [float(row[name]) for row in rows for name in ("train_loss", "validation_loss")]


def weights(log: Path) -> list[str]:
    return [line.split()[-1] for line in log.read_text().splitlines() if "weights of all hosts: " in line]


def test_two_containers_train_as_one_with_twice_the_batch(data, tmp_path, docker_engine):
    for hosts in (1, 2):
        done = run(*of_hosts(data, tmp_path / str(hosts), hosts, 64 // hosts))
        assert done.returncode == 0, done.stdout + done.stderr
    one, two = tmp_path / "1/end-to-end", tmp_path / "2/end-to-end"
    assert losses(two) == pytest.approx(losses(one), rel=2e-3)
    first, second = (weights(two / f"logs/algo-{number}.log") for number in (1, 2))
    assert len(first) == 2
    assert first == second
    with tarfile.open(two / "model.tar.gz") as archive:
        assert {"1/saved_model.pb", "model.keras"} <= set(archive.getnames())
    with tarfile.open(two / "output.tar.gz") as archive:
        assert json.load(archive.extractfile("evaluation.json"))["examples"] == 120


@pytest.mark.slow
def test_a_killed_container_fails_the_job_with_its_name(data, tmp_path, docker_engine):
    words = of_hosts(data, tmp_path, 2, 16, epochs="100000")
    process = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    try:
        for line in process.stdout:
            if "epoch=2 " in line:
                break
        labels = ["sagemaker-local-job=end-to-end", "sagemaker-local-host=algo-2"]
        ours = [
            container
            for container in docker_engine.containers.list(filters={"label": labels})
            if any(str(tmp_path) in mount["Source"] for mount in container.attrs["Mounts"])
        ]
        assert len(ours) == 1
        ours[0].kill("SIGKILL")
        output = process.stdout.read()
        assert process.wait(120) == 1, output
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    described = json.loads((tmp_path / "end-to-end/describe.json").read_text())
    assert described["TrainingJobStatus"] == "Failed"
    assert "algo-2" in described["FailureReason"]
    assert "Host algo-2 is gone" in (tmp_path / "end-to-end/logs/algo-1.log").read_text()


MIRRORED = """
import json, os
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
total = strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("sum", tf.constant(rank + 1.0)))
print("total", float(total), "of", strategy.num_replicas_in_sync, flush=True)
"""
SERVERS = """
import json, os
import tensorflow as tf
config = json.loads(os.environ["TF_CONFIG"])
if config["task"]["type"] == "master":
    del config["cluster"]["worker"]  # that script serves nothing
    tf.config.experimental_connect_to_cluster(tf.train.ClusterSpec(config["cluster"]), "master", 0)
    for task in range(2):
        with tf.device(f"/job:ps/task:{task}"):
            variable = tf.Variable(float(task + 1))
        print("on", variable.device, float(variable.assign_add(1)), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "script", "lines"),
    [
        ("multi_worker_mirrored_strategy", MIRRORED, ["total 3.0 of 2"]),
        (
            "parameter_server",
            SERVERS,
            [f"on /job:ps/replica:0/task:{task}/device:CPU:0 {task + 2}.0" for task in (0, 1)],
        ),
    ],
)
def test_a_script_is_distributed(tmp_path, docker_engine, option, script, lines):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/mine.py").write_text(script)
    hyperparameters = {
        f"sagemaker_{option}_enabled": "true",
        "sagemaker_program": "mine.py",
        "sagemaker_submit_directory": "/opt/ml/input/data/code",
    }
    words = [word for name, value in hyperparameters.items() for word in ("--hyperparameter", f"{name}={value}")]
    words += ["--channel", f"code={tmp_path / 'code'}", "--instance-count", "2", "--input-mode", "File"]
    done = run(
        "local_test",
        "train",
        "--runner",
        "docker",
        "--image",
        IMAGE,
        "--job",
        str(job_file(tmp_path)),
        "--out",
        str(tmp_path / "jobs"),
        "--name",
        "scripted",
        *words,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    log = (tmp_path / "jobs/scripted/logs/algo-1.log").read_text()
    assert set(lines) <= set(log.splitlines()), log


def job_file(folder: Path) -> Path:
    """A request for a script, without data."""
    request = {
        "TrainingJobName": "<name>",
        "AlgorithmSpecification": {"TrainingImage": "any:local", "TrainingInputMode": "File"},
        "RoleArn": "<role>",
        "OutputDataConfig": {"S3OutputPath": "s3://<bucket>/jobs/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 120},
    }
    (folder / "job.json").write_text(json.dumps(request))
    return folder / "job.json"
