"""--runner auto, docker or process → a runner."""

import os
from collections.abc import Callable, Collection
from pathlib import Path

from local_test.errors import BadRequest, RunnerError
from local_test.runners.base import Runner
from local_test.runners.docker import DockerRunner
from local_test.runners.process import ProcessRunner

_ROOT = Path(__file__).resolve().parents[2]
# this project's, whose training program a process runs; None where only the platform is installed
CHECKOUT = _ROOT if (_ROOT / "train/entrypoint.py").exists() else None
CHOICES = ("auto", "docker", "process")


def choose(
    name: str,
    memory: str | None,
    shm_size: str | None,
    gpus: Collection[int] | None,
    note: Callable[[str], None],
) -> Runner:
    """`auto` takes a process where no engine answers, and says so in one line."""
    if name != "process":
        try:
            return DockerRunner(memory, shm_size, gpus)
        except RunnerError as error:
            if name == "docker":
                raise
            note(f"{error}. Running the training program as a process, without the image")
    if memory or shm_size or gpus is not None:
        raise BadRequest(
            "--memory, --shm-size and --gpus limit a container; a process has no limits. Use --runner docker"
        )
    return ProcessRunner(os.environ, CHECKOUT)
