import keras
import numpy as np
import pytest
import tensorflow as tf

from train.modeling.batch_norm import fused_batch_norm
from train.modeling.builtin import build_model
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import Hyperparameters

INFO = ImageDatasetInfo((32, 32, 3), ("a", "b"))


def make_model(precision="mixed_bfloat16"):
    keras.utils.set_random_seed(0)
    return build_model(Hyperparameters(precision=precision), INFO)


@pytest.fixture(autouse=True)
def default_precision():
    yield
    keras.config.set_dtype_policy("float32")


def test_in_bfloat16_it_is_what_keras_computes_and_keeps():
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3)).astype(np.uint8)
    plain, fused = make_model(), make_model()
    logits = plain(images, training=True)
    with fused_batch_norm(fused):
        np.testing.assert_allclose(fused(images, training=True), logits, atol=0.05)
        validated = fused(images, training=False)
    np.testing.assert_allclose(fused(images, training=False), validated, atol=1e-3)
    for ours, kerass in zip(fused.non_trainable_variables, plain.non_trainable_variables, strict=True):
        np.testing.assert_allclose(ours, kerass, rtol=0.02, atol=1e-3, err_msg=ours.path)


@pytest.mark.parametrize(("precision", "fused"), [("mixed_bfloat16", 5), ("float32", 0)])
@pytest.mark.parametrize("training", [True, False])
def test_only_layers_in_bfloat16_are_fused_and_only_meanwhile(precision, fused, training):
    model = make_model(precision)

    def operations():
        function = tf.function(lambda images: model(images, training=training))
        graph = function.get_concrete_function(tf.TensorSpec((None, 32, 32, 3), tf.uint8)).graph
        return [operation.type for operation in graph.get_operations()].count("FusedBatchNormV3")

    with fused_batch_norm(model):
        assert operations() == fused
    assert operations() == 0


def test_a_frozen_layer_keeps_its_statistics_and_one_of_rows_is_keras():
    keras.config.set_dtype_policy("mixed_bfloat16")
    inputs = keras.Input((4, 4, 3))
    frozen = keras.layers.BatchNormalization(trainable=False)
    rows = keras.layers.BatchNormalization()
    model = keras.Model(inputs, rows(keras.layers.Flatten()(frozen(inputs))))
    values = np.random.default_rng(0).normal(3, 2, (64, 4, 4, 3)).astype("float32")
    with fused_batch_norm(model):
        outputs = model(values, training=True)
    assert not np.any(frozen.moving_mean)
    assert np.all(frozen.moving_variance == np.float32(1))
    np.testing.assert_allclose(np.mean(tf.cast(outputs, "float32"), axis=0), 0, atol=0.02)
