"""A job whose disk is full: it says so, keeps the checkpoint before, and goes on from there once there is room."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.custom_models import MODEL, custom_model_folder
from tests.support.shards import channel_bytes
from tests.support.small_disk import fill
from tests.support.train_jobs import read_weights, without_speed

pytestmark = pytest.mark.slow


def test_a_checkpoint_that_has_no_room_loses_the_epoch_alone(
    tmp_path: Path,
    small_disk: Path,
    shards: Path,
    feed,
    start,
) -> None:
    data = {channel: channel_bytes(shards, channel) for channel in ("train", "validation")}
    root = custom_model_folder(tmp_path / "full", MODEL)
    (root / "checkpoints").symlink_to(small_disk)
    for number in range(2):
        os.mkfifo(root / f"input/data/train_{number}")
    feed(root / "input/data", "validation", data["validation"])
    job = start(root)
    (root / "input/data/train_0").write_bytes(data["train"])
    job.until("epoch=1 ")
    filler = fill(small_disk)
    (root / "input/data/train_1").write_bytes(data["train"])
    assert job.wait() == 1, job.lines
    assert job.failure.startswith("The checkpoint can't be written to ")
    assert job.failure.endswith(": No space left on device. The one before it is untouched.")
    assert [path.name for path in small_disk.glob("checkpoint-*")] == ["checkpoint-00001-0000000.npz"]
    filler.unlink()

    again, whole = custom_model_folder(tmp_path / "again", MODEL), custom_model_folder(tmp_path / "whole", MODEL)
    shutil.copytree(small_disk, again / "checkpoints")
    for folder in (again, whole):
        for channel, content in data.items():
            feed(folder / "input/data", channel, content)
    jobs = [start(folder) for folder in (again, whole)]
    assert [job.wait() for job in jobs] == [0, 0], jobs[0].lines
    assert [line.split()[0] for line in jobs[0].lines if line.startswith("epoch=")] == ["epoch=2"]
    assert without_speed(jobs[0].history) == without_speed(jobs[1].history)
    for name, array in read_weights(whole).items():
        np.testing.assert_array_equal(array, read_weights(again)[name], err_msg=name)
