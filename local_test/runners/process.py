"""Runs the toolkit's `train` command as a process: the same program without a container, where there is no engine.

The process sees the caller's environment, this checkout and, by SAGEMAKER_BASE_DIR, its own /opt/ml. There is no
isolation: no read-only inputs, no limits, no network of its own.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from local_test.errors import RunnerError
from local_test.runners.base import STOP_EXIT_CODE, ContainerSpec, Exit, Runner

_READ_BYTES = 1 << 16
_VMSTAT = Path("/proc/vmstat")
# the ENV of the image; see container/Dockerfile
PROGRAM = {
    "PYTHONUNBUFFERED": "1",
    "SAGEMAKER_TRAINING_MODULE": "train.entrypoint:main",
    "TF_CPP_MIN_LOG_LEVEL": "1",
}


class ProcessRunner(Runner):
    """`command` is what the image's `train` would be; by default the toolkit's script beside the running Python."""

    def __init__(self, environ: Mapping[str, str], checkout: Path | None, command: Sequence[str] | None = None) -> None:
        self._environ, self._checkout = environ, checkout
        self._command = tuple(command) if command else (str(Path(sys.executable).with_name("train")),)

    def check(self, spec: ContainerSpec) -> None:
        if not os.access(self._command[0], os.X_OK):
            raise RunnerError(
                f"The training toolkit is not installed beside this Python. Received: no {self._command[0]}. "
                + ("Run pip install '.[train]' with this Python, or use" if self._checkout else "Use")
                + " --runner docker"
            )
        if spec.entrypoint or tuple(spec.arguments) != ("train",):
            raise RunnerError(
                "AlgorithmSpecification.ContainerEntrypoint and ContainerArguments name a program of the image. "
                f"Received: {[*(spec.entrypoint or ()), *spec.arguments]}. Use --runner docker"
            )
        if len(spec.hosts) > 1:
            raise RunnerError(
                "ResourceConfig.InstanceCount above 1 needs a container for each host, whose names resolve there. "
                f"Received: {len(spec.hosts)}. Use --runner docker"
            )
        if not spec.network:
            raise RunnerError(
                "EnableNetworkIsolation needs a container: a process has this machine's network. Use --runner docker"
            )
        if spec.mounts:
            raise RunnerError(
                "A LocalPath must be below /opt/ml where a process runs instead of a container. "
                f"Received: {', '.join(spec.mounts.values())}. Use --runner docker"
            )

    def unmet_limits(self, spec: ContainerSpec) -> Sequence[str]:  # noqa: ARG002 - a Runner
        """A process has the machine as it is."""
        return ()

    def job_network(self, spec: ContainerSpec) -> AbstractContextManager[str]:  # noqa: ARG002 - a Runner
        """One host needs no network of its own."""
        return nullcontext("")

    def start(self, spec: ContainerSpec) -> "Process":
        environment = {
            **self._environ,
            **({**PROGRAM, "PYTHONPATH": str(self._checkout)} if self._checkout else {}),
            "SAGEMAKER_BASE_DIR": str(spec.base),
            **spec.environment,
        }
        try:
            return Process(self._command, environment, spec.base)
        except OSError as error:
            raise RunnerError(f"{self._command[0]} can't be started: {error.strerror}") from None

    def remove_orphans(self, folder: Path) -> None:
        """By the variable that each of them has; where there is no /proc, nothing is found."""
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # ended meanwhile, or not ours
                group = os.getpgid(int(environ.parent.name))
                if _base(environ.read_bytes()).is_relative_to(folder) and group != os.getpgid(0):
                    os.killpg(group, signal.SIGKILL)


def _base(environ: bytes) -> Path:
    """SAGEMAKER_BASE_DIR of /proc/<pid>/environ."""
    for variable in environ.split(b"\0"):
        if variable.startswith(b"SAGEMAKER_BASE_DIR="):
            return Path(os.fsdecode(variable.partition(b"=")[2]))
    return Path()


class Process:
    """A process group of its own. Standard output and error arrive in one stream, in the order they were written."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        self._killed_before = _out_of_memory_kills()
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
        )

    def output(self) -> Iterator[tuple[str, bytes]]:
        assert self._process.stdout
        with self._process.stdout as pipe:
            while chunk := os.read(pipe.fileno(), _READ_BYTES):
                yield "stdout", chunk

    def signal(self, number: int) -> None:
        """SIGKILL ends the whole group, as the end of a container does; any other reaches its first process alone."""
        if number == signal.SIGKILL:
            self._kill_group()
        else:
            self._process.send_signal(number)

    def wait(self, timeout: float | None = None) -> Exit | None:
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        self._kill_group()  # children that outlive the program would outlive the container's first process nowhere
        if code >= 0:
            return Exit(code)
        return Exit(STOP_EXIT_CODE - code, code == -signal.SIGKILL and _out_of_memory_kills() > self._killed_before)

    def close(self) -> None:
        self._kill_group()
        self._process.wait()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _out_of_memory_kills() -> int:
    """How many processes this machine has killed for lack of memory since it started; 0 where it doesn't say."""
    with suppress(OSError):
        for line in _VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
