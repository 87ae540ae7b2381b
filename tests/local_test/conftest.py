"""Jobs of the tests' own: a request, a fake training program for the process runner, a small image for Docker."""

import io
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound

from local_test.data.object_store import ObjectStore
from local_test.runners.base import Runner
from local_test.runners.process import ProcessRunner
from local_test.training.job import TrainingJob
from local_test.training.observer import Observer
from local_test.util.atomic_files import file_uri
from tests.support.served import BUCKET, Served

IMAGE = f"local-test-tests:sh-{os.getpid()}"  # of this run: another one removes its own
PROGRAMS = ("sh", "bash", "getent", "cat", "sleep", "head", "wc", "id", "ls", "mkdir", "chmod", "touch", "tail")
TRAIN = '#!/bin/sh\neval "$PROGRAM"\n'


class Recorder(Observer):
    """What a job has told, and an event for each thing a test waits for."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.fed: list[Any] = []
        self.changed = threading.Condition()

    def on_transition(self, description: dict[str, Any]) -> None:
        self._add(self.states, description["SecondaryStatus"])

    def on_line(self, line: str, host: str) -> None:
        self._add(self.lines, line if host == "algo-1" else f"{host}: {line}")

    def on_note(self, text: str) -> None:
        self._add(self.notes, text)

    def on_feed(self, fed: Any) -> None:
        self._add(self.fed, fed)

    def wait_for(self, found: Callable[[], Any], seconds: float = 30) -> None:
        with self.changed:
            assert self.changed.wait_for(found, seconds), (self.states, self.lines, self.notes)

    def _add(self, to: list[Any], item: Any) -> None:
        with self.changed:
            to.append(item)
            self.changed.notify_all()


def request_for(name: str, out: Path, channels: Mapping[str, Path] | None = None, **members: Any) -> dict[str, Any]:
    """A small valid request over local folders; `members` replace its own."""
    inputs = [
        {"ChannelName": key, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": file_uri(path)}}}
        for key, path in (channels or {}).items()
    ]
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "Pipe"},
        "RoleArn": "arn:aws:iam::123456789012:role/local",
        **({"InputDataConfig": inputs} if inputs else {}),
        "OutputDataConfig": {"S3OutputPath": file_uri(out)},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        **members,
    }


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
        path.write_text(f"#!{sys.executable}\n{head}{textwrap.dedent(code)}")
        path.chmod(0o755)
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
    """An image of a few MB from this machine's own shell; its `train` evaluates the variable PROGRAM."""
    docker_engine.api.import_image_from_data(_root_folder(), repository=IMAGE.split(":")[0], tag=IMAGE.split(":")[1])
    yield IMAGE
    with suppress(NotFound):  # other tests have this fixture under another name
        docker_engine.images.remove(IMAGE, force=True)


def _root_folder() -> bytes:
    files = {f"/bin/{name}": Path(shutil.which(name) or "") for name in PROGRAMS}
    for path in list(files.values()):
        listed = subprocess.run(["ldd", str(path)], capture_output=True, text=True, check=True).stdout
        libraries = [word for word in listed.split() if word.startswith("/")]
        files.update({library: Path(library) for library in libraries})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path in files.items():
            tar.add(path.resolve(), arcname=name.lstrip("/"))
        _add(tar, "bin/train", TRAIN.encode(), 0o755)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(folder)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


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
