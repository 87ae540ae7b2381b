"""--runner, with and without an engine."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException
from urllib3.exceptions import ProtocolError

from local_test.errors import BadRequest, RunnerError
from local_test.runners.docker import DockerRunner
from local_test.runners.process import ProcessRunner
from local_test.runners.select import choose


class TestWithoutAnEngine:
    """These need none. docker leaves the socket that it couldn't connect to the garbage collector."""

    pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

    @pytest.fixture(autouse=True)
    def no_engine(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
        yield
        gc.collect()

    def test_docker_is_one_line(self) -> None:
        with pytest.raises(RunnerError, match=r"No Docker engine answers. Received: .*--runner process") as caught:
            choose("docker", None, None, None, lambda _: None)
        assert "\n" not in str(caught.value)

    def test_auto_falls_to_a_process_and_says_so(self) -> None:
        notes: list[str] = []
        assert isinstance(choose("auto", None, None, None, notes.append), ProcessRunner)
        assert "No Docker engine answers" in notes[0]
        assert "as a process, without the image" in notes[0]

    def test_an_engine_of_others(self) -> None:
        def refuse() -> docker.DockerClient:
            aborted = ProtocolError("Connection aborted.", PermissionError(13, "Permission denied"))
            raise DockerException(f"Error while fetching server API version: {aborted}")

        with pytest.raises(RunnerError, match=r"^This user may not use the Docker engine: Permission denied\. Join "):
            DockerRunner(new_client=refuse)

    def test_a_process_has_no_limits(self) -> None:
        for limits in (("1g", None, None), (None, "1g", None), (None, None, [])):
            with pytest.raises(BadRequest, match="--memory, --shm-size and --gpus limit a container"):
                choose("process", *limits, lambda _: None)


@pytest.mark.docker
def test_auto_takes_a_container_where_an_engine_answers(docker_engine: Any) -> None:
    runner = choose("auto", None, None, None, pytest.fail)
    assert isinstance(runner, DockerRunner)
    runner.close()
