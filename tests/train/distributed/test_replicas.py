"""Several devices of one host: two logical CPU devices, in a process of their own, since TensorFlow makes them once."""

import json
import math
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

TRAIN_ON_TWO = """
    import json, sys, threading
    import keras, numpy as np, tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

    from tests.support.shards import CLASSES, SHAPE, examples
    from tests.support.training import make_batches, make_trainer
    from train.errors import TrainingError
    from train.input_pipeline.pipeline import Consumer, PrefetchedBatches
    from train.runtime.dataset_info import ImageDatasetInfo
    from train.runtime.hyperparameters import Hyperparameters
    from train.trainer.job import _choose_jit, _choose_steps
    from train.trainer.checkpoint import to_arrays, named_variables
    from train.trainer.progress import Progress
    from train.distributed.rendezvous import SingleHost
    from train.distributed.replicas import Replicas

    # made once: TensorFlow numbers the exchanges of each strategy from the same start
    single, double = (Replicas(SingleHost(threading.Event()), devices) for devices in (["CPU:0"], ["CPU:0", "CPU:1"]))

    def train(replicas, penalty=0, small=0, **changes):
        size_schedule = (lambda progress: (8, 8) if progress.step < small else (18, 18)) if small else None
        trainer = make_trainer(replicas=replicas, size_schedule=size_schedule, **changes)
        if penalty:
            trainer.model.get_layer("conv1").kernel.regularizer = keras.regularizers.L2(penalty)
        progress = Progress()
        trainer.train_epoch(make_batches(96) + make_batches(1) + make_batches(5), progress)
        return trainer, progress

    recipes = {
        "tutorial": {"optimizer": "sgd"},
        "penalised": {"optimizer": "sgd", "penalty": 10},
        "fast": {"model": "fast", "augment": False, "weight_average": 0.9, "learning_rate": 0.01},
        "sized": {"model": "fast", "augment": False, "learning_rate": 0.01, "small": 2},
        "random": {"model": "lab", "augment": True},  # numbers of each device's own
    }
    results = {}

    def refused(choose, *inputs):
        try:
            return choose(*inputs)
        except TrainingError as error:
            return str(error)

    if sys.argv[1] == "choices":
        images, labels = examples(80, 0)
        device = Replicas(SingleHost(threading.Event()), ["CPU:1"]).device
        made = ((images[at : at + 8].reshape(8, -1), labels[at : at + 8].astype(np.int64)) for at in range(0, 80, 8))
        batches = list(PrefetchedBatches(lambda _: made, ImageDatasetInfo(SHAPE, CLASSES), 8, Consumer(2, device)))
        results = {
            "steps": [refused(_choose_steps, Hyperparameters(steps_per_execution=n), double, 3072) for n in (0, 1, 8)],
            "jit": [refused(_choose_jit, Hyperparameters(jit=jit), double) for jit in ("auto", "off", "on")],
            "devices": sorted({tensor.device[-5:] for batch in batches for tensor in batch}),
            "equal": bool((np.concatenate([images for images, _ in batches]) == images).all()),
            "no device": double.device,
        }
        print(json.dumps(results))
        sys.exit()
    for name in sys.argv[1:]:
        changes = recipes[name]
        (one, counted), (two, shared) = train(single, **changes), train(double, **changes)
        ours, theirs = (to_arrays(named_variables(trainer.model, trainer.optimizer)) for trainer in (one, two))
        results[name] = {
            "devices": double.count,
            "counts": [[c.step, c.examples_seen, c.correct] for c in (counted, shared)],
            "losses": [c.loss_sum for c in (counted, shared)],
            "difference": max(float(np.abs(ours[key] - theirs[key]).max()) for key in ours if ours[key].size),
        }
    print(json.dumps(results))
"""


def train_on_two(*recipes: str) -> dict[str, Any]:
    command = [sys.executable, "-c", textwrap.dedent(TRAIN_ON_TWO), *recipes]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "recipes", [("tutorial", "penalised"), pytest.param(("fast", "sized"), marks=pytest.mark.slow)], ids="-".join
)
def test_two_devices_train_as_one(recipes):
    results = train_on_two(*recipes)
    assert results.keys() == set(recipes)
    for result in results.values():
        assert result["devices"] == 2
        assert result["counts"][0][:2] == result["counts"][1][:2] == [5, 102]
        assert result["losses"][1] == pytest.approx(result["losses"][0], rel=1e-3)
        assert result["difference"] < 5e-3


@pytest.mark.slow
def test_two_devices_draw_random_numbers():
    losses = train_on_two("random")["random"]["losses"]
    assert all(map(math.isfinite, losses))


def test_several_devices_make_one_step_a_call_without_xla_and_batches_are_sent_ahead_to_a_single_one():
    found = train_on_two("choices")
    several = "Several devices make one step a call. Received: steps-per-execution 8, 2 devices. Expected: 0 or 1."
    assert found["steps"] == [1, 1, several]
    refusal = (
        "XLA does not compile the steps of several devices. Received: jit on, 2 devices. Expected: jit auto or off."
    )
    assert found["jit"] == ["off", "off", refusal]
    assert (found["devices"], found["equal"], found["no device"]) == (["CPU:1"], True, None)
