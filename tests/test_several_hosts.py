"""A job on two hosts in the image: real containers, on the job's own network, through local_test."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.end_to_end import IMAGE, ROOT, hyperparameters, job, run
from tests.support.pictures import prepare_shards

pytestmark = pytest.mark.docker


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
    done = run(*of_script(tmp_path, IMAGE, script, **{f"sagemaker_{option}_enabled": "true"}))
    assert done.returncode == 0, done.stdout + done.stderr
    log = (tmp_path / "jobs/scripted/logs/algo-1.log").read_text()
    assert set(lines) <= set(log.splitlines()), log


def of_script(folder: Path, image: str, script: str, **own: str) -> list[str]:
    """The words of a job on two hosts that runs the script."""
    (folder / "code").mkdir()
    (folder / "code/mine.py").write_text(script)
    own |= {"sagemaker_program": "mine.py", "sagemaker_submit_directory": "/opt/ml/input/data/code"}
    return [
        *("local_test", "train", "--runner", "docker", "--image", image, "--job", str(job_file(folder))),
        *("--out", str(folder / "jobs"), "--name", "scripted", "--channel", f"code={folder / 'code'}"),
        *("--instance-count", "2", "--input-mode", "File", *hyperparameters(**own)),
    ]


MPI = """
import json, os, pathlib, signal, sys, time
from mpi4py import MPI
world = MPI.COMM_WORLD
goal = json.loads(os.environ["SM_HPS"])["goal"]
def save(*_):
    time.sleep(4)  # mpirun itself would not leave as much
    pathlib.Path(os.environ["SM_MODEL_DIR"], str(world.rank)).write_text("saved")
    sys.exit(0)
if goal == "stop":
    signal.signal(signal.SIGTERM, save)
print(f"rank {world.rank} of {world.size}, sum {world.allreduce(world.rank)}", flush=True)
if goal == "fail" and world.rank == 3:
    raise ValueError("label 12 out of range")
while goal == "stop":
    time.sleep(0.1)
world.barrier()
"""


@pytest.fixture(scope="module")
def mpi_image(docker_engine) -> Iterator[str]:
    """With the optional layer."""
    name = f"cv-keras-cifar10:mpi-{os.getpid()}"
    command = [ROOT / "container/build.sh", "--mpi"]
    built = subprocess.run(command, env={**os.environ, "IMAGE": name}, capture_output=True, text=True, timeout=900)
    assert built.returncode == 0, built.stderr
    yield name
    docker_engine.images.remove(name, force=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("goal", ["end", "fail", "stop"])
def test_a_script_runs_by_mpi(tmp_path, mpi_image, goal):
    """Four processes on two hosts: to their end, to a failure with its cause, to a stop that all of them hear of."""
    own = {"sagemaker_mpi_enabled": "true", "sagemaker_mpi_num_of_processes_per_host": "2", "goal": goal}
    process = subprocess.Popen(
        [sys.executable, "-m", *of_script(tmp_path, mpi_image, MPI, **own)], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        seen, output = [], ""
        for line in process.stdout:
            output += line
            seen += re.findall(r"rank \d of 4, sum 6", line)
            if len(seen) == 4 and goal == "stop":
                process.send_signal(signal.SIGINT)
                break
        output += process.stdout.read()
        code = process.wait(120)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert sorted(seen) == [f"rank {rank} of 4, sum 6" for rank in range(4)], output
    described = json.loads((tmp_path / "jobs/scripted/describe.json").read_text())
    reason = described.get("FailureReason", "")
    if goal == "end":
        assert (code, described["TrainingJobStatus"]) == (0, "Completed")
    elif goal == "fail":
        assert (code, described["TrainingJobStatus"]) == (1, "Failed")
        assert 'ErrorMessage "ValueError: label 12 out of range' in reason
    else:
        assert described["TrainingJobStatus"] == "Stopped"
        with tarfile.open(tmp_path / "jobs/scripted/model.tar.gz") as archive:
            assert {"0", "1", "2", "3"} <= set(archive.getnames())


def job_file(folder: Path) -> Path:
    """A request for a script, without data."""
    request = {
        "TrainingJobName": "<name>",
        "AlgorithmSpecification": {"TrainingImage": "any:local", "TrainingInputMode": "File"},
        "RoleArn": "<role>",
        "OutputDataConfig": {"S3OutputPath": "s3://<bucket>/jobs/"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
    (folder / "job.json").write_text(json.dumps(request))
    return folder / "job.json"
