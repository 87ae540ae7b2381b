"""Runs a job's program as a process, without a container, where there is no engine: the toolkit's `train` command, or
what a processing job names as its entry point.

The process sees the caller's environment, this checkout and, by SAGEMAKER_BASE_DIR, its own /opt/ml, which it also gets
in the place of /opt/ml in its arguments and environment. There is no isolation: no limits, no network of its own, and
all of this user's files.
"""

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path, PurePosixPath
from typing import TextIO

from local_test.errors import RunnerError
from local_test.request.job_kind import TRAINING
from local_test.runners.base import OPT_ML, STOP_EXIT_CODE, ContainerSpec, Exit, Runner
from local_test.runners.ownership import hold, is_orphan

_READ_BYTES = 1 << 16
_PIPE_BYTES = 2 << 20  # two pipes; Linux lets an ordinary user make one as large as 1 MiB
_LOOK_SECONDS = 0.5  # how soon the end is seen where another process keeps the pipes open
_OPT_ML = re.compile(rf"(?<![\w./-]){OPT_ML}(?![\w.-])")  # where a path begins and a name ends
_OURS = "LOCAL_TEST_JOB"  # a variable of our own jobs alone: their folder
_VMSTAT = Path("/proc/vmstat")
# the ENV of the image; see container/Dockerfile
PROGRAM = {
    "PYTHONUNBUFFERED": "1",
    "SAGEMAKER_TRAINING_MODULE": "train.entrypoint:main",
    "TF_CPP_MIN_LOG_LEVEL": "1",
}


def python_path(checkout: Path) -> str:
    """What the image has in /opt/program."""
    return f"{checkout}{os.pathsep}{checkout / 'container/site'}"


class ProcessRunner(Runner):
    """`command` is what the image's `train` would be; by default the toolkit's script beside the running Python."""

    def __init__(self, environ: Mapping[str, str], checkout: Path | None, command: Sequence[str] | None = None) -> None:
        self._environ, self._checkout = environ, checkout
        self._command = tuple(command) if command else (str(Path(sys.executable).with_name("train")),)

    def check(self, spec: ContainerSpec) -> None:
        if spec.kind is TRAINING:
            self._check_toolkit(spec)
        else:
            self._find_program(spec)
        if len(spec.hosts) > 1:
            raise RunnerError(
                f"{spec.kind.resources}.InstanceCount above 1 needs a container for each host, whose names resolve "
                f"there. Received: {len(spec.hosts)}. Use --runner docker"
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

    def _check_toolkit(self, spec: ContainerSpec) -> None:
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

    def _find_program(self, spec: ContainerSpec) -> str:
        """The first word of a processing job's entry point. RunnerError if this machine has no such program."""
        if not spec.entrypoint:
            raise RunnerError(
                "AppSpecification.ContainerEntrypoint is missing, and without a container there is no image that "
                f"names another program. Received: {spec.image}. Add one, or use --runner docker"
            )
        name = spec.entrypoint[0]
        if PurePosixPath(name).is_relative_to(OPT_ML):  # an input of the job's
            return name
        program = shutil.which(name, path=self._path())
        if not program:
            raise RunnerError(
                "AppSpecification.ContainerEntrypoint names a program that this machine does not have. "
                f"Received: {name}. Install it, or use --runner docker"
            )
        return program

    def _path(self) -> str:
        """PATH of a processing job: the image's python3 has this project's packages, as the one that runs here has."""
        return os.pathsep.join((str(Path(sys.executable).parent), self._environ.get("PATH", os.defpath)))

    def unmet_limits(self, spec: ContainerSpec) -> Sequence[str]:  # noqa: ARG002 - a Runner
        """A process has the machine as it is."""
        return ()

    def job_network(self, spec: ContainerSpec) -> AbstractContextManager[str]:  # noqa: ARG002 - a Runner
        """One host needs no network of its own."""
        return nullcontext("")

    def start(self, spec: ContainerSpec) -> "Process":
        environment = {
            **self._environ,
            **({**PROGRAM, "PYTHONPATH": python_path(self._checkout)} if self._checkout else {}),
            "SAGEMAKER_BASE_DIR": str(spec.base),
            "SM_STUDIO_LOCAL_MODE": "true",  # the toolkit's own way not to wait for host names, of which there are none
            **spec.environment,
            _OURS: str(spec.base),
        }
        command = self._command
        if spec.kind is not TRAINING:
            words = [self._find_program(spec), *(spec.entrypoint or ())[1:], *spec.arguments]
            command = tuple(_here(word, spec.base) for word in words)
            environment["PATH"] = self._path()
            environment |= {name: _here(value, spec.base) for name, value in spec.environment.items()}
        lock = hold(spec.base)
        try:
            return Process(command, environment, spec.base, lock)
        except OSError as error:
            lock.close()
            raise RunnerError(f"{command[0]} can't be started: {error.strerror}") from None

    def remove_orphans(self) -> None:
        """By the variable that each of them has, and no program that a person starts on a job's folder; where there is
        no /proc, nothing is found."""
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):  # ended meanwhile, or not ours
                group, base = os.getpgid(int(environ.parent.name)), _base(environ.read_bytes())
                if base and group != os.getpgid(0) and is_orphan(base):
                    os.killpg(group, signal.SIGKILL)

    def advise(self, failure: str) -> str | None:
        if not _OPT_ML.search(failure):
            return None
        return (
            "a process has its folders elsewhere than in /opt/ml, which the program names: take SM_MODEL_DIR, "
            "SM_CHANNEL_TRAIN and so on, or use --runner docker"
        )


def _here(text: str, base: Path) -> str:
    """The text with the paths below /opt/ml as they are here: --input=/opt/ml/processing/input, a shell's command."""
    return _OPT_ML.sub(lambda _: str(base), text)


def _base(environ: bytes) -> Path | None:
    """Of the job that /proc/<pid>/environ is of."""
    for variable in environ.split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == _OURS.encode():
            return Path(os.fsdecode(value))
    return None


class Process:
    """A process group of its own. Standard output and error are two streams, as a container's: a line of one never ends
    in the middle of the other's."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, lock: TextIO) -> None:
        self._killed_before, self._lock = _out_of_memory_kills(), lock
        self._ended = threading.Event()
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
        )

    def output(self) -> Iterator[tuple[str, bytes]]:
        """What a process that has left the group writes after the end is not waited for."""
        process = self._process
        assert process.stdout and process.stderr
        with process.stdout, process.stderr, selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, "stdout")
            selector.register(process.stderr, selectors.EVENT_READ, "stderr")
            while selector.get_map() and not self._ended.is_set():
                yield from _read_ready(selector, _LOOK_SECONDS)
            left = _PIPE_BYTES  # all that can be in a pipe which nobody of the group writes any more
            while selector.get_map() and left > 0:
                found = list(_read_ready(selector, 0))
                yield from found
                left = left - sum(len(chunk) for _, chunk in found) if found else 0

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
        self._ended.set()
        if code >= 0:
            return Exit(code)
        return Exit(STOP_EXIT_CODE - code, code == -signal.SIGKILL and _out_of_memory_kills() > self._killed_before)

    def close(self) -> None:
        self._kill_group()
        self._process.wait()
        self._lock.close()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _read_ready(selector: selectors.BaseSelector, seconds: float) -> Iterator[tuple[str, bytes]]:
    """What the pipes hold, waiting for it so long; a pipe at its end leaves the selector."""
    for key, _ in selector.select(seconds):
        chunk = os.read(key.fd, _READ_BYTES)
        if chunk:
            yield key.data, chunk
        else:
            selector.unregister(key.fileobj)


def _out_of_memory_kills() -> int:
    """How many processes this machine has killed for lack of memory since it started; 0 where it doesn't say."""
    with suppress(OSError):
        for line in _VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
