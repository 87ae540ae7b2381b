"""A job that is killed again and again ends with the weights of one that is left alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "5"))


@pytest.mark.slow
@pytest.mark.timeout(300 + 30 * KILLS)
def test_kills_do_not_change_the_weights() -> None:
    command = [sys.executable, "-m", "tests.stress.kills", str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280 + 30 * KILLS)
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    assert f"{KILLS} kills" in done.stdout
