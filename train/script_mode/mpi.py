"""A script in many processes, on one or several hosts, by MPI: where the image has its layer (`build.sh --mpi`).

The toolkit of the first host starts `mpirun`, which reaches the others by ssh; they wait until it has ended.
Source of command and environment: sagemaker_training/mpi.py of sagemaker-training 5.1.4.
"""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil
from sagemaker_training import environment as toolkit
from sagemaker_training import mpi, runner

from train.errors import StopRequested, TrainingError
from train.script_mode.distribution import MPI, read_hosts
from train.script_mode.program import Program

_LAYER = "TRAIN_MPI"  # the variable that an image with MPI has
_SSHD = ("/usr/sbin/sshd", "-D")
_DAEMON = "orted"
_OWN = (_DAEMON, "ssh")  # with which it reaches the other hosts
_START_SECONDS = 20 * 60.0  # for mpirun to reach a host, as in the toolkit
_LOOK_SECONDS = 0.5  # between two looks at processes


def make_program(environment: toolkit.Environment, stop: threading.Event) -> Program:
    """What this host runs. TrainingError if that is MPI, and can't be."""
    wanted = environment.additional_framework_parameters.get(MPI)
    if not wanted or environment.current_host not in read_hosts(environment):
        return Program(environment, stop)
    if not os.environ.get(_LAYER):
        raise TrainingError(
            f"The distribution option {MPI} needs MPI in the image. Received: an image without. Build one with "
            "container/build.sh --mpi."
        )
    if os.geteuid():
        raise TrainingError(
            f"The distribution option {MPI} needs root in the container, for sshd. Received: user {os.geteuid()}."
        )
    return (_Mpirun if environment.is_master else _Worker)(environment, stop)


class _Mpirun(Program):
    """On the first host: mpirun, which ends when all of the script's processes have."""

    def __init__(self, environment: toolkit.Environment, stop: threading.Event) -> None:
        super().__init__(environment, stop)
        self._mpirun = runner.get(runner.MPIRunnerType, environment.user_entry_point, self._args, self._env_vars)

    def run(self, wait: bool = True, capture_error: bool = True) -> None:
        """As any program, once sshd of all hosts answers: an hour at most."""
        self._mpirun._setup()
        super().run(wait, capture_error)

    def _command(self) -> list[str]:
        command: list[str] = self._mpirun._create_command()
        return command

    def _send_stop(self, process: subprocess.Popen[bytes]) -> None:
        """To the script's processes: mpirun itself would kill them all a second later."""
        _terminate_children(lambda: [psutil.Process(process.pid)] if process.poll() is None else [])


class _Worker(Program):
    """On another host: sshd, until mpirun's part here has ended. Whether that was well is told by the first host."""

    def run(self, wait: bool = True, capture_error: bool = True) -> None:  # noqa: ARG002 - the toolkit's signature
        """See `await_mpirun`."""
        mpi._write_env_vars_to_file()  # which sshd gives to what it starts
        with self._starting:
            self._process = subprocess.Popen(_SSHD)
        await_mpirun(self._stop)

    def _send_stop(self, _: subprocess.Popen[bytes]) -> None:
        _terminate_children(_find_daemons)


def await_mpirun(stop: threading.Event) -> None:
    """Until mpirun has come to this host, in 20 minutes at most, and gone. StopRequested if a stop comes first.

    Its daemon begins by going into the background: the process that is seen first ends at once, its child goes on.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not _find_daemons():
        if stop.wait(_LOOK_SECONDS):
            raise StopRequested
        if time.monotonic() > deadline:
            raise TrainingError(f"mpirun of the first host has not reached this one within {_START_SECONDS:g} s.")
    while daemons := _find_daemons():
        psutil.wait_procs(daemons)
        time.sleep(_LOOK_SECONDS)  # looking takes time, in which one may take the other's place


def _find_daemons() -> list[psutil.Process]:
    """mpirun's, which start the script's processes on this host."""
    return [process for process in psutil.process_iter(["name"]) if process.info["name"] == _DAEMON]


def _terminate_children(find_parents: Callable[[], Sequence[psutil.Process]]) -> None:
    """Of processes that start others: once they have. What is mpirun's own is left."""
    while parents := find_parents():
        with suppress(psutil.NoSuchProcess):  # one has ended meanwhile: look again
            children = [child for parent in parents for child in parent.children() if child.name() not in _OWN]
            for child in children:
                child.terminate()
            if children:
                return
        time.sleep(_LOOK_SECONDS)
