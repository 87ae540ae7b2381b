import threading

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.train.conftest import CLASSES, SHAPE, examples
from train import model
from train.checkpoint import Progress, as_arrays, restore, variables_of
from train.errors import StopRequested, TrainingError
from train.loop import Loop, augmented
from train.pictures import Pictures
from train.settings import Settings

PICTURES = Pictures(SHAPE, CLASSES)


def make(**changes) -> Loop:
    chosen = Settings(**changes)
    tf.keras.utils.set_random_seed(chosen.seed)
    return Loop(model.build(chosen, PICTURES), model.optimizer(chosen), augment=chosen.augment, seed=chosen.seed)


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


def test_a_loss_that_is_not_finite_names_its_step():
    loop, progress = make(optimizer="sgd"), Progress()
    calls = batches()
    loop.train_epoch(calls[:2], progress)
    loop.model.get_layer("logits").bias.assign([float("nan")] * 3)
    with pytest.raises(TrainingError, match=r"not finite since step 3\. .*smaller learning-rate"):
        loop.train_epoch(calls, progress)


def test_a_stop_ends_between_two_steps_and_can_be_resumed_exactly():
    whole = make(model="lab", augment=True)
    progress = Progress()
    whole.train_epoch(batches(), progress)

    first = make(model="lab", augment=True)
    stop = first._stop = threading.Event()

    def stopping():
        for index, batch in enumerate(batches()):
            if index == 2:
                stop.set()
            yield batch

    partial = Progress()
    with pytest.raises(StopRequested):
        first.train_epoch(stopping(), partial)
    assert (partial.step_in_epoch, partial.seen) == (2, 64)

    second = make(model="lab", augment=True, seed=5)
    second._seed = 0
    saved = as_arrays(variables_of(first.model, first.optimizer))
    restore(variables_of(second.model, second.optimizer), saved, "x")
    second.train_epoch(batches()[2:], partial)
    assert (partial.loss_sum, partial.correct, partial.seen) == (progress.loss_sum, progress.correct, progress.seen)
    ours = as_arrays(variables_of(second.model, second.optimizer))
    for name, array in as_arrays(variables_of(whole.model, whole.optimizer)).items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(precision):
    loop, progress = make(precision=precision), Progress()
    loop.train_epoch(batches() * 3, progress)
    assert np.isfinite(progress.loss_sum)
    tf.keras.config.set_dtype_policy("float32")


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000))
def test_augmented_pictures_are_flipped_and_shifted_copies(seed, step):
    images = tf.reshape(tf.range(8 * 12 * 12 * 3) % 251, (8, 12, 12, 3))
    images = tf.cast(images, tf.uint8)
    result = augmented(images, tf.constant([seed, step], tf.int64)).numpy()
    np.testing.assert_array_equal(result, augmented(images, tf.constant([seed, step], tf.int64)).numpy())
    padded = np.pad(images.numpy(), ((0, 0), (4, 4), (4, 4), (0, 0)), "reflect")
    for before, after in zip(padded, result, strict=True):
        views = (before[row : row + 12, column : column + 12] for row in range(9) for column in range(9))
        assert any(np.array_equal(after, view) or np.array_equal(after, view[:, ::-1]) for view in views)


def test_augmentation_uses_flips_and_every_shift():
    """On pictures whose pixels say where they come from, the corner tells each picture's shift and flip."""
    places = np.stack(np.meshgrid(np.arange(12), np.arange(12), indexing="ij"), axis=-1)
    images = np.zeros((3000, 12, 12, 3), np.uint8)
    images[..., :2] = places
    result = augmented(tf.constant(images), tf.constant([0, 1], tf.int64)).numpy().astype(int)
    flipped = result[:, 6, 6, 1] > result[:, 6, 7, 1]
    assert 0.45 < flipped.mean() < 0.55
    assert len(np.unique(result[:, 6, 6, 0])) == 9
    assert len(np.unique(result[~flipped, 6, 6, 1])) == 9


def test_the_time_waited_for_input_is_that_of_the_batches():
    now = [0.0]

    def slow():
        for batch in batches():
            now[0] += 3
            yield batch

    loop, progress = make(), Progress()
    loop._clock = lambda: now[0]
    loop._train_step = lambda *_: now.__setitem__(0, now[0] + 1)
    loop.train_epoch(slow(), progress)
    assert (progress.waited, progress.seconds) == (9, 12)


def test_a_checkpoint_is_asked_for_at_every_so_many_steps_with_the_counts_of_that_step():
    loop, progress, seen = make(), Progress(), []
    loop.train_epoch(batches(), progress, 2, lambda: seen.append((progress.step_in_epoch, progress.seen)))
    loop.train_epoch(batches(), progress, 2, lambda: seen.append((progress.step_in_epoch, progress.loss_sum > 0)))
    assert seen == [(2, 64), (4, True), (6, True)]
