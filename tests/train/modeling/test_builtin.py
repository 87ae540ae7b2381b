import keras
import numpy as np
import pytest

from train.errors import TrainingError
from train.modeling.builtin import apply_tta, build_model, build_optimizer
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import CIFAR10_CLASSES, Hyperparameters

CIFAR10 = ImageDatasetInfo((32, 32, 3), CIFAR10_CLASSES)


@pytest.fixture(autouse=True)
def default_precision():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("name", "parameters"), [("fast", 280_970), ("tutorial", 122_570), ("lab", 1_343_018), ("airbench", 1_975_106)]
)
def test_the_models_have_the_sizes_of_the_originals(name, parameters):
    built = build_model(Hyperparameters(model=name), CIFAR10)
    assert built.count_params() == parameters
    logits = built(np.zeros((2, 32, 32, 3), np.uint8))
    assert (logits.shape, logits.dtype) == ((2, 10), "float32")


@pytest.mark.parametrize("name", ["fast", "tutorial", "lab"])
def test_width_multiplies_the_channels_of_every_layer(name):
    once, thrice = (build_model(Hyperparameters(model=name, width=width), CIFAR10) for width in (1, 3))
    for narrow, wide in zip(once.layers[2:-1], thrice.layers[2:-1], strict=True):
        assert wide.output.shape[-1] == 3 * narrow.output.shape[-1], narrow.name
    assert thrice.output.shape == once.output.shape == (None, 10)


def test_pixels_are_scaled_inside():
    scale = build_model(Hyperparameters(), CIFAR10).get_layer("scale")
    assert float(scale(np.array([[255]], np.uint8))[0, 0]) == 1.0


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_logits_stay_in_float32_whatever_the_layers_compute_in(precision):
    hparams = Hyperparameters(precision=precision)
    built = build_model(hparams, CIFAR10)
    assert built.get_layer("conv1").compute_dtype == precision.removeprefix("mixed_")
    assert built(np.zeros((1, 32, 32, 3), np.uint8)).dtype == "float32"
    scaled = isinstance(build_optimizer(hparams), keras.optimizers.LossScaleOptimizer)
    assert scaled == (precision == "mixed_float16")


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "muon"])
def test_the_optimizer_is_the_named_one_at_the_given_rate(name):
    optimizer = build_optimizer(Hyperparameters(optimizer=name, learning_rate=0.25))
    assert type(optimizer).__name__.lower() == name
    assert float(optimizer.learning_rate) == 0.25


@pytest.mark.parametrize(("name", "size"), [("fast", 6), ("tutorial", 17), ("lab", 7), ("airbench", 8)])
def test_pictures_too_small_for_a_model_are_refused(name, size):
    with pytest.raises(TrainingError, match=f"too small for model {name}. Received: \\({size}, {size}, 3\\)"):
        build_model(Hyperparameters(model=name), ImageDatasetInfo((size, size, 3), ("a", "b")))
    build_model(Hyperparameters(model=name), ImageDatasetInfo((size + 1, size + 1, 3), ("a", "b")))


def test_a_mirrored_model_gives_a_picture_and_its_mirror_image_the_same_answer():
    built = build_model(Hyperparameters(), CIFAR10)
    asked, images = apply_tta(built, "mirror"), some_pictures()
    np.testing.assert_allclose(asked(images), asked(images[:, :, ::-1]), rtol=1e-5, atol=1e-6)
    assert not np.allclose(built(images), built(images[:, :, ::-1]))


def test_tta_is_the_mean_of_the_views():
    built, images = build_model(Hyperparameters(), CIFAR10), some_pictures()
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    views = [images, padded[:, :32, :32], padded[:, 2:, 2:]]
    own, up, down = (np.asarray(built(view) + built(view[:, :, ::-1])) / 2 for view in views)
    np.testing.assert_allclose(apply_tta(built, "mirror")(images), own, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(apply_tta(built, "shifts")(images), own / 2 + up / 4 + down / 4, rtol=1e-5, atol=1e-6)
    assert apply_tta(built, "none") is built


def test_airbench_begins_by_passing_on_what_its_first_layer_sees():
    built = build_model(Hyperparameters(model="airbench"), CIFAR10)
    first = keras.Model(built.input, built.get_layer("relu0").output)
    second = keras.Model(built.input, built.get_layer("conv1").output)
    passed = first(some_pictures())
    np.testing.assert_allclose(second(some_pictures())[..., : passed.shape[-1]], passed, atol=1e-6)
    assert not built.get_layer("whitening").kernel.trainable


def some_pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)


def test_the_average_of_the_weights_is_the_optimizers():
    optimizer = build_optimizer(Hyperparameters(weight_average=0.99))
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.99)
    assert not build_optimizer(Hyperparameters()).use_ema


@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_the_momentum_is_the_optimizers(name):
    assert build_optimizer(Hyperparameters(optimizer=name, momentum=0.6)).momentum == 0.6


def test_muons_rate_for_all_but_kernels():
    assert build_optimizer(Hyperparameters(adam_lr_ratio=0.01)).adam_lr_ratio == 0.01
