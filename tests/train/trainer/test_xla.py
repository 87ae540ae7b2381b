"""XLA on a processor, where it can be tested: the same weights within rounding, and no compiling twice."""

import logging
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.shards import CLASSES, SHAPE
from tests.support.training import make_batches, make_trainer
from train.errors import TrainingError
from train.modeling.augmentation import make_augmentation
from train.runtime.hyperparameters import Hyperparameters
from train.trainer.checkpoint import named_variables, restore, to_arrays
from train.trainer.progress import Progress
from train.trainer.train_step import TrainStep
from train.trainer.trainer import Trainer

RECIPE = {"optimizer": "sgd", "learning_rate": 0.01, "augment": True, "cutout": 4}


def arrays(trainer: Trainer) -> dict[str, np.ndarray]:
    return to_arrays(named_variables(trainer.model, trainer.optimizer))


@pytest.mark.slow
def test_it_trains_the_same_but_for_rounding() -> None:
    """Augmentation draws the same numbers, and the smaller last batch counts once."""
    plain, compiled = make_trainer(**RECIPE), make_trainer(jit="on", steps_per_execution=2, **RECIPE)
    counts = Progress(), Progress()
    for trainer, progress in zip((plain, compiled), counts, strict=True):
        trainer.train_epoch(make_batches(100), progress)
    assert counts[0].examples_seen == counts[1].examples_seen == 100
    assert counts[0].loss_sum == pytest.approx(counts[1].loss_sum, rel=1e-5)
    for name, array in arrays(plain).items():
        np.testing.assert_allclose(arrays(compiled)[name], array, rtol=1e-3, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(compiled.evaluate(make_batches(100)), plain.evaluate(make_batches(100)), rtol=1e-3)


class Unsupported(keras.layers.Layer):
    """XLA has no strings."""

    def call(self, inputs: Any) -> Any:
        return inputs + 0 * tf.cast(tf.strings.length(tf.strings.as_string(inputs)), inputs.dtype)


def small(jit: str, *layers: keras.layers.Layer, steps: int = 1) -> Trainer:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE, dtype="uint8")
    features = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    for layer in layers:
        features = layer(features)
    model = keras.Model(inputs, keras.layers.Dense(len(CLASSES), name="logits")(features))
    augment = make_augmentation(Hyperparameters(augment=True, cutout=4))
    step = TrainStep(model, keras.optimizers.Adam(0.01), augment=augment, batch_size=32, jit=jit, steps=steps)
    return Trainer(step)


@pytest.mark.parametrize("steps", [1, 4])
def test_it_is_resumed_exactly(steps: int) -> None:
    """Several steps a call are one program, however many of them it makes."""
    layers = [keras.layers.Dropout(0.5, seed=1, name="drop") for _ in range(3)]
    whole, first, second = (small("on", layer, steps=steps) for layer in layers)
    progress, partial = Progress(), Progress()
    whole.train_epoch(make_batches(112), progress)
    first.train_epoch(make_batches(112)[:2], partial)
    restore(named_variables(second.model, second.optimizer), arrays(first), "x")
    second.train_epoch(make_batches(112)[2:], partial)
    assert (partial.loss_sum, partial.correct) == (progress.loss_sum, progress.correct)
    for name, array in arrays(whole).items():
        np.testing.assert_array_equal(arrays(second)[name], array, err_msg=name)


@pytest.mark.parametrize("steps", [1, 2])
def test_each_size_of_a_batch_is_traced_once(steps: int) -> None:
    class Counted(keras.layers.Layer):
        calls = 0

        def call(self, inputs: Any) -> Any:
            Counted.calls += 1
            return inputs

    trainer = small("on", Counted(), steps=steps)
    built = Counted.calls
    for _ in range(2):
        trainer.train_epoch(make_batches(102), Progress())
        trainer.evaluate(make_batches(102))
    assert Counted.calls - built == 4, "training and evaluation, whole batches and the smaller one"


def test_a_model_that_it_can_not_compile_is_trained_without_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    trainers = small("off", Unsupported()), small("auto", Unsupported(), steps=2)
    with caplog.at_level(logging.INFO):
        for trainer in trainers:
            trainer.train_epoch(make_batches(), Progress())
    for name, array in arrays(trainers[0]).items():
        np.testing.assert_array_equal(arrays(trainers[1])[name], array, err_msg=name)
    messages = [record.message for record in caplog.records if "XLA" in record.message]
    assert messages == ["XLA has no AsString, which the model needs: it is trained without XLA"]
    refusal = r"^XLA can't compile the model: it has no AsString\. Received: jit on\. Expected: auto or off\.$"
    with pytest.raises(TrainingError, match=refusal):
        small("on", Unsupported()).train_epoch(make_batches(), Progress())
