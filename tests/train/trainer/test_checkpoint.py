import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

from train.errors import TrainingError
from train.trainer.checkpoint import CheckpointManager, check_classes, check_order, named_variables, restore, to_arrays
from train.trainer.progress import Progress


def small_model(units: int = 3) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    inputs = keras.Input((4,))
    dropped = keras.layers.Dropout(0.5, name="drop")(keras.layers.Dense(units, name="dense")(inputs))
    model = keras.Model(inputs, keras.layers.BatchNormalization(name="norm")(dropped))
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    return model, optimizer


def test_everything_comes_back(tmp_path):
    variables = named_variables(*small_model())
    for index, variable in enumerate(variables.values()):
        variable.assign(np.full(variable.shape, index + 1))
    progress = Progress(2, 5, 99, 1.5, 3, 8, 0.5, [{"epoch": 1, "loss": 0.25}], {"seed": 1}, ["a", "b"])
    saved = to_arrays(variables)
    path = CheckpointManager(tmp_path).save(progress, saved)
    assert path.name == "checkpoint-00002-0000005.npz"

    found, read, arrays = CheckpointManager(tmp_path).newest()
    assert (found, read) == (path, progress)
    others = named_variables(*small_model())
    restore(others, arrays, path)
    assert others.keys() == variables.keys()
    for name, array in to_arrays(others).items():
        np.testing.assert_array_equal(array, saved[name])


def test_a_checkpoint_of_an_earlier_version_is_read(tmp_path):
    """Its counters had other names."""
    text = '{"epoch": 1, "step_in_epoch": 2, "step": 12, "correct": 3, "seen": 8, "seconds": 1.5, "waited": 0.5}'
    np.savez(tmp_path / "checkpoint-00001-0000002.npz", progress=np.array(text), x=np.zeros(2))
    _, progress, arrays = CheckpointManager(tmp_path).newest()
    assert progress == Progress(1, 2, 12, correct=3, examples_seen=8, seconds=1.5, input_wait_seconds=0.5)
    assert list(arrays) == ["x"]


def test_random_state_statistics_and_momenta_are_part_of_it():
    names = " ".join(named_variables(*small_model()))
    for part in (
        "model/dense/kernel",
        "moving_mean",
        "random/0",
        "optimizer/iteration",
        "optimizer/dense_kernel_momentum",
    ):
        assert part in names


def test_the_newest_two_are_kept(tmp_path):
    checkpoints = CheckpointManager(tmp_path)
    for epoch, step in ((0, 7), (1, 0), (1, 12), (2, 0)):
        checkpoints.save(Progress(epoch, step), {})
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "checkpoint-00001-0000012.npz", "checkpoint-00002-0000000.npz",
    ]  # fmt: skip


def test_no_folder_and_an_empty_folder_mean_a_new_start(tmp_path):
    assert CheckpointManager(tmp_path / "none").newest() is None
    assert CheckpointManager(tmp_path).newest() is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "version", "method"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage, caplog):
    checkpoints = CheckpointManager(tmp_path)
    checkpoints.save(Progress(1), {"x": np.arange(1000.0)})
    path = checkpoints.save(Progress(2), {"x": np.arange(1000.0)})
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    entry = content.index(b"PK\x01\x02")  # of the zip's directory
    if damage in ("version", "method"):
        content[entry + {"version": 6, "method": 10}[damage]] = 99
    path.write_bytes(content[:-100] if damage == "cut" else b"" if damage == "empty" else content)
    assert checkpoints.newest()[1].epoch == 1
    assert f"{path} is damaged, the one before it is looked for" in caplog.text


def test_nothing_but_damaged_ones_is_an_error_not_a_new_start(tmp_path):
    (tmp_path / "checkpoint-00001-0000000.npz").write_bytes(b"PK not a zip")
    with pytest.raises(TrainingError, match=r"No checkpoint can be read\. Received: checkpoint-00001-0000000\.npz"):
        CheckpointManager(tmp_path).newest()


def test_another_model_is_refused_by_name(tmp_path):
    arrays = to_arrays(named_variables(*small_model(3)))
    with pytest.raises(TrainingError, match=r"Received: model/dense/bias \(3,\)\. Expected: \(5,\)"):
        restore(named_variables(*small_model(5)), arrays, tmp_path)
    variables = named_variables(*small_model(3))
    before = to_arrays(variables)
    arrays["model/extra"] = np.zeros(2)
    with pytest.raises(TrainingError, match=r"Received: model/extra \(2,\)\. Expected: nothing of that name"):
        restore(variables, arrays, tmp_path)
    for name, array in to_arrays(variables).items():
        np.testing.assert_array_equal(array, before[name])


def test_other_classes_are_refused_though_as_many(tmp_path):
    check_classes(["cat", "dog"], ("cat", "dog"), tmp_path)
    check_classes([], ("cat", "dog"), tmp_path)  # of an earlier version
    with pytest.raises(
        TrainingError, match=r"is of other classes\. Received: fish for label 1\. Expected: dog for label 1\."
    ):
        check_classes(["cat", "dog"], ("cat", "fish"), tmp_path)
    with pytest.raises(TrainingError, match=r"Received: 3 classes\. Expected: 2 classes\."):
        check_classes(["cat", "dog"], ("cat", "dog", "fish"), tmp_path)


def test_an_epoch_goes_on_only_in_its_own_order(tmp_path):
    check_order({"seed": 1, "batch-size": 64}, {"seed": 1, "batch-size": 64}, tmp_path)
    with pytest.raises(TrainingError, match=r"another batch-size\. Received: 32\. Expected: 64"):
        check_order({"seed": 1, "batch-size": 64}, {"seed": 1, "batch-size": 32}, tmp_path)


def test_a_full_disk_leaves_the_one_before(small_disk):
    checkpoints = CheckpointManager(small_disk)
    first = checkpoints.save(Progress(1), {"x": np.zeros(50_000)})
    with pytest.raises(TrainingError, match=r"can't be written to .*00002.*: No space left on device"):
        checkpoints.save(Progress(2), {"x": np.zeros(200_000)})
    assert list(small_disk.iterdir()) == [first]
    assert checkpoints.newest()[1].epoch == 1


WRITER = """
    import sys, numpy as np
    from pathlib import Path
    from train.trainer.checkpoint import CheckpointManager
    from train.trainer.progress import Progress
    checkpoints = CheckpointManager(Path(sys.argv[1]))
    for epoch in range(1, 10_000):
        checkpoints.save(Progress(epoch), {"x": np.full(400_000, epoch)})
        print(epoch, flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_a_whole_one_is_left(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    for kills in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)], stdout=subprocess.PIPE, env=environment
        )
        done = 0
        for _ in range(3 + 4 * kills):
            done = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        _, progress, arrays = CheckpointManager(tmp_path).newest()
        assert progress.epoch >= done
        assert (arrays["x"] == progress.epoch).all()
