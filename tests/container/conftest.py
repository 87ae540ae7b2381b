"""The image, built once, and commands run in it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD_LIMIT_S = 1500  # without any cache: a base from Debian's packages, then TensorFlow's download
RUN_LIMIT_S = 150

# as local runs and hardened clusters start it
UNPRIVILEGED = ("--user=1000:1000", "--env=HOME=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")

InImage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def image(docker_engine) -> str:
    """The name of the image that build.sh makes of this checkout."""
    name = os.environ.get("IMAGE", "cv-keras-cifar10:local")
    built = subprocess.run([ROOT / "container/build.sh"], capture_output=True, text=True, timeout=BUILD_LIMIT_S)
    assert built.returncode == 0, built.stderr[-3000:]
    assert built.stdout.split()[0] == name
    return name


@pytest.fixture
def in_image(image) -> InImage:
    """docker run [options] IMAGE [command], without network; the caller looks at the exit code."""

    def run(*command: str, options: tuple[str, ...] = (), stdin: str = "") -> subprocess.CompletedProcess[str]:
        whole = ["docker", "run", "--rm", "--interactive", "--network=none", *options, image, *command]
        return subprocess.run(whole, input=stdin, capture_output=True, text=True, timeout=RUN_LIMIT_S)

    return run
