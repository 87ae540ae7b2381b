import numpy as np
import pytest

from train.outputs.evaluation import MAX_MISTAKES, evaluate


def batch(labels, probabilities):
    labels = np.array(labels)
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    return images, labels, np.array(probabilities, np.float32)


def test_confusion_accuracy_and_loss_over_batches():
    first = batch([0, 1], [[0.9, 0.1, 0.0], [0.5, 0.25, 0.25]])
    second = batch([1], [[0.2, 0.8, 0.0]])
    result = evaluate([first, second], 3)
    assert result.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.loss == pytest.approx(-np.log([0.9, 0.25, 0.8]).mean(), rel=1e-6)
    described = result.as_json(("a", "b", "c"))
    assert described["classes"]["b"] == {"examples": 2, "recall": 0.5, "precision": 1.0}
    assert described["classes"]["c"] == {"examples": 0, "recall": None, "precision": None}
    assert described["examples"] == 3


def test_the_most_confident_mistakes_come_first_and_are_bounded():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4), 500)
    labels = generator.integers(0, 4, 500)
    batches = [batch(labels[start : start + 50], probabilities[start : start + 50]) for start in range(0, 500, 50)]
    result = evaluate(batches, 4)
    wrong = labels != probabilities.argmax(axis=1)
    expected = np.sort(probabilities.max(axis=1)[wrong])[::-1][:MAX_MISTAKES]
    np.testing.assert_allclose([mistake.confidence for mistake in result.mistakes], expected, rtol=1e-6)
    assert all(mistake.label != mistake.predicted for mistake in result.mistakes)


def test_a_certain_mistake_has_a_finite_loss():
    assert np.isfinite(evaluate([batch([1], [[1.0, 0.0]])], 2).loss)
