"""Real containers over a connection to the engine that is cut in the middle."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from local_test.data.object_store import ObjectStore
from local_test.runners import docker_container
from local_test.runners.docker import LABEL, DockerRunner
from local_test.runners.ownership import hold
from local_test.training.job import TrainingJob
from tests.support.engine_relay import EngineRelay
from tests.support.local_jobs import Recorder, request_for

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[3]
LINES = """
    i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done
    until [ -e /opt/ml/checkpoints/go ]; do sleep 0.05; done
    while [ $i -lt 400 ]; do echo line $i; [ $((i % 2)) = 0 ] && echo other $i >&2; i=$((i+1)); done
    printf "no end"
"""


@pytest.fixture
def relay(image: str, docker_engine: Any, tmp_path: Path) -> Iterator[EngineRelay]:
    with EngineRelay(tmp_path / "engine.sock") as found:
        yield found
    assert docker_engine.containers.list(all=True, filters={"ancestor": image}) == []


@pytest.fixture
def runner(relay: EngineRelay) -> Iterator[DockerRunner]:
    found = DockerRunner(new_client=lambda: docker.DockerClient(base_url=relay.url))
    yield found
    relay.restore()
    found.close()


def started(runner: DockerRunner, out: Path, program: str, **members: Any) -> tuple[TrainingJob, Recorder, Any]:
    """(job, what is seen of it, a function that waits for its description)."""
    members = {"Environment": {"PROGRAM": program}, "CheckpointConfig": {"S3Uri": f"file://{out}/kept"}, **members}
    seen, found = Recorder(), list[dict[str, Any]]()
    job = TrainingJob(request_for("cut", out, **members), out, runner, ObjectStore(), {}, [seen], grace=2)
    thread = threading.Thread(target=lambda: found.append(job.run()))
    thread.start()

    def result() -> dict[str, Any]:
        thread.join(90)
        assert not thread.is_alive()
        return found[0]

    return job, seen, result


def go_on(job: TrainingJob) -> None:
    (job.folder / "algo-1/opt/ml/checkpoints/go").touch()


def test_a_cut_loses_no_line_and_ends_no_job(runner: DockerRunner, relay: EngineRelay, tmp_path: Path) -> None:
    job, seen, result = started(runner, tmp_path / "jobs", LINES)
    seen.wait_for(lambda: "line 199" in seen.lines)
    relay.cut()
    go_on(job)
    assert relay.refused.wait(100)
    relay.restore()
    assert result()["TrainingJobStatus"] == "Completed"
    assert [line for line in seen.lines if line.startswith("line")] == [f"line {n}" for n in range(400)]
    assert [line for line in seen.lines if line.startswith("other")] == [f"other {n}" for n in range(200, 400, 2)]
    assert seen.lines[-1] == "no end"


def test_a_cut_before_the_end_waits_for_the_last_lines(
    runner: DockerRunner, relay: EngineRelay, docker_engine: Any, tmp_path: Path
) -> None:
    job, seen, result = started(runner, tmp_path / "jobs", LINES)
    seen.wait_for(lambda: "line 199" in seen.lines)
    (container,) = docker_engine.containers.list(filters={"label": f"{LABEL}=cut"})
    relay.cut()
    go_on(job)
    container.wait()
    assert relay.refused.wait(100)
    relay.restore()
    assert result()["TrainingJobStatus"] == "Completed"
    assert [line for line in seen.lines if line.startswith("line")] == [f"line {n}" for n in range(400)]


def test_a_stop_during_a_cut_reaches_the_container(runner: DockerRunner, relay: EngineRelay, tmp_path: Path) -> None:
    job, seen, result = started(
        runner, tmp_path / "jobs", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    )
    seen.wait_for(lambda: seen.lines)
    relay.cut()
    job.stop()
    assert relay.refused.wait(100)
    relay.restore()
    assert result()["TrainingJobStatus"] == "Stopped"
    assert seen.lines == ["ready", "bye"]


def test_an_engine_that_stays_away_fails_the_job_and_its_container_goes_later(
    runner: DockerRunner, relay: EngineRelay, docker_engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_container, "PATIENCE_SECONDS", 1.0)
    _, seen, result = started(runner, tmp_path / "jobs", "echo ready; sleep 100")
    seen.wait_for(lambda: seen.lines)
    relay.cut()
    assert result()["FailureReason"].startswith("InternalServerError: The engine lost the container. Received: ")
    assert len(docker_engine.containers.list(filters={"label": f"{LABEL}=cut"})) == 1
    relay.restore()
    runner._removals.wait(30)
    assert docker_engine.containers.list(all=True, filters={"label": f"{LABEL}=cut"}) == []


def test_retries_wait_for_the_engine(
    runner: DockerRunner, relay: EngineRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_container, "PATIENCE_SECONDS", 0.5)
    program = "echo start; until [ -e /opt/ml/checkpoints/go ]; do sleep 0.05; done"
    job, seen, result = started(runner, tmp_path / "jobs", program, RetryStrategy={"MaximumRetryAttempts": 1})
    seen.wait_for(lambda: seen.lines)
    relay.cut()
    seen.wait_for(lambda: "Restarting" in seen.states)
    relay.refused.clear()
    assert relay.refused.wait(100)  # the runner is asked, and no retry is spent
    relay.restore()
    seen.wait_for(lambda: len(seen.lines) == 2)
    go_on(job)
    assert result()["TrainingJobStatus"] == "Completed"


def test_a_network_of_a_program_that_was_killed_is_an_orphan(
    runner: DockerRunner, docker_engine: Any, tmp_path: Path
) -> None:
    """Killed while it asked for a free subnet."""
    code = """
import os, sys
from pathlib import Path
from docker.models.networks import NetworkCollection
from local_test.runners.base import ContainerSpec
from local_test.runners.docker import DockerRunner
NetworkCollection.get = lambda *_: os.kill(os.getpid(), 9)
spec = ContainerSpec("killed", "algo-1", "", Path(sys.argv[1]), hosts=("algo-1", "algo-2"))
DockerRunner().job_network(spec).__enter__()
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "job")], cwd=ROOT, timeout=200)
    assert ended.returncode == -signal.SIGKILL
    assert len(docker_engine.networks.list(filters={"label": f"{LABEL}=killed"})) == 1
    with closing(hold(tmp_path / "job")):  # as if it lived
        runner.remove_orphans()
    assert len(docker_engine.networks.list(filters={"label": f"{LABEL}=killed"})) == 1
    runner.remove_orphans()
    assert docker_engine.networks.list(filters={"label": f"{LABEL}=killed"}) == []


def test_a_container_has_a_limit_of_processes(runner: DockerRunner, docker_engine: Any, tmp_path: Path) -> None:
    program = "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max; echo ready; sleep 100"
    job, seen, result = started(runner, tmp_path / "jobs", program)
    seen.wait_for(lambda: "ready" in seen.lines)
    (container,) = docker_engine.containers.list(filters={"label": f"{LABEL}=cut"})
    assert container.attrs["HostConfig"]["PidsLimit"] == 8192
    job.kill()
    result()


def test_removals_from_many_threads_are_all_waited_for() -> None:
    """While one thread is about to try again, another waits."""
    removals, gone = docker_container.Removals(), threading.Event()

    def remove() -> None:
        if not gone.is_set():
            raise OSError("the engine is away")

    def leave() -> None:
        removals.remove("container", remove)
        removals.wait(0)

    threads = [threading.Thread(target=leave) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(removals.wait(0)) == 50
    gone.set()
    assert removals.wait(20) == []
