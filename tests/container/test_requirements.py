"""The locks: whole, hashed, and of one mind with pyproject.toml and with each other."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTAINER = ROOT / "container"
LOCKS = ("requirements.txt", "requirements-gpu.txt", "requirements-build.txt")


def pins(text: str) -> dict[str, str]:
    """name==version lines → {normalised name: version}; extras in brackets are no part of a name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def locked(name: str) -> dict[str, str]:
    return pins((CONTAINER / name).read_text())


def test_the_audit_looks_at_every_lock_and_takes_no_silence_for_an_answer() -> None:
    recipe = subprocess.run(["make", "--dry-run", "audit"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"container/(requirements[a-z-]*\.txt)", recipe)) == set(LOCKS)
    assert " --strict " in recipe


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


@pytest.mark.parametrize("name", LOCKS)
def test_locks_agree_with_the_project(name):
    """A version that both name is the same: what runs in a process runs in the image."""
    ours = project_pins()
    common = ours.keys() & locked(name).keys()
    assert "setuptools" in common
    assert {key: locked(name)[key] for key in common} == {key: ours[key] for key in common}


@pytest.mark.parametrize("name", ["requirements", "requirements-gpu"])
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
