"""XLA's programs beside the checkpoints: a job that goes on compiles nothing anew."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.support.opt_ml import job_folder
from tests.support.train_jobs import read_weights
from train.trainer.program_cache import ProgramCache


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made, in place of /tmp."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_clustering_debug")
    return folder


def used() -> Path:
    """The folder that TensorFlow is told to use."""
    first, flag = os.environ["TF_XLA_FLAGS"].rsplit(" ", 1)
    assert first.startswith("--tf_xla_clustering_debug")
    return Path(flag.removeprefix("--tf_xla_persistent_cache_directory="))


def test_whole_programs_of_this_device_come_back_and_all_others_are_removed(tmp_path, temporary, caplog):
    cache = ProgramCache(tmp_path)
    assert used().parent == temporary
    cache.save()
    assert not (tmp_path / "xla").exists()  # nothing was compiled
    for name in ("one-1.pb", "two.pb"):
        (used() / name).write_bytes(name.encode() * 100)
    cache.save()
    kept = sorted((tmp_path / "xla").iterdir())
    (used() / "one-1.pb").write_bytes(b"")
    cache.save()
    assert sorted((tmp_path / "xla").iterdir()) == kept  # each is kept once

    kept[0].write_bytes(kept[0].read_bytes()[:50])  # damaged on its way
    shutil.copy(kept[1], tmp_path / "xla" / f"0{kept[1].name}")  # of another device
    (tmp_path / "xla/.partial-x").touch()
    with caplog.at_level("INFO"):
        ProgramCache(tmp_path)
    back = [path.name for path in used().iterdir()]
    assert back == [kept[1].name.split("-", 2)[2]]
    assert (used() / back[0]).read_bytes() == back[0].encode() * 100
    assert list((tmp_path / "xla").iterdir()) == [kept[1]]
    assert caplog.messages[0].startswith("Programs that XLA compiled before: 1. ")


def test_a_folder_that_takes_none_costs_a_line_and_no_job(small_disk, temporary, caplog):
    cache = ProgramCache(small_disk)
    (used() / "large.pb").write_bytes(bytes(2 << 20))
    with caplog.at_level("INFO"):
        cache.save()
    assert caplog.messages == ["What XLA compiled is not kept: [Errno 28] No space left on device"]
    assert not list((small_disk / "xla").iterdir())


@pytest.mark.slow
def test_a_job_that_goes_on_loads_what_it_would_compile_again(tmp_path, shards, start):
    def train(name: str, checkpoints: Path | None, **changes: str) -> tuple[Path, int, set[str]]:
        fixed = {
            "jit": "on",
            "jit-cache": "true",
            "steps-per-execution": "2",
            "augment": "true",
            "shuffle-buffer": "50",
        }
        root = job_folder(tmp_path / name, "File", fixed | changes)
        for channel in ("train", "validation"):
            (root / "input/data" / channel).symlink_to(shards / channel)
        if checkpoints:
            shutil.copytree(checkpoints, root / "checkpoints")
        job = start(root, TF_CPP_MIN_LOG_LEVEL="0", TF_CPP_VMODULE="device_executable_persistor=1")
        assert job.wait() == 0, job.lines
        loaded = sum("Loading cached entry" in line for line in job.lines)
        return root, loaded, {path.name for path in (root / "checkpoints/xla").iterdir()}

    first, loaded, kept = train("first", None, epochs="1")
    assert (loaded, len(kept)) == (0, 2)  # training and evaluation
    second, loaded, still = train("second", first / "checkpoints", epochs="2")
    assert (loaded, still) == (2, kept), "it has restored variables before, and takes the same programs"
    whole, _, _ = train("whole", None, epochs="2")
    for name, array in read_weights(whole).items():
        np.testing.assert_array_equal(read_weights(second)[name], array, err_msg=name)
