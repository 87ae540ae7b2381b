"""Real containers from a small image of the tests' own."""

import io
import os
import signal
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local_test.data.fifo_feeder import Feeder
from local_test.data.object_store import ObjectStore
from local_test.errors import RunnerError
from local_test.hosts.opt_ml import HostPaths, make_folders
from local_test.runners.base import ContainerSpec
from local_test.runners.docker import LABEL, DockerRunner
from local_test.training.job import TrainingJob
from local_test.util.atomic_files import file_uri
from tests.support.local_jobs import Recorder, request_for
from tests.support.missing import missing

Run = Callable[..., tuple[dict[str, Any], Recorder, Path]]

pytestmark = pytest.mark.docker


def request_of(program: str, out: Path, channels: dict[str, Path] | None = None, **members: Any) -> dict[str, Any]:
    return request_for("job", out, channels, Environment={"PROGRAM": program}, **members)


def test_a_container_reads_fifos_and_leaves_a_model(runner: DockerRunner, run: Run, data: Path, tmp_path: Path) -> None:
    program = """
        for n in 0 1 2; do
          until [ -p /opt/ml/input/data/train_$n ]; do sleep 0.01; done
          head -c 25 /opt/ml/input/data/train_$n | wc -c
        done
        cat /opt/ml/input/data/labels/a; echo; echo $0 $HOSTNAME $TRAINING_JOB_NAME
        mkdir /opt/ml/model/1; echo w > /opt/ml/model/1/weights; echo h > /opt/ml/output/data/h.csv; echo err >&2
    """
    request = request_of(program, tmp_path / "jobs", {"train": data, "labels": data})
    request["InputDataConfig"][1]["InputMode"] = "File"
    description, seen, folder = run(runner, request)
    assert description["TrainingJobStatus"] == "Completed", (description, seen.lines)
    lines = [line for line in seen.lines if line != "err"]
    assert lines[:4] == ["25", "25", "25", "1" * 10]
    assert lines[4].endswith(" job")
    assert "err" in seen.lines
    for path in folder.rglob("*"):
        assert path.stat().st_uid == os.getuid()
    assert not (folder / "algo-1").exists()


def test_the_limits_of_the_platform(runner: DockerRunner, run: Run, data: Path, tmp_path: Path) -> None:
    program = """
        while read k v; do case $k in CapEff:|CapBnd:|NoNewPrivs:) echo $k $v;; esac; done < /proc/self/status
        cat /proc/sys/kernel/hostname; id -u
        echo changed > /opt/ml/input/data/train/a && chmod +x /opt/ml/input/data/train/a && echo can change its input
        touch /opt/ml/input/config/x /opt/ml/model/m /opt/ml/output/data/o /opt/ml/code/c /opt/ml/x /tmp/t &&
        echo can write
        mknod /opt/ml/model/disk b 8 0 || echo no devices
    """
    request = request_of(program, tmp_path / "jobs", {"train": data})
    request["AlgorithmSpecification"]["TrainingInputMode"] = "File"
    _, seen, _ = run(runner, request)
    # root has Docker's default, a80425fb, without MKNOD, NET_RAW and SETFCAP
    capabilities = "0000000000000000" if os.getuid() else "00000000200405fb"
    for line in (f"CapEff: {capabilities}", f"CapBnd: {capabilities}", "NoNewPrivs: 1", "algo-1", str(os.getuid())):
        assert line in seen.lines
    for line in ("can change its input", "can write", "no devices"):
        assert line in seen.lines
    assert (data / "a").read_bytes() == b"1" * 10


def test_what_the_image_has_below_opt_ml(runner: DockerRunner, run: Run, tmp_path: Path) -> None:
    """The toolkit's own pattern: COPY train.py /opt/ml/code/."""
    program = "cat /opt/ml/code/own; ls /opt/ml; ls /opt/ml/output /opt/ml/output/metrics"
    _, seen, _ = run(runner, request_of(program, tmp_path / "jobs"))
    assert seen.lines[:5] == ["of the image", "code", "input", "model", "output"]
    assert seen.lines[5:] == [
        "/opt/ml/output:",
        "data",
        "metrics",
        "profiler",
        "",
        "/opt/ml/output/metrics:",
        "sagemaker",
    ]


def test_an_archive_of_another_users_files_unpacks(runner: DockerRunner, run: Run, tmp_path: Path) -> None:
    """As the SDKs' programs do it, in the folder of the channel."""
    (tmp_path / "code").mkdir()
    with tarfile.open(tmp_path / "code/sourcedir.tar", "w") as tar:
        member = tarfile.TarInfo("script")
        member.size, member.uid, member.gid, member.mode = 3, 4321, 4321, 0o600
        tar.addfile(member, io.BytesIO(b"ran"))
    program = "cd /opt/ml/input/data/code && tar -xf sourcedir.tar && cat script"
    request = request_of(program, tmp_path / "jobs", {"code": tmp_path / "code"})
    request["AlgorithmSpecification"]["TrainingInputMode"] = "File"
    description, seen, folder = run(runner, request)
    assert (description["TrainingJobStatus"], seen.lines) == ("Completed", ["ran"])
    assert not (folder / "algo-1").exists()


@pytest.mark.parametrize("folder", ["/opt/ml/state", "/opt/ml/code/state", "/opt/ml/model/state"])
def test_checkpoints_in_another_folder_of_opt_ml(runner: DockerRunner, run: Run, tmp_path: Path, folder: str) -> None:
    config = {"CheckpointConfig": {"S3Uri": file_uri(tmp_path / "kept"), "LocalPath": folder}}
    request = request_of(f"echo 3 > {folder}/epoch; cat /opt/ml/code/own", tmp_path / "jobs", **config)
    _, seen, _ = run(runner, request)
    assert seen.lines == ["of the image"]
    assert (tmp_path / "kept/epoch").read_text() == "3\n"


@pytest.mark.parametrize(
    "replace",
    [
        "ln -s SECRET train_1; cat train_0",
        "rm train_0; ln -s SECRET train_0; sleep 0.5",
        "cd ..; mv data moved; ln -s FOLDER data; cat moved/train_0 moved/train_1",
    ],
)
def test_a_container_that_puts_links_in_place_of_its_fifos(
    runner: DockerRunner, run: Run, data: Path, tmp_path: Path, replace: str
) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "train_1").write_text("mine")
    (host / "train_1").chmod(0o600)
    program = replace.replace("SECRET", str(host / "train_1")).replace("FOLDER", str(host))
    run(runner, request_of(f"cd /opt/ml/input/data; {program}", tmp_path / "jobs", {"train": data}), grace=0.5)
    assert [path.name for path in host.iterdir()] == ["train_1"]
    assert (host / "train_1").read_text() == "mine"
    assert (host / "train_1").stat().st_mode & 0o777 == 0o600


def test_network_isolation(runner: DockerRunner, run: Run, tmp_path: Path) -> None:
    program = "ls /sys/class/net; getent hosts algo-1"  # the toolkit waits until that has an address
    request = request_of(program, tmp_path / "jobs", EnableNetworkIsolation=True)
    _, seen, _ = run(runner, request)
    assert seen.lines[0] == "lo"
    assert seen.lines[1].split() == ["127.0.0.1", "algo-1"]


def test_entry_point_and_arguments(runner: DockerRunner, run: Run, tmp_path: Path) -> None:
    request = request_of("", tmp_path / "jobs")
    request["AlgorithmSpecification"] |= {
        "ContainerEntrypoint": ["sh", "-c", 'echo "$@"', "name"],
        "ContainerArguments": ["a b", "c"],
    }
    _, seen, _ = run(runner, request)
    assert seen.lines == ["a b c"]


def test_checkpoints_outside_opt_ml(runner: DockerRunner, run: Run, tmp_path: Path) -> None:
    config = {"CheckpointConfig": {"S3Uri": file_uri(tmp_path / "kept"), "LocalPath": "/state"}}
    request = request_of(
        "echo 3 > /state/epoch; cat /opt/ml/input/config/checkpointconfig.json", tmp_path / "jobs", **config
    )
    _, seen, _ = run(runner, request)
    assert seen.lines == ['{"LocalPath":"/state"}']
    assert (tmp_path / "kept/epoch").read_text() == "3\n"


def test_shm_size(image: str, run: Run, tmp_path: Path) -> None:
    runner = DockerRunner(shm_size="123m")
    _, seen, _ = run(runner, request_of("cat /proc/mounts", tmp_path / "jobs"))
    runner.close()
    assert any(" /dev/shm " in line and "size=125952k" in line for line in seen.lines)


@pytest.mark.parametrize(("memory", "expected"), [(None, 8 << 30), ("64m", 64 << 20)])
def test_cpus_and_memory_of_the_instance_type(
    image: str, docker_engine: Any, tmp_path: Path, memory: str | None, expected: int
) -> None:
    info = docker_engine.info()
    if info["NCPU"] < 2 or info["MemTotal"] < 8 << 30:
        missing("this machine has less than an ml.m5.large")
    make_folders(HostPaths(tmp_path / "ml"), {})
    runner = DockerRunner(memory=memory)
    spec = ContainerSpec(
        "limits", "algo-1", image, tmp_path / "ml", {"PROGRAM": "sleep 60"}, instance_type="ml.m5.large"
    )
    container = runner.start(spec)
    try:
        (found,) = docker_engine.containers.list(filters={"label": f"{LABEL}=limits"})
        host = found.attrs["HostConfig"]
        assert (host["NanoCpus"], host["Memory"], host["MemorySwap"]) == (2_000_000_000, expected, expected)
    finally:
        container.close()
        runner.close()


def test_an_instance_larger_than_the_machine_is_said_once(runner: DockerRunner, run: Run, tmp_path: Path) -> None:
    request = request_of("echo ran", tmp_path / "jobs")
    request["ResourceConfig"]["InstanceType"] = "ml.p4d.24xlarge"
    description, seen, folder = run(runner, request)
    assert (description["TrainingJobStatus"], seen.lines) == ("Completed", ["ran"])
    said = [note for note in seen.notes if note.startswith("ml.p4d.24xlarge has ")]
    assert any(" 8 GPUs, this machine " in note for note in said)
    assert len(said) == len(set(said))
    log = (folder / "logs/platform.log").read_text()
    assert [line.split(" ", 1)[1] for line in log.splitlines()].count(said[0]) == 1


def test_failed(runner: DockerRunner, run: Run, tmp_path: Path) -> None:
    description, *_ = run(runner, request_of("echo no data > /opt/ml/output/failure; exit 4", tmp_path / "jobs"))
    assert description["FailureReason"] == "AlgorithmError: no data, exit code: 4"


def test_a_program_that_is_not_in_the_image(runner: DockerRunner, run: Run, tmp_path: Path) -> None:
    request = request_of("", tmp_path / "jobs")
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = ["no-such-program"]
    description, *_ = run(runner, request)
    assert description["TrainingJobStatus"] == "Failed"
    reason = description["FailureReason"]
    assert "The image has no program called no-such-program on its PATH." in reason
    assert reason.endswith("or name another in AlgorithmSpecification.ContainerEntrypoint")


def test_out_of_memory(image: str, run: Run, tmp_path: Path) -> None:
    runner = DockerRunner(memory="16m")
    # tail keeps a line until it ends, and this one never does
    description, *_ = run(runner, request_of("exec tail /dev/zero", tmp_path / "jobs"))
    runner.close()
    assert description["FailureReason"] == "AlgorithmError: killed: out of memory, exit code: 137"


def in_thread(job: TrainingJob) -> Callable[[], dict[str, Any]]:
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(job.run()))
    thread.start()

    def result() -> dict[str, Any]:
        thread.join(100)
        assert not thread.is_alive()
        return found[0]

    return result


def test_sigterm_is_dropped_by_a_first_process_without_a_handler(runner: DockerRunner, tmp_path: Path) -> None:
    seen = Recorder()
    request = request_of("echo ready; while :; do sleep 0.1; done", tmp_path / "jobs")
    job = TrainingJob(request, tmp_path / "jobs", runner, ObjectStore(), {}, [seen], grace=1)
    result = in_thread(job)
    seen.wait_for(lambda: seen.lines)
    job.stop()
    stopping, uploading = result()["SecondaryStatusTransitions"][-3:-1]
    assert (stopping["Status"], uploading["Status"]) == ("Stopping", "Uploading")
    assert (uploading["StartTime"] - stopping["StartTime"]).total_seconds() >= 1


def test_a_handler_gets_sigterm_and_its_grace(runner: DockerRunner, tmp_path: Path) -> None:
    seen = Recorder()
    program = "trap 'echo saved > /opt/ml/model/m; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    job = TrainingJob(request_of(program, tmp_path / "jobs"), tmp_path / "jobs", runner, ObjectStore(), {}, [seen])
    result = in_thread(job)
    seen.wait_for(lambda: seen.lines)
    job.stop()
    assert result()["SecondaryStatus"] == "Stopped"


def test_a_container_that_somebody_else_kills(runner: DockerRunner, docker_engine: Any, tmp_path: Path) -> None:
    seen = Recorder()
    request = request_of("echo ready; sleep 60", tmp_path / "jobs")
    result = in_thread(TrainingJob(request, tmp_path / "jobs", runner, ObjectStore(), {}, [seen]))
    seen.wait_for(lambda: seen.lines)
    (container,) = docker_engine.containers.list(filters={"label": f"{LABEL}=job"})
    container.kill()
    reason = "AlgorithmError: killed with SIGKILL; not seen to be out of memory, exit code: 137"
    assert result()["FailureReason"] == reason


def test_a_container_that_somebody_else_removes(runner: DockerRunner, docker_engine: Any, tmp_path: Path) -> None:
    seen = Recorder()
    request = request_of("echo ready; sleep 60", tmp_path / "jobs")
    result = in_thread(TrainingJob(request, tmp_path / "jobs", runner, ObjectStore(), {}, [seen]))
    seen.wait_for(lambda: seen.lines)
    (container,) = docker_engine.containers.list(filters={"label": f"{LABEL}=job"})
    container.remove(force=True)
    assert result()["TrainingJobStatus"] == "Failed"


def test_a_container_that_is_closed_is_gone(
    runner: DockerRunner, docker_engine: Any, image: str, tmp_path: Path
) -> None:
    make_folders(HostPaths(tmp_path / "ml"), {})
    spec = ContainerSpec("job", "algo-1", image, tmp_path / "ml", {"PROGRAM": "sleep 60"})
    container = runner.start(spec)
    assert container.wait(0.1) is None
    container.close()
    container.close()
    container.signal(signal.SIGTERM)
    assert docker_engine.containers.list(all=True, filters={"label": f"{LABEL}=job"}) == []


def test_as_an_ordinary_user(
    runner: DockerRunner, image: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        missing("only root can make files of another user")
    base = tmp_path / "ml"
    make_folders(HostPaths(base), {})
    feeder = Feeder(base / "input/data/train", lambda _: iter([data / "a"]))
    feeder.start()
    os.chown(base / "model", 1234, 1234)
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(os, "getgid", lambda: 1234)
    program = """
        id -u; echo $HOME; cat /opt/ml/input/data/train_0; echo; echo x > /opt/ml/model/m
        cat /opt/ml/code/own; mkdir /opt/ml/code/sub /opt/ml/checkpoints && echo can write
        while read k v; do case $k in CapEff:|CapBnd:) echo $k $v;; esac; done < /proc/self/status
    """
    container = runner.start(ContainerSpec("job", "algo-1", image, base, {"PROGRAM": program}))
    output = b"".join(chunk for _, chunk in container.output())
    container.close()
    feeder.stop()
    none = "0" * 16
    assert output.decode().splitlines() == [
        *("1234", "/tmp", "1" * 10, "of the image", "can write", f"CapEff: {none}", f"CapBnd: {none}")
    ]
    assert (base / "model/m").stat().st_uid == 1234


def test_two_containers_at_once(runner: DockerRunner, data: Path, tmp_path: Path) -> None:
    program = "for n in 0 1 2 3; do until [ -p /opt/ml/input/data/train_$n ]; do sleep 0.01; done; "
    program += "cat /opt/ml/input/data/train_$n | wc -c; done"
    jobs = []
    for name in ("a", "b"):
        request = {**request_of(program, tmp_path / "jobs", {"train": data}), "TrainingJobName": name}
        seen = Recorder()
        jobs.append((seen, in_thread(TrainingJob(request, tmp_path / "jobs", runner, ObjectStore(), {}, [seen]))))
    for seen, result in jobs:
        assert result()["TrainingJobStatus"] == "Completed"
        assert seen.lines == ["30"] * 4


def test_an_image_that_is_not_there(runner: DockerRunner, tmp_path: Path) -> None:
    request = request_of("", tmp_path / "jobs")
    request["AlgorithmSpecification"]["TrainingImage"] = "no-such-image:1"
    with pytest.raises(RunnerError, match=r"There is no image no-such-image:1 .* make build"):
        TrainingJob(request, tmp_path / "jobs", runner, ObjectStore(), {})
    assert not (tmp_path / "jobs").exists()
