"""A job on two hosts in the image: real containers, on the job's own network, through local_test."""

import csv
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support.end_to_end import ROOT, job, prepare_zoo, run

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_zoo(tmp_path_factory.mktemp("pictures"))


def of_hosts(data: Path, out: Path, hosts: int, batch: int, **more: str) -> list[str]:
    hyperparameters = {"batch-size": str(batch), "optimizer": "sgd", "learning-rate": "0.003", **more}
    words = [word for name, value in hyperparameters.items() for word in ("--hyperparameter", f"{name}={value}")]
    return job(data, out, "docker", "--instance-count", str(hosts), *words)


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
