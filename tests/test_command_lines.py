"""What every command does at a terminal: a reader that goes is no failure, Ctrl-C ends it without a traceback, and
a missing package is one line."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import write_executable

ROOT = Path(__file__).resolve().parents[1]
REQUEST = ("train", "--image", "i", "--role", "r", "--bucket", "my-bucket")
COMMANDS = {
    "dataset": ("dataset", "prepare", "--help"),
    "local_test": ("local_test", "train", "--help"),
    "version": ("local_test", "--version"),
    "boto3_client": ("launch.boto3_client", "--help"),
    "sdk_v2": ("launch.sdk_v2", "--help"),
    "sdk_v3": ("launch.sdk_v3", "--help"),
    "experiments": ("launch.experiments", "compare", "--help"),
    "request": ("launch.core.request", *REQUEST),
    "shell_facts": ("launch.core.shell_facts", *REQUEST),
    "benchmarks": ("benchmarks", "--help"),
}
# those that Ctrl-C ends by the signal itself while they load their modules; benchmarks end by an exception, so that
# they take with them what they have started, and Python may report one that comes in a callback of its own
PROGRAMS = {name: command for name, command in COMMANDS.items() if name != "benchmarks"} | {
    "predict": ("train.predict", "--help")
}


def run(*arguments: str, **streams: int) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environ, text=True, timeout=200, check=False, **streams
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_goes_is_no_failure(command: str) -> None:
    """As `… | head -1` does, where more is written than head has read."""
    read, write = os.pipe()
    os.close(read)
    try:
        done = run("-m", *COMMANDS[command], stdout=write, stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (0, "")
        assert run("-m", *COMMANDS[command], stdout=write, stderr=write).returncode == 0
    finally:
        os.close(write)


@pytest.mark.parametrize("command", PROGRAMS)
def test_ctrl_c_while_modules_are_loaded(command: str) -> None:
    """After so many modules of which the first is the program's own; before, it is Python that begins."""
    package = PROGRAMS[command][0].partition(".")[0]
    codes = [_interrupt(package, modules, PROGRAMS[command]) for modules in (1, 2, 40, 250)]
    assert codes[0] == -signal.SIGINT
    assert set(codes) <= {-signal.SIGINT, 128 + signal.SIGINT, 0}  # 0: all was loaded and done


def _interrupt(package: str, modules: int, arguments: tuple[str, ...]) -> int:
    """The exit code of a program that says which modules it loads, and is interrupted after so many."""
    command = [sys.executable, "-X", "importtime", "-m", *arguments]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    said, left = "", modules
    with subprocess.Popen(command, cwd=ROOT, text=True, preexec_fn=_heed_ctrl_c, **streams) as program:  # type: ignore[call-overload]
        for line in program.stderr:
            if not line.startswith("import time:"):
                said += line
            elif left < modules or line.rpartition("|")[2].strip() == package:
                left -= 1
                if left == 0:
                    program.send_signal(signal.SIGINT)
        code = program.wait(60)
    assert said.count("\n") <= 1, said
    assert "KeyboardInterrupt" not in said
    return code


# as Python's own does it: Ctrl-C comes to all of them, and finds this one loading its modules
AWS = f"#!{sys.executable} -I\nimport os, signal\nos.killpg(0, signal.SIGINT)\nsignal.pause()\n"
SCRIPTS = {
    "launch/aws_cli.sh": ("train", "--image", "i", "--role", "r", "--bucket", "my-bucket"),
    "launch/clean_up.sh": ("--bucket", "my-bucket", "--yes"),
    "push.sh": ("--tag", "t", "--dry-run", "--region", "us-east-1"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_ctrl_c_while_a_script_calls_aws(script: str, tmp_path: Path) -> None:
    write_executable(tmp_path / "aws", AWS)
    write_executable(tmp_path / "docker", "#!/bin/sh\n")
    done = subprocess.run(
        [str(ROOT / script), *SCRIPTS[script]], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        check=False, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)},
        start_new_session=True, preexec_fn=_heed_ctrl_c,
    )  # fmt: skip
    assert done.returncode in (130, -signal.SIGINT)
    assert done.stdout == ""
    assert len(done.stderr.split("\n")) <= 3, done.stderr  # an empty line and one
    assert "KeyboardInterrupt" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"aws", "docker"}  # nothing temporary is left


def _heed_ctrl_c() -> None:
    """A shell starts what is in the background with SIGINT ignored, and so may these tests have been."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("dataset", "prepare"), "Run `make env` and `. .venv/bin/activate`, then the command again"),
        (("dataset", "prepare", "--source", "synthetic", "--out", "never"), "Run `make env`"),
        (("local_test", "train"), "Run pip install ."),
        (("launch.boto3_client", *REQUEST), "Run `make env`"),
        (("launch.sdk_v2", *REQUEST), "Run `make sdk-v2`"),
        (("launch.sdk_v3", *REQUEST), "Run `make sdk-v3`"),
        (("launch.experiments", "compare", "--experiment", "e"), "Run `make env`"),
        (("benchmarks", "load"), "Run `make env`"),
    ],
)
def test_outside_the_environment_it_says_what_to_run(arguments: tuple[str, ...], hint: str) -> None:
    done = run("-S", "-m", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # -S: no installed packages
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert " is not installed" in done.stderr
    assert hint in done.stderr


def test_a_full_disk_takes_words_but_no_results() -> None:
    """A word on standard error that has no room changes nothing; a result that has none is a failure."""
    with Path("/dev/full").open("w") as full:
        refused = ("-m", "local_test", "train", "--channel", "train=nowhere")
        assert run(*refused, stderr=full.fileno(), stdout=subprocess.PIPE).returncode == 2
        assert run("-m", "local_test", "--version", stdout=full.fileno(), stderr=subprocess.PIPE).returncode != 0
