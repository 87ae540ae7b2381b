"""What `pip install .` brings, used as a person with another image does: from an empty folder, without a checkout."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.support.programs import write_executable
from tests.support.served import ended, request

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [ROOT / "pyproject.toml", *(path.parent for path in ROOT.glob("*/__init__.py"))]
# stands for the toolkit's `train`, which runs the image's program
TRAIN = """#!/bin/sh
echo "loss=0.25"
echo weights > "$SAGEMAKER_BASE_DIR/model/weights"
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made of a copy of the sources: setuptools leaves a build folder beside them."""
    folder = tmp_path_factory.mktemp("wheel")
    for source in SOURCES:
        if source.is_dir():
            copytree(source, folder / source.name, ignore=ignore_patterns("__pycache__"))
        else:
            copy(source, folder)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder))
    (path,) = folder.glob("*.whl")
    return path


def pip(*arguments: str, python: str | Path = sys.executable) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python), *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_the_platform_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    own = [*(ROOT / "local_test").rglob("*.py"), *(ROOT / "local_test/page/static").iterdir()]
    assert names == {path.relative_to(ROOT).as_posix() for path in own}


@pytest.fixture(scope="module")
def borrowed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of the wheel alone, which borrows the packages that it needs from the one that runs the tests."""
    return make_environment(tmp_path_factory.mktemp("borrowed"), wheel, sysconfig.get_path("purelib"))


@pytest.fixture(scope="module")
def complete(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of the wheel. It borrows from one of the wheel and what it asks for, from the package index, which
    takes a minute to make: once for all processes of a test run."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, made = root / "complete", root / "complete.made"
    with (root / "complete.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            venv.create(folder, symlinks=True)
            pip("install", str(wheel), python=folder / "bin/python")
            made.touch()
    return make_environment(tmp_path_factory.mktemp("borrowed"), wheel, packages_of(folder))


def make_environment(folder: Path, wheel: Path, packages: str) -> Path:
    """Its folder of commands. It has the wheel, and the packages of another one."""
    venv.create(folder, symlinks=True)
    Path(packages_of(folder), "borrowed.pth").write_text(f"{packages}\n")
    pip("install", "--no-deps", "--ignore-installed", str(wheel), python=folder / "bin/python")
    return folder / "bin"


def packages_of(environment: Path) -> str:
    return sysconfig.get_path("purelib", vars={"base": str(environment)})


@pytest.fixture(
    params=["borrowed", pytest.param("complete", marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
def binaries(request: pytest.FixtureRequest) -> Iterator[Path]:
    folder: Path = request.getfixturevalue(request.param)
    yield folder
    (folder / "train").unlink(missing_ok=True)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(binaries: Path, tmp_path: Path) -> Start:
    """Starts `local-test` in an empty folder."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AWS_"))}

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [binaries / "local-test", *arguments],
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def make_request(folder: Path) -> dict[str, Any]:
    return request("mine", OutputDataConfig={"S3OutputPath": folder.as_uri()})


def add_training_program(binaries: Path) -> None:
    write_executable(binaries / "train", TRAIN)


def test_the_version(start: Start) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert finish(start("--version")) == (0, f"{version}\n", "")
    assert finish(start("--help"))[1].startswith("usage: local-test ")


def test_train(binaries: Path, start: Start, tmp_path: Path) -> None:
    add_training_program(binaries)
    (tmp_path / "job.json").write_text(json.dumps(make_request(tmp_path)))
    code, out, err = finish(start("train", "--job", "job.json", "--name", "mine", "--runner", "process"))
    assert (code, out) == (0, "loss=0.25\n"), err
    assert "mine: Completed\n" in err
    assert (tmp_path / "jobs/mine/model.tar.gz").exists()


def test_what_a_checkout_would_have_is_one_line(start: Start, tmp_path: Path) -> None:
    code, out, err = finish(start("train", "--runner", "process"))
    assert (code, out) == (2, "")
    assert err.endswith("Received: no --job, outside this project's checkout. Expected: --job FILE.json\n")
    assert err.count("\n") == 1
    (tmp_path / "job.json").write_text(json.dumps(make_request(tmp_path)))
    code, out, err = finish(start("train", "--job", "job.json", "--runner", "process"))
    assert (code, out) == (2, "")
    assert err.endswith("/bin/train. Use --runner docker\n")
    assert err.count("\n") == 1


def test_serve(binaries: Path, start: Start, tmp_path: Path) -> None:
    add_training_program(binaries)
    with serve(start) as sagemaker:
        sagemaker.create_training_job(**make_request(tmp_path))
        assert ended(sagemaker, "mine")["TrainingJobStatus"] == "Completed"


@contextmanager
def serve(start: Start) -> Iterator[Any]:
    """A client of a server that ends without an error."""
    process = start("serve", "--port", "0", "--runner", "process", "--allow-files")
    try:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(4)]
        assert all(lines), process.communicate(timeout=200)
        exports = dict(line.removeprefix("export ").strip().split("=") for line in lines)
        session = boto3.session.Session(
            exports["AWS_ACCESS_KEY_ID"], exports["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1"
        )
        client = session.client("sagemaker", endpoint_url=exports["AWS_ENDPOINT_URL"], config=Config(proxies={}))
        yield client
        client.close()
        process.send_signal(signal.SIGINT)
        code, _, err = finish(process)
        assert code == 0, err
    finally:
        process.kill()
        process.communicate()
