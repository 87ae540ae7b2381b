"""Jobs of the training program: the /opt/ml tree that the platform makes, and the toolkit's command on it."""

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.support.shards import CLASSES, SHAPE

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
            "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "2",
        }  # fmt: skip
        self.process = subprocess.Popen(
            command, env=inherited | known | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
        self.process.stdout.close()

    def wait(self, seconds: float = 120) -> int:
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code

    def until(self, text: str, seconds: float = 60) -> None:
        """Wait for a line with `text`."""
        deadline = time.monotonic() + seconds
        while not any(text in line for line in self.lines):
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


def job_folder(root: Path, mode: str, hyperparameters: dict[str, str], channels: Sequence[str] = ()) -> Path:
    """An /opt/ml tree as the platform lays it out, without data."""
    config = root / "input/config"
    config.mkdir(parents=True)
    (root / "input/data").mkdir()
    names = channels or ("train", "validation")
    inputs = {name: {"TrainingInputMode": mode, "RecordWrapperType": "None"} for name in names}
    known = {"classes": ",".join(CLASSES), "image-shape": ",".join(map(str, SHAPE)), "batch-size": "32"}
    known["model"] = "tutorial"  # learns from a few pictures
    (config / "inputdataconfig.json").write_text(json.dumps(inputs))
    (config / "hyperparameters.json").write_text(json.dumps(known | hyperparameters))
    (config / "resourceconfig.json").write_text('{"current_host":"algo-1","hosts":["algo-1"]}')
    return root


def read_weights(root: Path) -> dict[str, np.ndarray]:
    """The variables in the newest checkpoint."""
    from train.trainer.checkpoint import CheckpointManager  # here, since it imports TensorFlow

    return CheckpointManager(root / "checkpoints").newest()[2]


def without_speed(history: list[dict[str, str]]) -> list[dict[str, str]]:
    timed = ("images_per_second", "input_wait")
    return [{name: value for name, value in row.items() if name not in timed} for row in history]
