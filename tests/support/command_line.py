"""`python -m local_test` as a person runs it, with a training program of the test's own."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.programs import write_executable
from tests.support.served import MAIN, ROOT

HEAD = f"""#!{sys.executable}
import os, signal, sys
from pathlib import Path
BASE = Path(os.environ['SAGEMAKER_BASE_DIR'])
"""


def write_program(folder: Path, code: str) -> None:
    write_executable(folder / "train.py", HEAD + code)


def start(folder: Path, *arguments: str, own: bool = False, **environ: str) -> subprocess.Popen[str]:
    start = ["-c", MAIN] if own else ["-m", "local_test"]
    return subprocess.Popen(
        [sys.executable, *start, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit code, output, error) of a command that ends."""
    out, err = process.communicate(timeout=200)
    assert "Traceback" not in err, err
    return process.returncode, out, err
