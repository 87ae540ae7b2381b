"""Every corpus file is a test; then a short search for more. `python -m tests.fuzz --seconds 600` searches longer."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, check
from tests.support.missing import missing

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
SECONDS = int(os.environ.get("FUZZ_SECONDS", "4"))  # for each target; CI has more time
CASES = sorted(path.relative_to(CORPUS).as_posix() for path in CORPUS.glob("*/*"))


def test_every_target_has_a_corpus():
    assert {case.partition("/")[0] for case in CASES} == set(TARGETS)


@pytest.mark.parametrize("case", CASES)
def test_corpus(case):
    check(case.partition("/")[0], (CORPUS / case).read_bytes())


@pytest.mark.parametrize("case", [case for case in CASES if case.endswith(("whole", "mixed", "three", "good"))])
@pytest.mark.no_cover
def test_a_file_cut_at_every_byte_and_arriving_byte_by_byte(case):
    target, data = case.partition("/")[0], (CORPUS / case).read_bytes()[1:]
    for end in range(len(data) + 1):
        check(target, b"\x00" + data[:end])
        check(target, b"\x01\x00" + data[:end])


@pytest.mark.slow
@pytest.mark.timeout(300 + SECONDS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_short_search_finds_nothing(target, tmp_path):
    if importlib.util.find_spec("atheris") is None:
        missing("atheris is not published for this machine")
    command = [sys.executable, "-m", "tests.fuzz", target, "--seconds", str(SECONDS), "--findings", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS + 280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nothing found" in done.stdout
    executed = [line for line in done.stderr.splitlines() if line.startswith("stat::number_of_executed_units:")]
    assert int(executed[0].rpartition(" ")[2]) > 10
    assert list(tmp_path.iterdir()) == []
