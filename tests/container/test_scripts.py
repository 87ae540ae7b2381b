"""The shell scripts and the Makefile at their edges: help, wrong use, missing tools, and which base a build takes.

PATH holds nothing but links to harmless tools and, where a test says so, a docker command of its own.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.missing import missing
from tests.support.programs import write_executable
from tests.support.terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*ROOT.glob("*.sh"), *ROOT.glob("*/*.sh"), *ROOT.glob(".ci/*")])
TOOLS = (
    *("awk", "bash", "cat", "cut", "dirname", "env", "git", "grep", "mktemp", "rm", "sed", "seq", "sh", "sleep"),
    *("stty", "tail", "timeout", "tr"),
)
ENGINE_DOWN = "exit 1"
REGISTRY_BASE = re.search(r"^ARG BASE=(.*)$", (ROOT / "container/Dockerfile").read_text(), re.MULTILINE)[1]

# knows the images that IMAGES names, reaches the registry if REGISTRY is set, writes down what is built; its builder
# has the options of HELP, and what it builds comes into the engine unless LOST is set
ENGINE = """
case $1 in
  info) ;;
  pull) [[ -n ${REGISTRY:-} ]] ;;
  context) echo mine ;;
  build) [[ $2 == --help ]] && echo "${HELP:-}" || echo "$@" "BUILDX_BUILDER=$BUILDX_BUILDER" >>"$LOG" ;;
  image) name=${!#}
    case $* in
      *Size*) [[ -z ${LOST:-} ]] && echo 1234567890 ;;
      *) [[ " ${IMAGES:-} " == *" $name "* ]] ;;
    esac ;;
  *) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


@pytest.fixture
def path(tmp_path):
    """A folder for PATH with TOOLS in it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))
    return folder


def command(folder: Path, name: str, body: str) -> None:
    write_executable(folder / name, f"#!/usr/bin/env bash\n{body}\n")


def run(script: str, *arguments: str, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path), "HOME": "/nonexistent", **variables}
    whole = [ROOT / script, *arguments]
    return subprocess.run(whole, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200)


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode not in (0, 126, 127), result
    assert not result.stdout
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(script):
    if not shutil.which("shellcheck"):
        missing("shellcheck is not installed")
    subprocess.run(["shellcheck", script], timeout=200, check=True)


@pytest.mark.parametrize(
    "script",
    [
        *("container/build.sh", "container/debian_base.sh", "container/lock.sh", "container/quietly.sh"),
        *(".ci/run", ".ci/buildkit"),
    ],
)
def test_help_is_the_header_and_nonsense_is_refused(script, path):
    shown = run(script, "--help", path=path)
    assert shown.returncode == 0
    assert shown.stdout.startswith(f"Usage: {script}")
    assert not shown.stderr
    assert "Received: --nonsense" in one_line(run(script, "--nonsense", path=path))


@pytest.mark.parametrize("script", ["container/build.sh", "container/debian_base.sh"])
def test_no_engine(script, path):
    assert "no docker command" in one_line(run(script, path=path))
    command(path, "docker", ENGINE_DOWN)
    assert "no Docker engine answers" in one_line(run(script, path=path))


SLOW = """printf 'one\\ndownloading\\r50 \\033[2J%% done \\033[0m\\n ---> 12ab\\n\\033[0m\\n'; sleep 1.5; exit """


def test_what_takes_long_says_every_few_seconds_how_far_it_is(path, tmp_path):
    """In the command's last words, once and without colours. It is silent as to the rest, unless it fails."""
    fine = run("container/quietly.sh", "building it", "sh", "-c", f"{SLOW} 0", path=path, INTERVAL="0.3")
    lines = [re.sub(r" \d:\d\d", " 0:00", line) for line in fine.stderr.splitlines()]
    assert (fine.returncode, fine.stdout) == (0, "")
    assert len(lines) >= 2
    assert lines.count("building it: 0:00, 50 % done") == 1
    assert lines.count("building it: 0:00") == len(lines) - 1
    failed = run("container/quietly.sh", "building it", "sh", "-c", f"{SLOW} 3", path=path, INTERVAL="9")
    assert (failed.returncode, failed.stderr[:4]) == (3, "one\n")
    kept = run("container/quietly.sh", "--log", str(tmp_path / "log"), "it", "sh", "-c", f"{SLOW} 3", path=path)
    assert (kept.returncode, kept.stderr) == (3, "")
    assert (tmp_path / "log").read_text().startswith("one\n")


def test_its_caller_does_not_wait_for_the_next_line(path):
    began = time.monotonic()
    assert run("container/quietly.sh", "it", "true", path=path, INTERVAL="30").returncode == 0
    assert time.monotonic() - began < 20


def test_ctrl_c_reaches_what_it_runs(path):
    """And what that says of it is not shown. A line is never longer than the terminal is wide."""
    program = "trap 'echo a traceback; exit 3' INT; seq -s ' word ' 99; sleep 60"
    terminal = Terminal(
        [str(ROOT / "container/quietly.sh"), "it", "sh", "-c", program],
        *(ROOT, {"PATH": str(path), "INTERVAL": "0.2"}, 45),
    )
    terminal.wait_for(", 1 word 2 word 3 word 4 word 5 wor…\n")
    terminal.type("\x03")
    assert terminal.end() == -signal.SIGINT
    assert "traceback" not in terminal.output


def test_debian_base_is_made_once(path):
    """Nothing but docker is asked if the image is there: neither root nor debootstrap is needed."""
    command(path, "docker", ENGINE)
    made = run("container/debian_base.sh", "mine:1", path=path, IMAGES="mine:1")
    assert (made.returncode, made.stdout, made.stderr) == (0, "mine:1\n", "")


def test_debian_base_says_what_it_needs(path):
    command(path, "docker", ENGINE)
    message = one_line(run("container/debian_base.sh", path=path))
    if os.geteuid() == 0:
        assert "no debootstrap command" in message
    else:
        assert f"Received: uid {os.geteuid()}" in message


def test_debian_base_without_a_mirror(path, tmp_path):
    """A failing debootstrap: its last lines, which command it was, no folder left behind."""
    if os.geteuid() != 0:
        missing("only root makes a Debian tree")
    for tool in ("find", "tee", "umount"):
        (path / tool).symlink_to(shutil.which(tool))
    command(path, "docker", ENGINE)
    command(path, "debootstrap", "echo 'E: no such mirror'; exit 1")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    failed = run("container/debian_base.sh", path=path, TMPDIR=str(scratch), MIRROR="http://127.0.0.1:9/debian")
    assert failed.returncode == 1
    assert "E: no such mirror" in failed.stderr
    assert "failed: debootstrap" in failed.stderr.splitlines()[-1]
    assert not list(scratch.iterdir())


def built_on(path: Path, tmp_path: Path, **variables: str) -> str:
    """The base that build.sh gives to docker build."""
    command(path, "docker", ENGINE)
    log = tmp_path / "builds"
    done = run("container/build.sh", path=path, LOG=str(log), **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{variables.get('IMAGE', 'cv-keras-cifar10:local')} 1234 MB\n"
    return re.search(r"--build-arg=BASE=(\S+)", log.read_text())[1]


def test_base_that_was_asked_for(path, tmp_path):
    assert built_on(path, tmp_path, BASE="mine:1", IMAGES="debian-python:bookworm", REGISTRY="1") == "mine:1"


def test_base_that_is_here_needs_no_registry(path, tmp_path):
    assert built_on(path, tmp_path, IMAGES=REGISTRY_BASE) == REGISTRY_BASE
    (tmp_path / "builds").unlink()
    assert built_on(path, tmp_path, IMAGES="debian-python:bookworm", REGISTRY="1") == "debian-python:bookworm"


def test_base_from_the_registry(path, tmp_path):
    assert built_on(path, tmp_path, REGISTRY="1", IMAGE="other:1") == REGISTRY_BASE


@pytest.mark.parametrize(
    ("options", "name", "builds"),
    [
        (["--gpu"], "gpu", [("Dockerfile", "VARIANT=gpu")]),
        (["--mpi"], "mpi", [("Dockerfile", "VARIANT=cpu"), ("mpi.Dockerfile", "IMAGE=cv-keras-cifar10:mpi")]),
        (
            ["--mpi", "--gpu"],
            "gpu-mpi",
            [("Dockerfile", "VARIANT=gpu"), ("mpi.Dockerfile", "IMAGE=cv-keras-cifar10:gpu-mpi")],
        ),
    ],
)
def test_a_variant_has_a_name_of_its_own(path, tmp_path, options, name, builds):
    command(path, "docker", ENGINE)
    log = tmp_path / "builds"
    done = run("container/build.sh", *options, path=path, IMAGES=REGISTRY_BASE, LOG=str(log))
    assert done.stdout == f"cv-keras-cifar10:{name} 1234 MB\n"
    for line, (file, argument) in zip(log.read_text().splitlines(), builds, strict=True):
        assert f"/container/{file} --tag cv-keras-cifar10:{name} " in line
        assert f"--build-arg={argument} " in line


def test_no_base_at_all(path):
    """No registry, and debian_base.sh can't make one: its line is the last word."""
    command(path, "docker", ENGINE)
    failed = run("container/build.sh", path=path)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("debian_base.sh: ")


def test_labels_do_not_change_between_two_builds(path, tmp_path):
    """`created` is the commit's time: with the time of the build, nothing would come from the cache."""
    command(path, "docker", ENGINE)
    log = tmp_path / "builds"
    for _ in range(2):
        assert run("container/build.sh", path=path, IMAGES=REGISTRY_BASE, LOG=str(log)).returncode == 0
    first, second = log.read_text().splitlines()
    assert first == second


def test_buildkit_makes_one_docker_manifest_in_the_engine_of_the_context(path, tmp_path):
    """SageMaker takes no index with attestations; only the engine's own builder sees the engine's images."""
    log = tmp_path / "builds"
    options = {"IMAGES": REGISTRY_BASE, "LOG": str(log), "BUILDX_BUILDER": "container"}
    command(path, "docker", ENGINE)
    assert run("container/build.sh", path=path, **options).returncode == 0
    assert run("container/build.sh", path=path, HELP="      --provenance string", **options).returncode == 0
    classic, buildkit = log.read_text().splitlines()
    assert "--provenance" not in classic
    assert "--provenance=false --sbom=false --output type=docker,oci-mediatypes=false" in buildkit
    assert buildkit.endswith("BUILDX_BUILDER=mine")
    lost = run("container/build.sh", path=path, LOST="yes", **options)
    assert (lost.returncode, lost.stdout) == (1, "")
    assert "the engine does not have it" in lost.stderr.splitlines()[-1]


def test_a_proxy_is_the_builds_too(path, tmp_path):
    """By name, as the password in its value is nobody's business; a proxy on the loopback is none for a container."""
    log = tmp_path / "builds"
    command(path, "docker", ENGINE)
    given = {"HTTPS_PROXY": "http://me:secret@proxy:3128", "http_proxy": "http://127.0.0.1:3128", "no_proxy": "mirror"}
    assert run("container/build.sh", path=path, IMAGES=REGISTRY_BASE, LOG=str(log), **given).returncode == 0
    (built,) = log.read_text().splitlines()
    assert re.findall(r"--build-arg (\w+)(?= |$)", built) == ["HTTPS_PROXY", "no_proxy"]
    assert "secret" not in built


def test_a_checkout_that_git_does_not_read_is_told(path, tmp_path):
    (path / "head").symlink_to(shutil.which("head"))
    command(path, "docker", ENGINE)
    git = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}  # git's own tests use it
    built = run("container/build.sh", path=path, IMAGES=REGISTRY_BASE, LOG=str(tmp_path / "builds"), **git)
    assert built.returncode == 0
    assert "the labels say no commit: fatal: detected dubious ownership" in built.stderr


def make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("make"):
        missing("make is not installed")
    # a make around the tests hands its own settings down by these
    inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    whole = ["make", "--no-print-directory", *arguments]
    environment = inherited | variables
    return subprocess.run(whole, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)


def test_make_alone_lists_every_command():
    listed = {line.split()[0] for line in make().stdout.splitlines()}
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert listed == set(phony.split())
    assert {"train", "test", "build", "bench", "lint"} <= listed


def test_make_train_with_and_without_an_engine(tmp_path):
    """Without one, TensorFlow must be in the environment; with one, the image must be built."""
    process = make("--dry-run", "train", "ENGINE=", f"VENV={tmp_path}/venv").stdout
    assert "'.[dataset,train]'" in process
    assert "--runner process" in process
    assert "build.sh" not in process
    container = make("--dry-run", "train", "ENGINE=docker", f"VENV={tmp_path}/venv").stdout
    assert "'.[dataset]'" in container
    assert "--runner docker" in container
    assert container.index("build.sh") < container.index("local_test train")


def test_make_without_a_python_that_fits(tmp_path):
    """One line of ours, then make's own."""
    command(tmp_path, "python3.10", "exit 1")
    failed = make("lint", f"VENV={tmp_path}/venv", f"PYTHON={tmp_path}/python3.10")
    assert failed.returncode != 0
    assert f"Received: {tmp_path}/python3.10. Needs 3.11" in failed.stderr.splitlines()[0]
    assert not (tmp_path / "venv").exists()


def test_make_without_a_compiler(tmp_path):
    """Only then is the toolkit's extension left out."""
    target = f"{tmp_path}/venv/.has-train"
    with_compiler, without = (
        make("--dry-run", f"NO_COMPILER={answer}", f"VENV={tmp_path}/venv", target).stdout for answer in ("", "yes")
    )
    assert "CC=true" not in with_compiler
    assert "CC=true LDSHARED=true" in without
