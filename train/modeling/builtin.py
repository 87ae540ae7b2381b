"""The CNNs. Pixels enter as uint8 and are scaled inside, so that what is exported takes pictures as they are."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers

from train.errors import TrainingError
from train.modeling.custom import build_custom_model
from train.modeling.muon import Muon
from train.modeling.whitening import apply_whitening
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.hyperparameters import Hyperparameters


def build_model(hparams: Hyperparameters, info: ImageDatasetInfo, custom: Path | None = None) -> keras.Model:
    """uint8 (n, height, width, channels) → float32 logits (n, classes). `custom`: the file that builds it instead."""
    keras.config.set_dtype_policy(hparams.precision)
    if custom:
        return build_custom_model(custom, info)
    inputs = keras.Input(info.shape, dtype="uint8", name="image")
    try:
        features = _MODELS[hparams.model](_scale(inputs), hparams.width)
    except ValueError:  # Keras: "negative dimension size", or a pooling that leaves nothing
        raise TrainingError(
            f"The pictures are too small for model {hparams.model}. Received: {info.shape}. Expected: 18×18 "
            "pixels or more for tutorial, 8×8 for lab, 7×7 for fast, 9×9 for airbench."
        ) from None
    # Logits in float32 whatever the precision: a softmax in 16 bits loses the small probabilities.
    logits = layers.Dense(len(info.classes), dtype="float32", name="logits")(features)
    return keras.Model(inputs, logits, name=hparams.model)


def build_optimizer(hparams: Hyperparameters) -> keras.optimizers.Optimizer:
    """The named optimizer; with loss scaling where gradients in 16 bits would vanish."""
    average = {"use_ema": True, "ema_momentum": hparams.weight_average} if hparams.weight_average else {}
    makers: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
        "sgd": lambda: keras.optimizers.SGD(hparams.learning_rate, momentum=hparams.momentum, nesterov=True, **average),
        "adam": lambda: keras.optimizers.Adam(hparams.learning_rate, **average),
        "rmsprop": lambda: keras.optimizers.RMSprop(hparams.learning_rate, **average),
        "muon": lambda: Muon(hparams.learning_rate, hparams.adam_lr_ratio, momentum=hparams.momentum, **average),
    }
    optimizer = makers[hparams.optimizer]()
    return keras.optimizers.LossScaleOptimizer(optimizer) if hparams.precision == "mixed_float16" else optimizer


def apply_tta(model: keras.Model, kind: str) -> keras.Model:
    """Test-time augmentation: the weighted mean of the logits for several views of each image, for as many times the
    time.

    `kind` "none": the model itself. "mirror": the image and its mirror image. "shifts": also both moved by a pixel to
    either end of the diagonal, edges mirrored, for half of the weight.
    """
    if kind == "none":
        return model
    inputs = keras.Input(model.input_shape[1:], dtype="uint8", name="image")
    logits = _mirrored(model, inputs, "mean")
    if kind == "shifts":
        height, width = model.input_shape[1:3]
        padded = keras.ops.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]], "reflect")
        shifted = [padded[:, :height, :width], padded[:, 2:, 2:]]
        means = [_mirrored(model, views, f"mean{number}") for number, views in enumerate(shifted)]
        logits = layers.Average(dtype="float32", name="all")([logits, layers.Average(dtype="float32")(means)])
    return keras.Model(inputs, logits, name=f"{model.name}_tta")


def _mirrored(model: keras.Model, images: keras.KerasTensor, name: str) -> keras.KerasTensor:
    views = [model(images), model(keras.ops.flip(images, axis=2))]
    return layers.Average(dtype="float32", name=name)(views)


def _scale(images: keras.KerasTensor) -> keras.KerasTensor:
    """From 0 to 1, in float32: in 16 bits pixels that differ by one would be alike."""
    return layers.Rescaling(1 / 255, dtype="float32", name="scale")(images)


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


def _airbench(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Made for a GPU: 1,975,106 parameters at ten classes, eight times fast's work a picture.

    The network of Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024): the first layer's filters come from
    the pictures themselves, and each further layer begins by passing on what it gets.
    """
    x = layers.Activation("relu", name="relu0")(apply_whitening(x))
    for number in range(1, 7):
        filters = (64 if number < 3 else 256) * width
        conv = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name=f"conv{number}",
            kernel_initializer=keras.initializers.VarianceScaling(1 / 3, distribution="uniform"),
        )  # fmt: skip
        passed, x = min(filters, x.shape[-1]), conv(x)
        conv.kernel.assign(_pass_on(conv.kernel, passed))
        x = layers.MaxPooling2D(name=f"pool{number}")(x) if number % 2 else x
        x = _normed(x, number, momentum=0.6)  # of hundreds of steps, not thousands
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    return layers.Rescaling(1 / 9, name="soften")(x)  # the logits


def _pass_on(kernel: keras.Variable, count: int) -> np.ndarray:
    """The kernel (height, width, in, out), with its first `count` filters giving the first inputs as they are."""
    values = np.array(kernel)
    values[..., :count] = 0
    values[values.shape[0] // 2, values.shape[1] // 2, range(count), range(count)] = 1
    return values


def _normed(x: keras.KerasTensor, number: int, momentum: float = 0.9) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=momentum, name=f"norm{number}")(x)
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
    "airbench": _airbench,
}
