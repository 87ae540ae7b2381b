"""The compiled library's tests once more, with each access to memory and each operation checked (ASan, UBSan)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.missing import missing
from train.records import native

ROOT = Path(__file__).parents[3]
SOURCE = Path(native.__file__).with_name("native.c")
TESTS = ("tests/train/records/test_native.py", "tests/train/records/test_tfrecord.py")
RUN = """
import sys
from pathlib import Path
import pytest
from train.records import native
native.library = native._load(Path(sys.argv[1]))
sys.exit(pytest.main(sys.argv[2:]) if native.library else "the library is not used")
"""
OUT_OF_BOUNDS = """
import sys
import numpy as np
from pathlib import Path
from train.records import native
library = native._load(Path(sys.argv[1]))
frame = np.zeros(20, np.uint8)
library.count_valid_frames(frame.__array_interface__["data"][0], 20, 1000, True)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """native.c with the sanitizers."""
    path = tmp_path_factory.mktemp("sanitized") / "native.so"
    options = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC"]
    try:
        done = subprocess.run(["cc", *options, str(SOURCE), "-o", str(path)], capture_output=True, text=True)
    except FileNotFoundError:
        missing("no C compiler")
    if done.returncode:
        missing(f"no sanitizers: {done.stderr.strip()[-300:]}")
    return path


def run(code: str, library: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python process with the sanitizers' runtime."""
    found = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": found.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own are many
    }
    command = [sys.executable, "-c", code, str(library), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_librarys_tests_pass_with_the_sanitizers(library):
    # TensorFlow is not built for them; a test that compiles a library has that run without
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-k", "not tensorflow and not version"]
    done = run(RUN, library, *options, *TESTS)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert "skipped" not in done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_the_sanitizers_see_an_access_out_of_bounds(library):
    done = run(OUT_OF_BOUNDS, library)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
