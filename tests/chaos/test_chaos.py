"""Short runs, with containers and with processes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("runner", [pytest.param("docker", marks=pytest.mark.docker), "process"])
def test_nothing_is_lost_and_nothing_is_left(runner: str, request: pytest.FixtureRequest) -> None:
    if runner == "docker":
        request.getfixturevalue("docker_engine")
    command = [sys.executable, "-m", "tests.chaos", "--minutes", "0.4", "--runner", runner]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=580)
    assert ended.returncode == 0, (ended.stdout[-6000:], ended.stderr[-3000:])
    assert "no lost job, no lost object" in ended.stdout
