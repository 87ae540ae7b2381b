"""What a program leaves that is killed with SIGKILL: the next one ends it, and never what another one runs."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from local_test.runners.docker import DockerRunner
from local_test.runners.ownership import hold, is_orphan
from tests.support.command_line import finish, start, write_program
from tests.support.local_jobs import request_for
from tests.support.served import until
from tests.support.small_image import IMAGE

Train = Callable[[str], subprocess.Popen[str]]
Runs = Callable[[str], bool]  # whether the job of that name has a container or a process


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[tuple[Train, Runs]]:
    write_program(
        tmp_path,
        "if 'last' not in str(BASE):\n    (BASE / 'model/ready').write_text(str(os.getpid()))\n    signal.pause()\n",
    )

    def train(name: str) -> subprocess.Popen[str]:
        (tmp_path / f"{name}.json").write_text(json.dumps(request_for(name, tmp_path / "jobs")))
        return start(tmp_path, "train", "--runner", "process", "--job", f"{name}.json", own=True)

    def runs(name: str) -> bool:
        pid = int((tmp_path / f"jobs/{name}/algo-1/opt/ml/model/ready").read_text())
        return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE

    yield train, runs


@pytest.fixture
def containers(image: str, docker_engine: Any, tmp_path: Path) -> Iterator[tuple[Train, Runs]]:
    def train(name: str) -> subprocess.Popen[str]:
        program = (
            "true" if name == "last" else "trap 'exit 0' TERM; echo > /opt/ml/model/ready; while :; do sleep 0.1; done"
        )
        request = request_for(name, tmp_path / "jobs", Environment={"PROGRAM": program})
        (tmp_path / f"{name}.json").write_text(json.dumps(request))
        return start(tmp_path, "train", "--runner", "docker", "--job", f"{name}.json", "--image", image)

    def runs(name: str) -> bool:
        return bool(docker_engine.containers.list(filters={"label": f"sagemaker-local-job={name}", "ancestor": IMAGE}))

    yield train, runs
    for container in docker_engine.containers.list(all=True, filters={"ancestor": image}):
        container.remove(force=True)


@pytest.mark.parametrize("kind", ["processes", pytest.param("containers", marks=pytest.mark.docker)])
def test_train_ends_what_a_killed_one_left_and_nothing_else(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    train, runs = request.getfixturevalue(kind)
    killed, lives = train("killed"), train("lives")
    try:
        for name in ("killed", "lives"):
            until((tmp_path / f"jobs/{name}/algo-1/opt/ml/model/ready").exists)
        killed.kill()
        killed.communicate(timeout=200)
        assert runs("killed")
        base = tmp_path / "jobs/killed/algo-1/opt/ml"
        own = {**os.environ, "SAGEMAKER_BASE_DIR": str(base)}
        with subprocess.Popen(["sleep", "60"], env=own, start_new_session=True) as by_hand:  # a person tries the job
            code, _, err = finish(train("last"))
            assert by_hand.poll() is None
            by_hand.kill()
        assert code == 0, err
        assert not runs("killed")
        assert runs("lives")
        lives.send_signal(signal.SIGTERM)
        _, _, err = finish(lives)
        assert "lives: Stopped" in err
    finally:
        for process in (killed, lives):
            process.kill()


def test_an_orphan_is_what_nobody_holds(tmp_path: Path) -> None:
    base = tmp_path / "algo-1/opt/ml"
    base.mkdir(parents=True)
    (base.parent / ".lock").touch()  # of whoever else: pytest marks its folders so
    assert not is_orphan(base)  # no program has ever held it
    with closing(hold(base)), closing(hold(base)):  # two of one program: a network and a container
        assert not is_orphan(base)
    assert is_orphan(base)
    assert not is_orphan(tmp_path / "gone/opt/ml")


@pytest.mark.docker
def test_a_container_whose_folder_is_gone_is_left_to_the_person(
    image: str, docker_engine: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its program may see other folders than this one."""
    labels = {"sagemaker-local-job": "moved", "sagemaker-local-base": str(tmp_path / "gone/opt/ml")}
    container = docker_engine.containers.create(image, ["sleep", "100"], labels=labels)
    try:
        with closing(DockerRunner()) as runner:
            runner.remove_orphans()
        container.reload()
        said = capsys.readouterr().err
        assert f"docker rm -f {container.name}\n" in said
    finally:
        container.remove(force=True)
