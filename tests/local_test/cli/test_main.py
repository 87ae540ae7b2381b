"""The commands as a person runs them: exit codes, one line for what was to be expected, Ctrl-C."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_test.cli.main import main
from local_test.util.atomic_files import file_uri
from tests.support.command_line import ROOT, finish, start, write_program
from tests.support.local_jobs import prepared_data_request
from tests.support.small_disk import fill, mount_small_disk

# the process runner with a training program of the test's own in the place of the toolkit's


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout's neighbour with prepared data; commands run in it."""
    for name in ("train", "validation"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / f"data/{name}/{name}-00000.tfrecord").write_bytes(name.encode() * 1000)
    (tmp_path / "data/dataset.json").write_text("{}")
    return tmp_path


def error(folder: Path, *arguments: str, **environ: str) -> str:
    """The one line on standard error of a command that is refused."""
    code, out, err = finish(start(folder, *arguments, **environ))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert not (folder / "jobs").exists()
    return err


def test_a_job_from_the_command_line(folder: Path) -> None:
    write_program(
        folder,
        "data = BASE / 'input/data'\n"
        "print(len((data / 'train_0').read_bytes()), (data / 'dataset/dataset.json').read_text())\n"
        "print('epoch=0 validation:accuracy=0.625000 images/s=10.0')\n"
        "print((BASE / 'input/config/hyperparameters.json').read_text())\n",
    )
    arguments = ("train", "--name", "mine", "--hyperparameter", "epochs=1", "--out", "o")
    code, out, err = finish(start(folder, *arguments, own=True))
    assert code == 0, err
    assert out.splitlines()[:2] == ["5000 {}", "epoch=0 validation:accuracy=0.625000 images/s=10.0"]
    assert '"epochs":"1"' in out
    assert "mine: Completed\n" in err
    assert "validation:accuracy: 0.625\n" in err
    assert "Model: none, nothing was written to /opt/ml/model" in err
    assert json.loads((folder / "o/mine/describe.json").read_text())["TrainingJobStatus"] == "Completed"


def test_a_failed_job(folder: Path) -> None:
    write_program(folder, "(BASE / 'output/failure').write_text('no records')\nsys.exit(5)")
    code, _, err = finish(start(folder, "train", own=True))
    assert code == 1
    assert "FailureReason: AlgorithmError: no records, exit code: 5\n" in err
    assert "Model: " not in err


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    with mount_small_disk(folder / "disk", "64k") as disk:
        yield disk


@pytest.mark.parametrize("left", [0, 1 << 13, 1 << 14, 1 << 15])
def test_a_disk_that_is_full_or_fills(folder: Path, small_disk: Path, left: int) -> None:
    """Wherever the room ends — the job's folder, its tree, its log, its model —, there is a line, and no traceback."""
    write_program(
        folder,
        "try:\n    (BASE / 'model/x').write_bytes(os.urandom(1 << 13))\nexcept OSError:\n    pass\n"
        "for n in range(400): print('epoch=1 validation:accuracy=0.5', 'x' * 200, flush=True)\n",
    )
    fill(small_disk, left)
    code, _, err = finish(start(folder, "train", "--name", "mine", "--out", "disk/o", own=True))
    if left:
        assert code == 1
        assert "mine: Failed\n" in err
        assert re.search("FailureReason: .*No space left on device", err), err
        assert not list((small_disk / "o/mine").glob("algo-*"))
    else:
        assert code == 2
        assert err == "local_test: The job can't be kept: No space left on device. Received: disk/o/mine\n"
        assert list((small_disk / "o").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_as_the_service_would(folder: Path, number: signal.Signals) -> None:
    write_program(
        folder,
        "def leave(*_):\n"
        "    (BASE / 'model/saved').write_text('x')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    signal.pause()\n",
    )
    process = start(folder, "train", "--name", "j", own=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    code, _, err = finish(process)
    assert code == 130
    assert "stopping the job: SIGTERM now, SIGKILL in 120 s; Ctrl-C again kills it" in err
    assert "j: Stopped" in err
    assert f"Model: {file_uri(folder / 'jobs/j/model.tar.gz')}" in err


def test_a_second_ctrl_c_kills(folder: Path) -> None:
    write_program(
        folder,
        "signal.signal(signal.SIGTERM, lambda *_: print('ignored', flush=True))\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    signal.pause()\n",
    )
    process = start(folder, "train", "--name", "j", own=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "ignored\n"
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "killing the job" in err


def test_checkpoints_of_the_same_folder_resume(folder: Path) -> None:
    write_program(
        folder,
        "path = BASE / 'checkpoints/epoch'\n"
        "print(path.read_text() if path.exists() else 'from the beginning')\n"
        "path.write_text('from epoch 1')\n",
    )
    run = ("train", "--checkpoints", "kept")
    assert finish(start(folder, *run, own=True))[1] == "from the beginning\n"
    assert finish(start(folder, *run, own=True))[1] == "from epoch 1\n"


Spoil = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (
            lambda job: job.pop("RoleArn"),
            "Value null at 'roleArn' failed to satisfy constraint: Member must not be null",
        ),
        (
            lambda job: job.update(Hyperparameters={}),
            "Unknown member 'Hyperparameters' in 'request': did you mean HyperP",
        ),
        (lambda job: job.update(HyperParameters={"epochs": 3}), "'hyperParameters.epochs' failed"),
        (lambda job: job["ResourceConfig"].update(InstanceCount=2), "ResourceConfig.InstanceCount"),
        (
            lambda job: job["AlgorithmSpecification"].update(AlgorithmName="mine"),
            "AlgorithmSpecification.AlgorithmName",
        ),
    ],
)
def test_a_bad_job_file(folder: Path, spoil: Spoil, expected: str) -> None:
    job = prepared_data_request()
    spoil(job)
    (folder / "job.json").write_text(json.dumps(job))
    assert expected in error(folder, "train", "--job", "job.json", "--runner", "process")


def test_other_bad_requests(folder: Path) -> None:
    (folder / "job.json").write_text("{not json")
    assert "The job file is not JSON" in error(folder, "train", "--job", "job.json")
    assert "The job file can't be read" in error(folder, "train", "--job", "absent.json")
    assert "there is no such file or folder" in error(folder, "train", "--channel", "train=nowhere")
    assert "--channel takes NAME=VALUE" in error(folder, "train", "--channel", "train")
    assert "ResourceConfig.InstanceCount" in error(folder, "train", "--instance-count", "2", "--runner", "process")
    assert "--channel a has one value. Received: b and c" in error(
        folder, "train", "--channel", "a=b", "--channel", "a=c"
    )
    assert "CheckpointConfig.S3Uri: It must be a folder. Received: /dev/null" in error(
        folder, "train", "--checkpoints", "/dev/null/a", "--runner", "process"
    )
    launch = ROOT / "launch"
    assert "This is a tuning job: use tune." in error(folder, "train", "--job", str(launch / "tuning_job.json"))
    assert "This is a training job: use train." in error(folder, "tune", "--job", str(launch / "training_job.json"))
    assert "This is a training job: use train." in error(folder, "pipeline", str(launch / "training_job.json"))
    assert "This is a pipeline: use pipeline." in error(folder, "train", "--job", str(launch / "pipeline.json"))
    (folder / "data/train/train-00000.tfrecord").unlink()
    write_program(folder, "")
    code, _, err = finish(start(folder, "train", own=True))
    assert (code, err.count("\n")) == (2, 1)
    assert 'No S3 objects found under S3 URL "file:///' in err
    (folder / "data/train").rmdir()
    assert "Run python -m dataset prepare" in error(folder, "train")


def test_no_engine(folder: Path) -> None:
    said = error(folder, "train", "--runner", "docker", DOCKER_HOST=f"unix://{folder}/no")
    assert "No Docker engine answers. Received: No such file or directory. Start one" in said


def test_an_output_folder_that_is_a_file(folder: Path) -> None:
    write_program(folder, "")
    code, _, err = finish(start(folder, "train", "--out", "train.py", own=True))
    assert (code, err.count("\n")) == (2, 1)
    assert "--out must be a folder" in err


def test_ctrl_c_while_modules_are_loaded_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "docker.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)")
    program = subprocess.Popen(
        [sys.executable, "-m", "local_test", "jobs"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout
    assert program.stdout.readline() == "loading\n"
    program.send_signal(signal.SIGINT)
    assert program.communicate(timeout=200) == ("", "")
    assert program.returncode == -signal.SIGINT


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, expected in (
        (("train", "--runner", "podman"), "invalid choice: 'podman'"),
        (("train", "--memory", "8x"), "--memory: not a size. Received: 8x. Expected: b, k, m or g after a number"),
        (("serve", "--shm-size", "-1"), "--shm-size: not a size. Received: -1."),
        (("train", "--instance-count", "0"), "--instance-count: not a number from 1. Received: 0"),
        (("train", "--max-runtime", "1h"), "--max-runtime: not a number from 1. Received: 1h"),
        (("train", "--chanel", "a=b"), "train: error: unrecognized arguments: --chanel a=b. Did you mean --channel?"),
        (("tune", "--job", "x", "--parallel", "0"), "--parallel: not a number from 1. Received: 0"),
        (("feed", "data", "x", "--epochs", "-1"), "--epochs: not a number from 1. Received: -1"),
        (("jobs", "--endpoint-url", "here"), "--endpoint-url: not an address. Received: here."),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2
        assert expected in capsys.readouterr().err


def test_the_version_of_a_checkout(folder: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert finish(start(folder, "--version")) == (0, f"{version}\n", "")


def test_the_version_of_an_installed_distribution(folder: Path) -> None:
    """A copy without pyproject.toml beside it, as a wheel leaves it."""
    shutil.copytree(ROOT / "local_test", folder / "site/local_test")
    record = folder / "site/local_test_wheel-7.8.9.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: local-test-wheel\nVersion: 7.8.9\n")
    (record / "RECORD").write_text("local_test/__init__.py,,\n")
    process = start(folder, "--version", PYTHONPATH=str(folder / "site"))
    assert finish(process) == (0, "7.8.9\n", "")


def test_feed(folder: Path) -> None:
    (folder / "fifos").mkdir()
    process = start(folder, "feed", "data/train", "fifos/train", "--epochs", "2")
    assert process.stderr
    assert process.stderr.readline().startswith("fifos/train_0: 1 object, 5000 bytes an epoch")
    for n in range(2):
        reader = subprocess.run(["cat", f"fifos/train_{n}"], cwd=folder, capture_output=True, timeout=200, check=True)
        assert reader.stdout == b"train" * 1000
    code, _, err = finish(process)
    assert (code, err) == (0, "train_0: 5000 bytes fed\ntrain_1: 5000 bytes fed\n")
    assert list((folder / "fifos").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_feed_ends_at_a_signal(folder: Path, number: int) -> None:
    process = start(folder, "feed", "data/train", "train")
    assert process.stderr
    process.stderr.readline()
    process.send_signal(number)
    assert finish(process)[0] == 0
    assert not list(folder.glob("train_*"))


def test_feed_has_nothing_or_nowhere(folder: Path) -> None:
    assert "There is nothing to feed. Received: absent" in error(folder, "feed", "absent", "train")
    assert "can't make the FIFO" in error(folder, "feed", "data/train", "absent/train")


@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_a_port_that_is_none_is_a_line(port: str) -> None:
    command = [sys.executable, "-m", "local_test", "serve", f"--port={port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2
    assert f"not a port. Received: {port}. Expected: 0 to 65535" in done.stderr
