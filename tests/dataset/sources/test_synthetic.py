"""Drawn shapes: the same for a seed, even in class, too hard for a linear model, learnt by a small CNN."""

import numpy as np
import pytest

from dataset.sources.synthetic import Synthetic


def drawn(source: Synthetic, split: str) -> tuple[np.ndarray, np.ndarray]:
    labels = source.labels[split]
    parts = [source.draw(split, np.arange(i, min(i + 500, len(labels)))) for i in range(0, len(labels), 500)]
    return np.concatenate(parts), labels


def test_a_seed_draws_the_same_and_another_other() -> None:
    one, same, other = (Synthetic(seed).draw("train", np.arange(20)) for seed in (3, 3, 4))
    assert one.shape == (20, 32, 32, 3)
    assert one.dtype == np.uint8
    assert (one == same).all()
    assert (one != other).mean() > 0.9


def test_a_picture_does_not_depend_on_its_company() -> None:
    source = Synthetic(0)
    together = source.draw("train", np.array([5, 17, 900]))
    assert (source.draw("train", np.array([900])) == together[2:]).all()
    assert list(source.images("train", np.array([17]))) == [together[1].tobytes()]


def test_splits_share_no_picture() -> None:
    source = Synthetic(0)
    train, validation = (source.draw(split, np.arange(10)) for split in ("train", "validation"))
    assert (train != validation).mean() > 0.9


def test_classes_are_even() -> None:
    source = Synthetic(0)
    assert len(source.classes) == 10
    for split, count in (("train", 20_000), ("validation", 4_000)):
        assert np.bincount(source.labels[split]).tolist() == [count // 10] * 10


def test_another_size() -> None:
    assert Synthetic(0, image_size=48).draw("train", np.arange(10)).shape == (10, 48, 48, 3)


def softmax_regression(train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]) -> float:
    """Best validation accuracy of a linear model over 8 epochs of Adam."""
    (x, y), (vx, vy) = (
        (images.reshape(len(images), -1) / np.float32(255) - 0.5, labels) for images, labels in (train, validation)
    )
    random = np.random.default_rng(0)
    weights = np.zeros((x.shape[1], 10), np.float32)
    mean, square = weights.copy(), weights.copy()
    best, step = 0.0, 0
    for _ in range(8):
        for batch in np.array_split(random.permutation(len(x)), len(x) // 128):
            scores = np.exp(x[batch] @ weights - (x[batch] @ weights).max(1, keepdims=True))
            gradient = x[batch].T @ (scores / scores.sum(1, keepdims=True) - np.eye(10, dtype=np.float32)[y[batch]])
            gradient /= len(batch)
            step += 1
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            weights -= 1e-3 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        best = max(best, float(((vx @ weights).argmax(1) == vy).mean()))
    return best


def test_softmax_regression_learns_what_is_linear() -> None:
    """The yardstick of the next test is no broken stick: classes told by colour it learns."""
    images, labels = drawn(Synthetic(0, counts=(2_000, 500)), "train")
    coloured = (images // 2 + (labels * 12).astype(np.uint8)[:, None, None, None]).astype(np.uint8)
    coloured[:, :, :, 0] = (labels % 5 * 50).astype(np.uint8)[:, None, None]
    coloured[:, :, :, 1] = (labels // 5 * 200).astype(np.uint8)[:, None, None]
    assert softmax_regression((coloured[:1500], labels[:1500]), (coloured[1500:], labels[1500:])) > 0.6


def test_a_linear_model_stays_far_below_60_percent() -> None:
    source = Synthetic(0, counts=(3_000, 1_000))
    assert softmax_regression(drawn(source, "train"), drawn(source, "validation")) < 0.4


@pytest.mark.slow
def test_a_small_cnn_passes_90_percent() -> None:
    """The CNN of TensorFlow's image tutorial, at the default size: 0.96 measured after two epochs."""
    import tensorflow as tf

    source = Synthetic(0)
    layers = tf.keras.layers
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential(
        [
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    history = model.fit(
        *drawn(source, "train"), batch_size=64, epochs=2, validation_data=drawn(source, "validation"), verbose=0
    )
    assert history.history["val_accuracy"][-1] > 0.9
