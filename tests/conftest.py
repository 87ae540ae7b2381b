"""What every test may use: a Docker engine, the real pictures. Both optional, and never silently absent in CI."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.missing import missing

# a busy machine is not a bug: each test has its own limit, against hanging
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

ROOT = Path(__file__).resolve().parent.parent
_LONG = 500  # seconds of a limit, up to which tests stay in their order
CIFAR10_IMAGES = Path(os.environ.get("CIFAR10_IMAGES", ROOT.parent / "shared/data/cifar10-images.zip"))


def pytest_configure() -> None:
    """Signals reach the processes that tests start, also where nohup or a shell's & has them ignored."""
    for number, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first: at the end one worker would have them, and the others nothing."""
    items.sort(key=lambda item: -max(_LONG, _limit(item)))


def _limit(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return marker.args[0] if marker and marker.args else 0


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes are named by their length: some have a time or an arbitrary order in them, and names must stay the same."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def cifar10_images() -> Path:
    """The zip of real CIFAR-10 pictures (train/<class>/*.jpg, test/<class>/*.jpg)."""
    if not CIFAR10_IMAGES.exists():
        pytest.skip(f"no CIFAR-10 pictures at {CIFAR10_IMAGES}; set CIFAR10_IMAGES to a zip of them")
    return CIFAR10_IMAGES


def _engine_error() -> str | None:
    """Why no engine answers. Asked in a process of its own: the package leaves a socket open that can't connect."""
    probe = "import docker, sys\ntry: docker.from_env().ping()\nexcept Exception as error: sys.exit(str(error))"
    asked = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=200)
    return asked.stderr.strip().splitlines()[-1] if asked.returncode else None


@pytest.fixture(scope="session")
def docker_engine():
    """A Docker client whose engine answers."""
    if error := _engine_error():
        missing(f"no Docker engine answers: {error}")
    import docker

    client = docker.from_env()
    yield client
    client.close()
