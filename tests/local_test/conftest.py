"""Jobs of the tests' own: a fake training program for the process runner, a small image for Docker, a server."""

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_test.data.object_store import ObjectStore
from local_test.runners.base import Runner
from local_test.runners.docker import DockerRunner
from local_test.runners.process import ProcessRunner
from local_test.training.job import TrainingJob
from tests.support.local_jobs import Recorder
from tests.support.programs import write_executable
from tests.support.served import BUCKET, Served
from tests.support.small_image import small_image


@pytest.fixture
def storage() -> Iterator[ObjectStore]:
    store = ObjectStore()
    yield store
    store.close()


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], ProcessRunner]:
    """Python code → a runner whose `train` it is. `BASE` is the job's /opt/ml, `channel(name, n)` an opened FIFO."""

    def write(code: str) -> ProcessRunner:
        head = "import os, signal, sys, time\nfrom pathlib import Path\nBASE = Path(os.environ['SAGEMAKER_BASE_DIR'])\n"
        head += "def channel(name, n):\n    return open(BASE / f'input/data/{name}_{n}', 'rb')\n"
        path = tmp_path / "train.py"
        write_executable(path, f"#!{sys.executable}\n{head}{textwrap.dedent(code)}")
        return ProcessRunner(os.environ, tmp_path, [str(path)])

    return write


@pytest.fixture
def run(tmp_path: Path, storage: ObjectStore) -> Callable[..., tuple[dict[str, Any], Recorder, Path]]:
    """Runs a request to its end; its description, what an observer saw, its folder."""

    def to_end(runner: Runner, request: dict[str, Any], **options: Any) -> tuple[dict[str, Any], Recorder, Path]:
        seen = Recorder()
        job = TrainingJob(request, tmp_path / "jobs", runner, storage, {}, [seen], **options)
        return job.run(), seen, job.folder

    return to_end


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of three objects: 30 bytes in the order of their names."""
    folder = tmp_path / "data"
    folder.mkdir()
    for index, name in enumerate(("b", "a", "c")):
        (folder / name).write_bytes(str(index).encode() * 10)
    return folder


@pytest.fixture(scope="session")
def image(docker_engine: Any) -> Iterator[str]:
    with small_image(docker_engine) as name:
        yield name


@pytest.fixture
def runner(image: str, docker_engine: Any) -> Iterator[DockerRunner]:
    found = DockerRunner()
    yield found
    found.close()
    assert docker_engine.containers.list(all=True, filters={"ancestor": image}) == []  # whatever the test did


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the bucket that `served.request` names."""
    with Served(tmp_path_factory.mktemp("served"), "--parallel", "4") as server:
        server.client("s3").create_bucket(Bucket=BUCKET)
        yield server
        assert "Traceback" not in server.end()


@pytest.fixture(scope="session")
def sagemaker(served: Served) -> Any:
    return served.client("sagemaker")


@pytest.fixture(scope="session")
def s3(served: Served) -> Any:
    return served.client("s3")
