"""The locks: whole, hashed, and of one mind with pyproject.toml and with each other."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.programs import write_executable

ROOT = Path(__file__).resolve().parents[2]
CONTAINER = ROOT / "container"
LOCKS = ("requirements.txt", "requirements-gpu.txt", "requirements-build.txt", "requirements-mpi.txt")


def pins(text: str) -> dict[str, str]:
    """name==version lines → {normalised name: version}; extras in brackets are no part of a name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def locked(name: str) -> dict[str, str]:
    return pins((CONTAINER / name).read_text())


# what pip-audit 2.10 does: a package without an answer, or no network, is an error; a table is what was found
ANSWERS = {
    "echo 'No known vulnerabilities found' >&2": (0, "nothing known", ""),
    "echo 'Found 1 known vulnerability' >&2; echo 'pillow 12.0 CVE-1'; exit 1": (1, "vulnerabilities:", "see above"),
    "echo 'Traceback:\n  line' >&2; echo 'ProxyError: refused' >&2; exit 1": (
        1,
        "no answer: ProxyError: refused",
        "nothing is known. It needs a network",
    ),
}


@pytest.mark.parametrize("program", ANSWERS)
def test_the_audit_looks_at_every_lock_and_takes_no_silence_for_an_answer(tmp_path, program):
    tool = tmp_path / "pip-audit"
    write_executable(tool, f'#!/bin/sh\necho "$@" >>{tmp_path}/log\n{program}\n')
    done = run_audit(CONTAINER, PIP_AUDIT=str(tool))
    code, line, last = ANSWERS[program]
    assert done.returncode == code
    lines = [text for text in done.stdout.splitlines() if text.startswith("container/")]
    assert lines == [f"container/{name}: {line}" for name in sorted(LOCKS)]
    calls = (tmp_path / "log").read_text().splitlines()
    assert [Path(call.split()[-1]).name for call in calls] == sorted(LOCKS)
    assert all("--strict " in call for call in calls)
    assert last in done.stderr
    assert done.stderr.count("\n") == code


def test_an_audit_without_its_program_and_a_network_is_one_line(tmp_path):
    (tmp_path / "container").mkdir()
    for name in ("audit.sh", "quietly.sh"):
        shutil.copy(CONTAINER / name, tmp_path / "container")
    python = tmp_path / "python"  # python -m venv FOLDER, and a pip that finds no index
    pip = "echo 'WARNING: Retrying' >&2; echo 'ERROR: No matching distribution found' >&2; exit 1"
    makes = f"mkdir -p $3/bin; printf '%s\\n' '#!/bin/sh' \"{pip}\" >$3/bin/pip; chmod +x $3/bin/pip"
    write_executable(python, f"#!/bin/sh\n{makes}\n")
    done = run_audit(tmp_path / "container", PYTHON=str(python))
    assert done.returncode == 1
    assert re.fullmatch(
        r"audit.sh: pip-audit\S+ could not be installed: ERROR: No matching .*\. Is there a network\?\n", done.stderr
    )


def run_audit(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "audit.sh"], env={**os.environ, **variables}, capture_output=True, text=True, timeout=200
    )


def project_pins() -> dict[str, str]:
    """Of pyproject.toml: dependencies and all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return pins("\n".join(requirement for requirements in lists for requirement in requirements))


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_one_version_with_hashes(name):
    text = (CONTAINER / name).read_text().replace("\\\n", "")
    requirements = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert requirements
    for line in requirements:
        assert re.fullmatch(r"[a-z0-9-]+==\S+ +(--hash=sha256:[0-9a-f]{64} *)+", line), line


@pytest.mark.parametrize("name", LOCKS)
def test_lock_names_no_index_and_no_machine(name):
    text = (CONTAINER / name).read_text()
    assert "make lock" in text.splitlines()[1]
    assert not re.search(r"https?:|file:|--index|--find-links|--trusted| /[a-z]", text)


@pytest.mark.parametrize("name", LOCKS[:3])
def test_locks_agree_with_the_project(name):
    """A version that both name is the same: what runs in a process runs in the image."""
    ours = project_pins()
    common = ours.keys() & locked(name).keys()
    assert "setuptools" in common
    assert {key: locked(name)[key] for key in common} == {key: ours[key] for key in common}


@pytest.mark.parametrize("name", ["requirements", "requirements-gpu", "requirements-mpi"])
def test_lock_holds_what_was_asked_for(name):
    asked = pins((CONTAINER / f"{name}.in").read_text())
    assert asked
    assert asked.items() <= locked(f"{name}.txt").items()


@pytest.mark.parametrize("other", ["requirements-gpu.txt", "requirements-build.txt"])
def test_locks_agree_with_each_other(other):
    cpu = locked("requirements.txt")
    common = cpu.keys() & locked(other).keys()
    assert common
    assert {key: cpu[key] for key in common} == {key: locked(other)[key] for key in common}


def test_variants_differ_by_cuda_alone():
    cpu, gpu = locked("requirements.txt"), locked("requirements-gpu.txt")
    assert cpu.keys() - gpu.keys() == {"tensorflow-cpu"}
    assert cpu["tensorflow-cpu"] == gpu["tensorflow"]
    rest = gpu.keys() - cpu.keys() - {"tensorflow"}
    assert rest
    assert all(name.startswith("nvidia-") for name in rest), rest


def test_naive_image_has_the_same_versions():
    """Else the benchmark would compare releases, not images."""
    naive = (ROOT / "benchmarks/naive/Dockerfile").read_text()
    asked = pins(naive.replace(" ", "\n"))
    assert asked.keys() == {"tensorflow-cpu", "sagemaker-training"}
    assert asked.items() <= locked("requirements.txt").items()
