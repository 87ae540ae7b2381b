"""The CNNs. Pixels enter as uint8 and are scaled inside, so that what is exported takes pictures as they are."""

from collections.abc import Callable

import keras
from keras import layers

from train.errors import TrainingError
from train.pictures import Pictures
from train.settings import Settings


def build(settings: Settings, pictures: Pictures) -> keras.Model:
    """uint8 (n, height, width, channels) → float32 logits (n, classes)."""
    keras.config.set_dtype_policy(settings.precision)
    inputs = keras.Input(pictures.shape, dtype="uint8", name="image")
    try:
        features = _MODELS[settings.model](layers.Rescaling(1 / 255, name="scale")(inputs))
    except ValueError:  # Keras: "negative dimension size", or a pooling that leaves nothing
        raise TrainingError(
            f"The pictures are too small for model {settings.model}. Received: {pictures.shape}. Expected: 18×18 "
            "pixels or more for tutorial, 8×8 for lab."
        ) from None
    # Logits in float32 whatever the precision: a softmax in 16 bits loses the small probabilities.
    logits = layers.Dense(len(pictures.classes), dtype="float32", name="logits")(features)
    return keras.Model(inputs, logits, name=settings.model)


def optimizer(settings: Settings) -> keras.optimizers.Optimizer:
    """The named optimizer; with loss scaling where gradients in 16 bits would vanish."""
    chosen = {
        "sgd": lambda: keras.optimizers.SGD(settings.learning_rate, momentum=0.9, nesterov=True),
        "adam": lambda: keras.optimizers.Adam(settings.learning_rate),
        "rmsprop": lambda: keras.optimizers.RMSprop(settings.learning_rate),
    }[settings.optimizer]()
    return keras.optimizers.LossScaleOptimizer(chosen) if settings.precision == "mixed_float16" else chosen


def _tutorial(x: keras.KerasTensor) -> keras.KerasTensor:
    """The CNN of TensorFlow's image tutorial: 122,570 parameters at 32×32×3 and ten classes."""
    x = layers.Conv2D(32, 3, activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Conv2D(64, 3, activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = layers.Conv2D(64, 3, activation="relu", name="conv3")(x)
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(64, activation="relu", name="dense")(x)


def _lab(x: keras.KerasTensor) -> keras.KerasTensor:
    """The deep CNN of SageMaker's CIFAR-10 lab: three blocks of two convolutions with batch normalisation."""
    for number, (filters, rate) in enumerate([(32, 0.2), (64, 0.3), (128, 0.4)], start=1):
        for part in "ab":
            x = layers.Conv2D(filters, 3, padding="same", name=f"conv{number}{part}")(x)
            x = layers.BatchNormalization(name=f"norm{number}{part}")(x)
            x = layers.Activation("relu", name=f"relu{number}{part}")(x)
        x = layers.MaxPooling2D(name=f"pool{number}")(x)
        x = layers.Dropout(rate, name=f"dropout{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(512, activation="relu", name="dense")(x)


_MODELS: dict[str, Callable[[keras.KerasTensor], keras.KerasTensor]] = {"tutorial": _tutorial, "lab": _lab}
