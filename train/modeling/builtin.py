"""The CNNs. Pixels enter as uint8 and are scaled inside, so that what is exported takes pictures as they are."""

from collections.abc import Callable
from pathlib import Path

import keras
from keras import layers

from train.errors import TrainingError
from train.modeling.custom import build_custom_model
from train.modeling.muon import Muon
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import Hyperparameters


def build_model(hparams: Hyperparameters, info: ImageDatasetInfo, custom: Path | None = None) -> keras.Model:
    """uint8 (n, height, width, channels) → float32 logits (n, classes). `custom`: the file that builds it instead."""
    keras.config.set_dtype_policy(hparams.precision)
    if custom:
        return build_custom_model(custom, info)
    inputs = keras.Input(info.shape, dtype="uint8", name="image")
    try:
        features = _MODELS[hparams.model](layers.Rescaling(1 / 255, name="scale")(inputs), hparams.width)
    except ValueError:  # Keras: "negative dimension size", or a pooling that leaves nothing
        raise TrainingError(
            f"The pictures are too small for model {hparams.model}. Received: {info.shape}. Expected: 18×18 "
            "pixels or more for tutorial, 8×8 for lab, 7×7 for fast."
        ) from None
    # Logits in float32 whatever the precision: a softmax in 16 bits loses the small probabilities.
    logits = layers.Dense(len(info.classes), dtype="float32", name="logits")(features)
    return keras.Model(inputs, logits, name=hparams.model)


def build_optimizer(hparams: Hyperparameters) -> keras.optimizers.Optimizer:
    """The named optimizer; with loss scaling where gradients in 16 bits would vanish."""
    average = {"use_ema": True, "ema_momentum": hparams.weight_average} if hparams.weight_average else {}
    makers: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
        "sgd": lambda: keras.optimizers.SGD(hparams.learning_rate, momentum=0.9, nesterov=True, **average),
        "adam": lambda: keras.optimizers.Adam(hparams.learning_rate, **average),
        "rmsprop": lambda: keras.optimizers.RMSprop(hparams.learning_rate, **average),
        "muon": lambda: Muon(hparams.learning_rate, **average),
    }
    optimizer = makers[hparams.optimizer]()
    return keras.optimizers.LossScaleOptimizer(optimizer) if hparams.precision == "mixed_float16" else optimizer


def flip_tta(model: keras.Model) -> keras.Model:
    """Test-time augmentation: the mean of the logits for each image and its mirror image, for twice the time."""
    inputs = keras.Input(model.input_shape[1:], dtype="uint8", name="image")
    logits = layers.Average(dtype="float32", name="mean")([model(inputs), model(keras.ops.flip(inputs, axis=2))])
    return keras.Model(inputs, logits, name=f"{model.name}_mirrored")


def _fast(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Most accuracy for the time on few cores: 280,970 parameters at ten classes, a third of lab's time an epoch.

    The first convolution halves the picture at once: at full size, few channels would keep a core's vector units idle.
    """
    x = _normed(layers.Conv2D(32 * width, 4, strides=2, padding="same", use_bias=False, name="conv1")(x), 1)
    for number, (filters, pool) in enumerate([(64, True), (64, False), (128, True), (128, False)], start=2):
        x = layers.Conv2D(filters * width, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x) if pool else x
        x = _normed(x, number)
    return layers.GlobalMaxPooling2D(name="pool")(x)


def _normed(x: keras.KerasTensor, number: int) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x)
    return layers.Activation("relu", name=f"relu{number}")(x)


def _tutorial(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """The CNN of TensorFlow's image tutorial: 122,570 parameters at 32×32×3 and ten classes."""
    x = layers.Conv2D(32 * width, 3, activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Conv2D(64 * width, 3, activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = layers.Conv2D(64 * width, 3, activation="relu", name="conv3")(x)
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(64 * width, activation="relu", name="dense")(x)


def _lab(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """The deep CNN of SageMaker's CIFAR-10 lab: three blocks of two convolutions with batch normalisation."""
    for number, (filters, rate) in enumerate([(32, 0.2), (64, 0.3), (128, 0.4)], start=1):
        for part in "ab":
            x = layers.Conv2D(filters * width, 3, padding="same", name=f"conv{number}{part}")(x)
            x = layers.BatchNormalization(name=f"norm{number}{part}")(x)
            x = layers.Activation("relu", name=f"relu{number}{part}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
        x = layers.Dropout(rate, name=f"dropout{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(512 * width, activation="relu", name="dense")(x)


_MODELS: dict[str, Callable[[keras.KerasTensor, int], keras.KerasTensor]] = {
    "fast": _fast,
    "tutorial": _tutorial,
    "lab": _lab,
}
