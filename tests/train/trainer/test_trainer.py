import threading

import numpy as np
import pytest
import tensorflow as tf

from tests.support.shards import SHAPE, examples
from tests.support.training import make_batches, make_trainer
from train.errors import StopRequested, TrainingError
from train.modeling.whitening import find_layer, measure_patches, set_filters
from train.trainer.checkpoint import named_variables, restore, to_arrays
from train.trainer.progress import Progress
from train.trainer.train_step import TrainStep
from train.trainer.trainer import Trainer


def test_training_learns_and_counts():
    trainer, progress = make_trainer(), Progress()
    for _ in range(4):
        progress.loss_sum = progress.correct = progress.examples_seen = 0
        trainer.train_epoch(make_batches(), progress)
    assert (progress.step, progress.examples_seen) == (12, 96)
    loss, accuracy = trainer.evaluate(make_batches(60, seed=9))
    assert accuracy > 0.6
    assert loss < 1.0


def test_the_counts_are_those_of_the_steps(capsys):
    trainer, progress = make_trainer(learning_rate=1e-12), Progress()
    trainer.train_epoch(make_batches(), progress)
    loss, accuracy = trainer.evaluate(make_batches())
    assert progress.loss_sum / progress.examples_seen == pytest.approx(loss, rel=1e-4)
    assert progress.correct / progress.examples_seen == accuracy
    assert capsys.readouterr().out.startswith("step=1 loss=")


def test_a_smaller_last_batch_counts_each_picture_once():
    trainer = make_trainer()
    whole, parts = trainer.evaluate(make_batches(50, 50)), trainer.evaluate(make_batches(50, 32))
    assert parts == pytest.approx(whole, rel=1e-6)


def test_predictions_are_probabilities():
    images, labels, probabilities = next(iter(make_trainer().predict(make_batches())))
    assert (images.shape[0], labels.shape[0], probabilities.shape) == (32, 32, (32, 3))
    np.testing.assert_allclose(tf.reduce_sum(probabilities, axis=1), 1, rtol=1e-5)


def test_a_regularizer_is_minimised_too_and_not_reported():
    plain, penalised = make_trainer(optimizer="sgd"), make_trainer(optimizer="sgd")
    kernel = penalised.model.get_layer("conv1").kernel
    kernel.regularizer = tf.keras.regularizers.L2(10)
    began = float(tf.norm(kernel))
    first, second = Progress(), Progress()
    plain.train_epoch(make_batches()[:1], first)
    penalised.train_epoch(make_batches()[:1], second)
    assert first.loss_sum == second.loss_sum
    assert float(tf.norm(plain.model.get_layer("conv1").kernel)) > 0.99 * began
    assert float(tf.norm(kernel)) < 0.97 * began


def test_a_loss_that_is_not_finite_names_its_step():
    trainer, progress = make_trainer(optimizer="sgd"), Progress()
    calls = make_batches()
    trainer.train_epoch(calls[:2], progress)
    trainer.model.get_layer("logits").bias.assign([float("nan")] * 3)
    with pytest.raises(TrainingError, match=r"not finite since step 3\. .*smaller learning-rate"):
        trainer.train_epoch(calls, progress)


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param({"model": "lab", "augment": True}, marks=pytest.mark.slow),
        {"model": "fast", "epochs": 2, "cutout": 4, "weight_average": 0.9},
    ],
    ids=lambda recipe: recipe["model"],
)
def test_a_stop_ends_between_two_steps_and_can_be_resumed_exactly(recipe):
    whole = make_trainer(**recipe)
    progress = Progress()
    whole.train_epoch(make_batches(), progress)

    stop = threading.Event()
    first = make_trainer(stop=stop, **recipe)

    def stopping():
        for index, batch in enumerate(make_batches()):
            if index == 2:
                stop.set()
            yield batch

    partial = Progress()
    with pytest.raises(StopRequested):
        first.train_epoch(stopping(), partial)
    assert (partial.step_in_epoch, partial.examples_seen) == (2, 64)

    second = make_trainer(**recipe, weight_seed=5)
    saved = to_arrays(named_variables(first.model, first.optimizer))
    restore(named_variables(second.model, second.optimizer), saved, "x")
    second.train_epoch(make_batches()[2:], partial)
    for name in ("loss_sum", "correct", "examples_seen"):
        assert getattr(partial, name) == getattr(progress, name)
    ours = to_arrays(named_variables(second.model, second.optimizer))
    for name, array in to_arrays(named_variables(whole.model, whole.optimizer)).items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(precision):
    trainer, progress = make_trainer(precision=precision), Progress()
    trainer.train_epoch(make_batches() * 3, progress)
    assert np.isfinite(progress.loss_sum)
    variables = named_variables(trainer.model, trainer.optimizer)  # with those of the optimizer that scales the loss
    assert len(variables) == len(trainer.model.variables) + len(trainer.optimizer.variables)
    tf.keras.config.set_dtype_policy("float32")


def test_the_time_waited_for_input_is_that_of_the_batches():
    now = [0.0]

    def slow():
        for batch in make_batches():
            now[0] += 3
            yield batch

    class OneSecondStep(TrainStep):
        def __call__(self, *_: object) -> None:
            now[0] += 1

    trainer, progress = make_trainer(step_class=OneSecondStep, clock=lambda: now[0]), Progress()
    trainer.train_epoch(slow(), progress)
    assert (progress.input_wait_seconds, progress.seconds) == (9, 12)


def test_a_checkpoint_is_asked_for_at_every_so_many_steps_with_the_counts_of_that_step():
    trainer, progress, seen = make_trainer(), Progress(), []

    def save() -> None:
        seen.append((progress.step_in_epoch, progress.examples_seen, progress.loss_sum > 0))

    trainer.train_epoch(make_batches(), progress, 2, save)
    trainer.train_epoch(make_batches(), progress, 2, save)
    assert seen == [(2, 64, True), (4, 128, True), (6, 192, True)]


def test_the_rate_of_each_step_is_the_schedules():
    rates = []

    class RecordingStep(TrainStep):
        def __call__(self, *inputs: object) -> None:
            super().__call__(*inputs)
            rates.append(float(self.optimizer.learning_rate))

    trainer = make_trainer(step_class=RecordingStep, lr_schedule=lambda progress: 0.1 / (1 + progress.step))
    trainer.train_epoch(make_batches(), Progress())
    assert rates == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_smoothed_labels_change_the_training_but_not_what_is_reported():
    plain, smooth = make_trainer(learning_rate=1e-12), make_trainer(learning_rate=1e-12, label_smoothing=0.5)
    first, second = Progress(), Progress()
    plain.train_epoch(make_batches(), first)
    smooth.train_epoch(make_batches(), second)
    assert first.loss_sum == pytest.approx(second.loss_sum, rel=1e-6)
    sharp, soft = make_trainer(learning_rate=0.01), make_trainer(learning_rate=0.01, label_smoothing=0.5)
    for trainer in (sharp, soft):
        trainer.train_epoch(make_batches() * 10, Progress())
    surest = [max(float(tf.reduce_max(p)) for _, _, p in trainer.predict(make_batches())) for trainer in (sharp, soft)]
    assert surest[0] > 0.95 > surest[1]


@pytest.mark.slow
def test_airbenchs_first_layer_takes_its_filters_from_the_first_pictures_once():
    """They are looked at before the first step, and trained on all the same."""
    trainer, progress = make_trainer(model="airbench", precision="float32"), Progress()
    layer = find_layer(trainer.model)
    assert layer
    drawn = np.array(layer.kernel)
    trainer.train_epoch(iter(make_batches(70)), progress)
    found = np.array(layer.kernel)
    assert progress.examples_seen == 70
    set_filters(layer, measure_patches(examples(70, 0)[0]))
    np.testing.assert_array_equal(layer.kernel, found)
    assert not np.allclose(found, drawn)
    trainer.train_epoch(iter(make_batches(60, seed=5)), progress)  # other pictures
    np.testing.assert_array_equal(layer.kernel, found)


def test_a_stop_while_the_first_pictures_are_looked_at_leaves_the_model_untrained():
    stop, progress = threading.Event(), Progress()
    trainer = make_trainer(model="airbench", precision="float32", stop=stop)

    def batches():
        yield make_batches()[0]
        stop.set()
        yield make_batches()[1]

    with pytest.raises(StopRequested):
        trainer.train_epoch(batches(), progress)
    assert progress.step == 0


def test_what_is_evaluated_may_be_another_model():
    trainer = make_trainer(tta="mirror")
    images, labels = examples(40, 3)
    straight = trainer.evaluate([(tf.constant(images), tf.constant(labels, tf.int64))])
    turned = trainer.evaluate([(tf.constant(images[:, :, ::-1]), tf.constant(labels, tf.int64))])
    assert straight == pytest.approx(turned, rel=1e-4)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({"augment": True, "cutout": 4, "weight_average": 0.9}, [4, 2, 4, 1, 1]),
        pytest.param({"model": "lab", "augment": True}, [4, 2, 4, 1, 1], marks=pytest.mark.slow),
        pytest.param(
            {"model": "fast", "size_schedule": lambda progress: (8, 8) if progress.step < 3 else SHAPE[:2]},
            [3, 3, 4, 1, 1],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["tutorial", "lab", "fast-sizes"],
)
def test_several_steps_a_call_give_the_same_weights_wherever_they_are_interrupted(recipe, expected):
    """A call ends with an epoch, a size, a checkpoint, and before a smaller batch; a stop drops what is not trained."""
    calls: list[int] = []

    class RecordingStep(TrainStep):
        def __call__(self, batches, *others):
            calls.append(len(batches))
            super().__call__(batches, *others)

    data = make_batches(11 * 32 + 5)
    single = make_trainer(**recipe)
    several = make_trainer(step_class=RecordingStep, steps_per_execution=4, **recipe)
    one, counted, saved = Progress(), Progress(), []
    single.train_epoch(data, one, 6)
    several.train_epoch(data, counted, 6, lambda: saved.append(counted.step_in_epoch))
    assert (calls, saved) == (expected, [6, 12])

    stop, partial = threading.Event(), Progress()

    def stopping():
        for index, batch in enumerate(data):
            if index == 9:
                stop.set()
            yield batch

    first = make_trainer(steps_per_execution=3, stop=stop, **recipe)
    with pytest.raises(StopRequested):
        first.train_epoch(stopping(), partial)
    assert partial.step_in_epoch == 9
    second = make_trainer(steps_per_execution=8, weight_seed=5, **recipe)
    arrays = to_arrays(named_variables(first.model, first.optimizer))
    restore(named_variables(second.model, second.optimizer), arrays, "x")
    second.train_epoch(data[9:], partial)

    expected_arrays = to_arrays(named_variables(single.model, single.optimizer))
    for trainer, progress in ((several, counted), (second, partial)):
        for name in ("step", "loss_sum", "correct", "examples_seen"):
            assert getattr(progress, name) == getattr(one, name), name
        for name, array in to_arrays(named_variables(trainer.model, trainer.optimizer)).items():
            np.testing.assert_array_equal(array, expected_arrays[name], err_msg=name)
    functions = several.train_step.compiled.values()
    assert [function.experimental_get_tracing_count() for function in functions] == [1] * len(functions)


def growing(**changes: object) -> Trainer:
    """A trainer whose first three steps are on small pictures."""
    return make_trainer(
        model="fast", size_schedule=lambda progress: (8, 8) if progress.step < 3 else SHAPE[:2], **changes
    )


def test_steps_at_two_sizes_train_the_same_weights():
    trainer, whole, progress = growing(learning_rate=0.01), make_trainer(model="fast", learning_rate=0.01), Progress()
    before = to_arrays(named_variables(trainer.model, trainer.optimizer))
    trainer.train_epoch(make_batches()[:1], progress)
    small = to_arrays(named_variables(trainer.model, trainer.optimizer))
    assert all((small[name] != before[name]).any() for name in small if "kernel" in name or "moving" in name)
    trainer.train_epoch(make_batches() * 20, progress)
    whole.train_epoch(make_batches() * 20, Progress())
    assert trainer.evaluate(make_batches(60, seed=9))[1] > 0.6
    assert set(small) == set(to_arrays(named_variables(whole.model, whole.optimizer)))  # checkpoints fit both


@pytest.mark.slow
def test_the_weights_are_equal_where_it_goes_on_from_a_checkpoint_between_sizes():
    straight, first, second = (growing(seed=3, augment=True) for _ in range(3))
    data = make_batches(160)
    straight.train_epoch(data, Progress())
    progress = Progress()
    first.train_epoch(data[:2], progress)
    restore(
        named_variables(second.model, second.optimizer), to_arrays(named_variables(first.model, first.optimizer)), None
    )
    second.train_epoch(data[2:], progress)
    ours, theirs = (to_arrays(named_variables(trainer.model, trainer.optimizer)) for trainer in (straight, second))
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def test_what_is_compiled_before_is_not_compiled_again():
    trainer = growing()
    trainer.compile([(8, 8), SHAPE[:2], (8, 8)])
    compiled = dict(trainer.train_step.compiled)
    assert set(compiled) == {(8, 8), SHAPE[:2]}
    trainer.train_epoch(make_batches(160), Progress())
    trainer.evaluate(make_batches())
    assert trainer.train_step.compiled == compiled
    functions = [*compiled.values(), trainer.eval_step]
    assert [function.experimental_get_tracing_count() for function in functions] == [1, 1, 1]
