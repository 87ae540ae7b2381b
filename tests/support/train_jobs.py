"""Jobs of the training program: the toolkit's own `train` command in a process."""

import csv
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from local_test.runners.process import python_path

ROOT = Path(__file__).parents[2]


class TrainJob:
    """The toolkit's `train` command in a process. Its lines are collected as they come."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.root = root
        self.lines: list[str] = []
        command = [str(Path(sys.executable).with_name("train"))]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SAGEMAKER_", "AWS_"))}
        known = {
            "SAGEMAKER_BASE_DIR": str(root), "SAGEMAKER_TRAINING_MODULE": "train.entrypoint:main",
            "PYTHONPATH": python_path(ROOT), "PYTHONUNBUFFERED": "1", "SM_STUDIO_LOCAL_MODE": "true",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }  # fmt: skip
        self.process = subprocess.Popen(
            command, env=inherited | known | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
        self.process.stdout.close()

    def wait(self, seconds: float = 250) -> int:
        code = self.process.wait(seconds)
        self._reader.join(100)
        return code

    def until(self, text: str) -> None:
        """Wait for a line with `text`."""
        self._until(lambda: any(text in line for line in self.lines))

    def until_there(self, path: str) -> None:
        """Wait for a file below the root."""
        self._until((self.root / path).exists)

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 200
        while not condition():
            assert self.process.poll() is None, self.lines
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def failure(self) -> str | None:
        path = self.root / "output/failure"
        return path.read_text() if path.exists() else None

    @property
    def history(self) -> list[dict[str, str]]:
        return list(csv.DictReader((self.root / "output/data/history.csv").read_text().splitlines()))


def read_weights(root: Path) -> dict[str, np.ndarray]:
    """The variables in the newest checkpoint."""
    from train.trainer.checkpoint import CheckpointManager  # here, since it imports TensorFlow

    newest = CheckpointManager(root / "checkpoints").newest()
    assert newest
    return newest[2]


def without_speed(history: list[dict[str, str]]) -> list[dict[str, str]]:
    timed = ("images_per_second", "input_wait")
    return [{name: value for name, value in row.items() if name not in timed} for row in history]
