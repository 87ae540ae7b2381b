"""What the docs say to type is typed, in a copy of the checkout and in the order of the page."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.docs import ROOT, read_blocks

IMAGE = os.environ.get("IMAGE", "cv-keras-cifar10:local")
GETTING_STARTED, BRING = ROOT / "docs/getting-started.md", ROOT / "docs/bring-your-image.md"
# of the pages' commands, those that make what a test's machine has already
ENVIRONMENT = "make env"
INSTALLED = f'local-test() {{ PYTHONPATH="{ROOT}" "{sys.executable}" -m local_test "$@"; }}\n'


def type_in(folder: Path, lines: str, **environment: str) -> str:
    """What the lines print; the first that fails ends it, and fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", lines], cwd=folder, env={**os.environ, "PATH": path, **environment},
        capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files under version control, with this Python's environment as .venv."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, timeout=200).stdout.decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_getting_started(checkout: Path) -> None:
    """Without an engine, so that the jobs are processes wherever the test runs."""
    lines = "".join(read_blocks(GETTING_STARTED, "sh"))
    assert lines.startswith(ENVIRONMENT)
    typed = type_in(checkout, lines.partition("\n")[2], DOCKER_HOST="tcp://127.0.0.1:9")
    assert typed.count(": Completed\n") == 2
    assert "3 classes, 64×64" in typed


@pytest.mark.docker
def test_an_image_of_ones_own(tmp_path: Path, docker_engine: Any) -> None:
    """Its base is one that this machine has."""
    lines = "".join(read_blocks(BRING, "sh") + read_blocks(BRING, "sh ci"))
    typed = type_in(tmp_path, INSTALLED + lines.replace("FROM python:3.11-slim", f"FROM {IMAGE}"))
    docker_engine.images.remove("means:local")
    assert typed.count(": Completed\n") == 3
    assert '{"mean": 333833.5}' in typed
