"""What a host of an MPI job waits for; whole jobs are in tests/test_several_hosts.py."""

import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.programs import write_executable
from train.errors import StopRequested
from train.script_mode.mpi import await_mpirun

# as Open MPI's daemon does: into the background, where a child goes on
DAEMON = """#!/bin/sh
[ "$1" = child ] && { read line <gate; echo "$line" >ended; exit; }
"$0" child &
sleep 0.2
"""


def test_a_daemon_that_goes_into_the_background_is_waited_for(tmp_path: Path) -> None:
    write_executable(tmp_path / "orted", DAEMON)
    subprocess.run(["mkfifo", str(tmp_path / "gate")], check=True)
    waiting = threading.Thread(target=await_mpirun, args=(threading.Event(),), daemon=True)
    waiting.start()
    subprocess.run([str(tmp_path / "orted")], cwd=tmp_path, check=True, timeout=60)
    waiting.join(5)  # the first process has ended
    assert waiting.is_alive()
    (tmp_path / "gate").write_text("all is done\n")
    waiting.join(60)
    assert not waiting.is_alive()
    assert (tmp_path / "ended").read_text() == "all is done\n"


def test_a_stop_ends_the_wait_for_mpirun() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StopRequested):
        await_mpirun(stop)
