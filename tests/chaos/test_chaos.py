"""A short run: containers if an engine answers, else processes."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_is_lost_and_nothing_is_left() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--minutes", "0.4"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=380)
    assert ended.returncode == 0, (ended.stdout[-6000:], ended.stderr[-3000:])
    assert "no lost job, no lost object" in ended.stdout
