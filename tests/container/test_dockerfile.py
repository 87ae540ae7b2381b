"""What the Dockerfile and its context promise, as far as it shows without an engine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "container/Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """(name, arguments) of every instruction, continued lines joined, comments left out."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#"))
    joined = lines.replace("\\\n", " ").splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined if line.strip())]


def final_stage() -> list[tuple[str, str]]:
    everything = instructions()
    last = max(number for number, (name, _) in enumerate(everything) if name == "FROM")
    return everything[last + 1 :]


def test_base_is_one_argument_with_tag_and_digest():
    assert instructions()[0][0] == "ARG"
    assert re.fullmatch(r"BASE=python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}", instructions()[0][1])
    assert [rest for name, rest in instructions() if name == "FROM"] == ["${BASE} AS builder", "${BASE}"]


def test_both_builders_read_it():
    """The classic builder knows no --mount; a syntax line would make BuildKit fetch a front end from a registry."""
    assert "--mount" not in DOCKERFILE
    assert not re.search(r"^#\s*syntax", DOCKERFILE, re.MULTILINE)


def test_last_stage_installs_nothing():
    """The environment comes whole from the builder; sources come last: a change of theirs rebuilds nothing else."""
    layers = [" ".join(instruction) for instruction in final_stage() if instruction[0] in ("COPY", "ADD", "RUN")]
    assert layers == [
        "RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} +",
        "COPY --from=builder /opt/venv /opt/venv",
        "COPY container/train /opt/program/bin/train",
        "COPY container/site /opt/program",
        "COPY dataset /opt/program/last/dataset",
        "COPY sagemaker_tensorflow /opt/program/sagemaker_tensorflow",
        "COPY train /opt/program/train",
        "RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/program",
    ]
    builder = [rest for name, rest in instructions()[: -len(final_stage())] if name == "COPY"]
    assert builder
    others = {rest for rest in builder if "requirements" not in rest}
    assert others == {"container/link_cuda.sh /tmp/", "train/records/native.c /tmp/"}


def test_every_installation_checks_hashes():
    installs = [part for _, rest in instructions() for part in rest.split(";") if "pip install" in part]
    assert len(installs) == 2
    assert all("--require-hashes" in part and "--no-deps" in part for part in installs)


def test_the_service_can_start_it():
    """The service runs `docker run IMAGE train`: an entry point would swallow the word."""
    assert ("CMD", '["train"]') in final_stage()
    assert not [name for name, _ in instructions() if name == "ENTRYPOINT"]


def test_dockerignore_is_an_allow_list():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line[0] == "!"} == {
        "container/link_cuda.sh", "container/requirements*.txt", "container/site", "container/train",
        "dataset", "sagemaker_tensorflow", "train",
    }  # fmt: skip


@pytest.mark.docker
@pytest.mark.timeout(1800)  # it may have to build the image
def test_nothing_else_reaches_the_engine(image, tmp_path):
    """Seen from inside: an image of the whole context."""
    (tmp_path / ".dockerignore").write_text((ROOT / ".dockerignore").read_text())
    for name in (
        "train/trainer/job.py",
        "train/deep/x.py",
        "dataset/x.py",
        "sagemaker_tensorflow/x.py",
        "container/train",
        "container/site/x.py",
        "container/requirements.txt",
        "container/requirements-gpu.txt",
        "container/link_cuda.sh",
    ):
        touch(tmp_path / name)
    for name in (
        "train/__pycache__/job.pyc", "train/deep/__pycache__/x.pyc", "container/build.sh", "data/a.tfrecord",
        ".git/HEAD", "jobs/j/log", ".venv/bin/python", "credentials", "tests/test_x.py", "local_test/x.py",
    ):  # fmt: skip
        touch(tmp_path / name)
    dockerfile = f"FROM {image}\nCOPY . /context\n"
    build = ["docker", "build", "--quiet", "--file=-", str(tmp_path)]
    built = subprocess.run(build, input=dockerfile, capture_output=True, text=True, timeout=200, check=True)
    name = built.stdout.strip()
    try:
        listing = ["docker", "run", "--rm", "--network=none", name, "find", "/context", "-type", "f"]
        found = subprocess.run(listing, capture_output=True, text=True, timeout=200, check=True).stdout.split()
    finally:
        subprocess.run(["docker", "rmi", name], capture_output=True, timeout=200, check=True)
    assert {path.removeprefix("/context/") for path in found} == {
        "train/trainer/job.py", "train/deep/x.py", "dataset/x.py", "sagemaker_tensorflow/x.py", "container/train",
        "container/site/x.py", "container/requirements.txt", "container/requirements-gpu.txt", "container/link_cuda.sh",
    }  # fmt: skip


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
