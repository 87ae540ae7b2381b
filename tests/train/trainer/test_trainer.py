import numpy as np
import pytest
import tensorflow as tf

from tests.support.shards import CLASSES, SHAPE, examples
from train.errors import StopRequested, TrainingError
from train.modeling.augmentation import make_augmentation
from train.modeling.builtin import build_model, build_optimizer, flip_tta
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import RECIPES, Hyperparameters
from train.trainer.checkpoint import Progress, named_variables, restore, to_arrays
from train.trainer.schedules import schedule
from train.trainer.trainer import Loop

PICTURES = ImageDatasetInfo(SHAPE, CLASSES)


def make(**given) -> Loop:
    chosen = Hyperparameters(**{"model": "tutorial", **RECIPES[given.get("model", "tutorial")], **given})
    tf.keras.utils.set_random_seed(chosen.seed)
    return Loop(
        build_model(chosen, PICTURES), build_optimizer(chosen), change=make_augmentation(chosen), seed=chosen.seed,
        smoothing=chosen.label_smoothing, rate=schedule(chosen, 96),
    )  # fmt: skip


def batches(count: int = 96, size: int = 32, seed: int = 0):
    images, labels = examples(count, seed)
    return [
        (tf.constant(images[start : start + size]), tf.constant(labels[start : start + size], tf.int64))
        for start in range(0, count, size)
    ]


def test_training_learns_and_counts():
    loop, progress = make(), Progress()
    for _ in range(4):
        progress.loss_sum = progress.correct = progress.seen = 0
        loop.train_epoch(batches(), progress)
    assert (progress.step, progress.seen) == (12, 96)
    loss, accuracy = loop.evaluate(batches(60, seed=9))
    assert accuracy > 0.6
    assert loss < 1.0


def test_the_counts_are_those_of_the_steps(capsys):
    loop, progress = make(learning_rate=1e-12), Progress()
    loop.train_epoch(batches(), progress)
    loss, accuracy = loop.evaluate(batches())
    assert progress.loss_sum / progress.seen == pytest.approx(loss, rel=1e-4)
    assert progress.correct / progress.seen == accuracy
    assert capsys.readouterr().out.startswith("step=1 loss=")


def test_a_smaller_last_batch_counts_each_picture_once():
    loop = make()
    whole, parts = loop.evaluate(batches(50, 50)), loop.evaluate(batches(50, 32))
    assert parts == pytest.approx(whole, rel=1e-6)


def test_predictions_are_probabilities():
    images, labels, probabilities = next(iter(make().predict(batches())))
    assert (images.shape[0], labels.shape[0], probabilities.shape) == (32, 32, (32, 3))
    np.testing.assert_allclose(tf.reduce_sum(probabilities, axis=1), 1, rtol=1e-5)


def test_a_regularizer_is_minimised_too_and_not_reported():
    plain, penalised = make(optimizer="sgd"), make(optimizer="sgd")
    kernel = penalised.model.get_layer("conv1").kernel
    kernel.regularizer = tf.keras.regularizers.L2(10)
    began = float(tf.norm(kernel))
    first, second = Progress(), Progress()
    plain.train_epoch(batches()[:1], first)
    penalised.train_epoch(batches()[:1], second)
    assert first.loss_sum == second.loss_sum
    assert float(tf.norm(plain.model.get_layer("conv1").kernel)) > 0.99 * began
    assert float(tf.norm(kernel)) < 0.97 * began


def test_a_loss_that_is_not_finite_names_its_step():
    loop, progress = make(optimizer="sgd"), Progress()
    calls = batches()
    loop.train_epoch(calls[:2], progress)
    loop.model.get_layer("logits").bias.assign([float("nan")] * 3)
    with pytest.raises(TrainingError, match=r"not finite since step 3\. .*smaller learning-rate"):
        loop.train_epoch(calls, progress)


@pytest.mark.parametrize(
    "recipe",
    [{"model": "lab", "augment": True}, {"model": "fast", "epochs": 2, "cutout": 4, "weight_average": 0.9}],
    ids=lambda recipe: recipe["model"],
)
def test_a_stop_ends_between_two_steps_and_can_be_resumed_exactly(recipe):
    whole = make(**recipe)
    progress = Progress()
    whole.train_epoch(batches(), progress)

    first = make(**recipe)
    stop = first._stop

    def stopping():
        for index, batch in enumerate(batches()):
            if index == 2:
                stop.set()
            yield batch

    partial = Progress()
    with pytest.raises(StopRequested):
        first.train_epoch(stopping(), partial)
    assert (partial.step_in_epoch, partial.seen) == (2, 64)

    second = make(**recipe, seed=5)
    second._seed = 0
    saved = to_arrays(named_variables(first.model, first.optimizer))
    restore(named_variables(second.model, second.optimizer), saved, "x")
    second.train_epoch(batches()[2:], partial)
    assert (partial.loss_sum, partial.correct, partial.seen) == (progress.loss_sum, progress.correct, progress.seen)
    ours = to_arrays(named_variables(second.model, second.optimizer))
    for name, array in to_arrays(named_variables(whole.model, whole.optimizer)).items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(precision):
    loop, progress = make(precision=precision), Progress()
    loop.train_epoch(batches() * 3, progress)
    assert np.isfinite(progress.loss_sum)
    tf.keras.config.set_dtype_policy("float32")


def test_the_time_waited_for_input_is_that_of_the_batches():
    now = [0.0]

    def slow():
        for batch in batches():
            now[0] += 3
            yield batch

    loop, progress = make(), Progress()
    loop._clock = lambda: now[0]
    loop._train_step = lambda _size: lambda *_: now.__setitem__(0, now[0] + 1)
    loop.train_epoch(slow(), progress)
    assert (progress.waited, progress.seconds) == (9, 12)


def test_a_checkpoint_is_asked_for_at_every_so_many_steps_with_the_counts_of_that_step():
    loop, progress, seen = make(), Progress(), []
    loop.train_epoch(batches(), progress, 2, lambda: seen.append((progress.step_in_epoch, progress.seen)))
    loop.train_epoch(batches(), progress, 2, lambda: seen.append((progress.step_in_epoch, progress.loss_sum > 0)))
    assert seen == [(2, 64), (4, True), (6, True)]


def test_the_rate_of_each_step_is_the_schedules():
    loop, progress, rates = make(), Progress(), []
    loop._rate = lambda progress: 0.1 / (1 + progress.step)
    loop._train_step = lambda _size: lambda *_: rates.append(float(loop.optimizer.learning_rate))
    loop.train_epoch(batches(), progress)
    assert rates == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_smoothed_labels_change_the_training_but_not_what_is_reported():
    plain, smooth = make(learning_rate=1e-12), make(learning_rate=1e-12, label_smoothing=0.5)
    first, second = Progress(), Progress()
    plain.train_epoch(batches(), first)
    smooth.train_epoch(batches(), second)
    assert first.loss_sum == pytest.approx(second.loss_sum, rel=1e-6)
    sharp, soft = make(learning_rate=0.01), make(learning_rate=0.01, label_smoothing=0.5)
    for loop in (sharp, soft):
        loop.train_epoch(batches() * 10, Progress())
    surest = [max(float(tf.reduce_max(p)) for _, _, p in loop.predict(batches())) for loop in (sharp, soft)]
    assert surest[0] > 0.95 > surest[1]


def test_what_is_evaluated_may_be_another_model():
    loop = make()
    loop._asked = flip_tta(loop.model)
    images, labels = examples(40, 3)
    straight = loop.evaluate([(tf.constant(images), tf.constant(labels, tf.int64))])
    turned = loop.evaluate([(tf.constant(images[:, :, ::-1]), tf.constant(labels, tf.int64))])
    assert straight == pytest.approx(turned, rel=1e-4)


def sized(**given) -> Loop:
    """One that trains its first three steps on small pictures."""
    loop = make(model="fast", **given)
    loop._size = lambda progress: (8, 8) if progress.step < 3 else SHAPE[:2]
    return loop


def test_steps_at_two_sizes_train_the_same_weights():
    loop, whole, progress = sized(learning_rate=0.01), make(model="fast", learning_rate=0.01), Progress()
    before = to_arrays(named_variables(loop.model, loop.optimizer))
    loop.train_epoch(batches()[:1], progress)
    small = to_arrays(named_variables(loop.model, loop.optimizer))
    assert all((small[name] != before[name]).any() for name in small if "kernel" in name or "moving" in name)
    loop.train_epoch(batches() * 20, progress)
    whole.train_epoch(batches() * 20, Progress())
    assert loop.evaluate(batches(60, seed=9))[1] > 0.6
    assert set(small) == set(to_arrays(named_variables(whole.model, whole.optimizer)))  # checkpoints fit both


def test_the_weights_are_equal_where_it_goes_on_from_a_checkpoint_between_sizes():
    straight, first, second = (sized(seed=3, augment=True) for _ in range(3))
    data = batches(160)
    straight.train_epoch(data, Progress())
    progress = Progress()
    first.train_epoch(data[:2], progress)
    restore(
        named_variables(second.model, second.optimizer), to_arrays(named_variables(first.model, first.optimizer)), None
    )
    second.train_epoch(data[2:], progress)
    ours, theirs = (to_arrays(named_variables(loop.model, loop.optimizer)) for loop in (straight, second))
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def test_what_is_compiled_before_is_not_compiled_again():
    loop = sized()
    loop.compile([(8, 8), SHAPE[:2], (8, 8)])
    compiled = dict(loop._train_steps)
    assert set(compiled) == {(8, 8), SHAPE[:2]}
    loop.train_epoch(batches(160), Progress())
    loop.evaluate(batches())
    assert loop._train_steps == compiled
    functions = [*compiled.values(), loop._test_step]
    assert [function.experimental_get_tracing_count() for function in functions] == [1, 1, 1]
