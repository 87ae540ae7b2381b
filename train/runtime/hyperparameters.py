"""Hyperparameters: strings from the request → one typed, frozen record."""

import difflib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from train.errors import TrainingError

# The toolkit, the SDKs and the tuning service write these into every request: they are never unknown.
PLATFORM_PREFIX = "sagemaker_"
PLATFORM_NAMES = frozenset({"_tuning_objective_metric", "model_dir"})

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


# Values where the request gives none: model fast has the defaults below; the plain ones are those of tutorial, lab and
# custom models.
_PLAIN = {
    "learning_rate": 1e-3,
    "optimizer": "adam",
    "schedule": "constant",
    "label_smoothing": 0.0,
    "augment": False,
}
_AIRBENCH = {
    "epochs": 8,
    "batch_size": 500,
    "learning_rate": 0.12,
    "adam_lr_ratio": 0.02,
    "momentum": 0.6,
    "schedule": "linear",
    "label_smoothing": 0.2,
    "alternate_flips": True,
    "tta": "shifts",
    "precision": "auto",
}
RECIPES: Mapping[str, Mapping[str, Any]] = {"fast": {}, "airbench": _AIRBENCH, "tutorial": _PLAIN, "lab": _PLAIN}
CUSTOM_MODEL = ".py"  # ends the name of a file that builds one
_MOST = 2**31 - 1  # of a whole number without a limit of its own: TensorFlow's indices have 32 bits
_MOST_SECONDS = 28 * 24 * 3600  # the longest job of the service
_MOST_PIXELS = 65_535  # a side of the largest JPEG


def _define(
    default: Any,
    reason: str,
    *,
    low: float | None = None,
    high: float | None = None,
    one_of: tuple[str, ...] = (),
    or_file: str = "",
) -> Any:
    """`or_file`: the ending of files whose names are values as well."""
    metadata = {"reason": reason, "low": low, "high": high, "one_of": one_of, "or_file": or_file}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of the built-in job. Each is named as its field, with `-` for `_`."""

    epochs: int = _define(10, "passes over the train channel", low=1)
    batch_size: int = _define(
        128, "pictures a step: the usual compromise of speed and noise for CIFAR-10", low=1, high=2**20
    )
    learning_rate: float = _define(0.05, "the highest of the schedule", low=1e-12, high=1e38)
    optimizer: str = _define(
        "muon", "fewest epochs to a good accuracy on few cores", one_of=("sgd", "adam", "rmsprop", "muon")
    )
    model: str = _define(
        "fast", "the highest accuracy for the time on few cores", one_of=tuple(RECIPES), or_file=CUSTOM_MODEL
    )
    seed: int = _define(0, "of weights, shuffling, dropout and augmentation", low=0, high=2**32 - 1)
    momentum: float = _define(0.9, "of sgd and muon: the fewer the steps, the less", low=0, high=0.9999)
    adam_lr_ratio: float = _define(
        0.06, "share of learning-rate at which muon trains all but kernels: by Adam", low=0, high=1e3
    )
    schedule: str = _define(
        "one-cycle",
        "of the learning rate: one-cycle is up for a seventh of the training, then down to 0; linear is down only",
        one_of=("one-cycle", "linear", "constant"),
    )
    label_smoothing: float = _define(0.1, "share of each label spread over all classes", low=0, high=0.9)
    augment: bool = _define(True, "random flips and shifts, a sixteenth of the side at most, of training pictures")
    alternate_flips: bool = _define(
        False, "a picture that is flipped in one epoch is not in the next, and so on, instead of at random"
    )
    initial_scale: float = _define(
        1.0, "pictures are trained on at this share of their side at first, and grow to 1", low=0.1, high=1
    )
    cutout: int = _define(
        0, "side in pixels of a square hidden at a random place of each training picture; 0: none", low=0
    )
    weight_average: float = _define(
        0.0,
        "momentum of the exponential moving average (EMA) of the weights that the model gets at the end; 0: none",
        low=0,
        high=0.99999,
    )
    tta: str = _define(
        "none",
        "test-time augmentation (TTA): mirror is the mean of the logits of a picture and its mirror image, shifts "
        "of both and the same moved by a pixel",
        one_of=("none", "mirror", "shifts"),
    )
    width: int = _define(1, "times the channels of each layer of a built-in model", low=1, high=64)
    shuffle_buffer: int = _define(10_000, "pictures held for shuffling: 31 MB of 32×32×3", low=1)
    patience: int = _define(
        0, "stop after so many epochs without a better validation accuracy and keep the best; 0: never", low=0
    )
    checkpoint_every: int = _define(
        0, "steps between checkpoints within an epoch, for what SIGTERM does not announce; 0: at its end", low=0
    )
    precision: str = _define(
        "float32",
        "what layers compute in; auto: mixed_bfloat16 where the device does so itself, else float32",
        one_of=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit: str = _define(
        "auto", "XLA compiles the steps: auto on one GPU; on a processor it is slower", one_of=("auto", "on", "off")
    )
    jit_cache: bool = _define(
        False, "keep what XLA compiles beside the checkpoints, so that a job that goes on starts sooner"
    )
    steps_per_execution: int = _define(
        0,
        "steps that TensorFlow makes in one call; 0: 16 on one GPU with XLA, fewer of large pictures, else 1",
        low=0,
        high=1024,
    )
    deterministic: bool = _define(
        True, "on a GPU: the same weights at each run, for about a tenth of its speed; on a processor always"
    )
    crc: str = _define(
        "full",
        "which CRCs of TFRecords are checked: of lengths and data, of lengths, or none",
        one_of=("full", "header", "off"),
    )
    hosts_timeout: float = _define(
        300.0, "seconds that the hosts of a job wait for each other at its start", low=0.001, high=_MOST_SECONDS
    )
    fifo_timeout: float = _define(
        300.0, "seconds to wait for a FIFO, or for its next byte", low=0.001, high=_MOST_SECONDS
    )
    classes: str = _define(
        ",".join(CIFAR10_CLASSES), "class names in label order, or a JSON list of them, unless a dataset channel says"
    )
    image_shape: str = _define("32,32,3", "height,width,channels, or a JSON list, unless a dataset channel says")
    train_examples: int = _define(
        50_000, "pictures of an epoch, for the schedule of the first one, unless a dataset channel says", low=1
    )

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(_split("classes", self.classes))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels in pixels."""
        try:
            height, width, channels = (int(part) for part in _split("image-shape", self.image_shape))
        except ValueError:
            raise _wrong("image-shape", self.image_shape, "height,width,channels such as 32,32,3") from None
        if not is_image_shape(height, width, channels):
            expected = f"height and width from 1 to {_MOST_PIXELS}, 1 or 3 channels"
            raise _wrong("image-shape", self.image_shape, expected)
        return height, width, channels


def parse(hyperparameters: Mapping[str, str]) -> Hyperparameters:
    """The settings of a job.

    `hyperparameters` maps names to strings as in hyperparameters.json; values may carry JSON quotes (the SDKs add
    them). Raises TrainingError for an unknown name, a value of the wrong type or out of range.
    """
    definitions = {_public_name(definition): definition for definition in fields(Hyperparameters)}
    values = {name: value for name, value in hyperparameters.items() if not is_platform(name)}
    for name in values:
        if name not in definitions:
            raise _unknown(name, list(definitions))
    typed = {definitions[name].name: _typed(name, value, definitions[name]) for name, value in values.items()}
    hparams = Hyperparameters(**{**RECIPES.get(typed.get("model", "fast"), _PLAIN), **typed})
    if len(hparams.class_names) < 2 or not all(hparams.class_names):
        raise _wrong("classes", hparams.classes, "two or more names separated by commas, none of them empty")
    if len(set(hparams.class_names)) != len(hparams.class_names):
        raise _wrong("classes", hparams.classes, "every name once")
    _ = hparams.shape  # raises if it can't be read
    if hparams.width > 1 and hparams.model.endswith(CUSTOM_MODEL):
        raise _wrong(
            "width", f"{hparams.width} with {hparams.model}", "1, as that file gives its layers their channels"
        )
    if hparams.patience and hparams.initial_scale < 1:
        received = f"{hparams.patience} with initial-scale {hparams.initial_scale:g}"
        raise _wrong("patience", received, "0, as the accuracy on whole pictures comes at the end")
    return hparams


def is_image_shape(height: int, width: int, channels: int) -> bool:
    """Whether there are pictures of that size in pixels, grey or in colour."""
    return 1 <= min(height, width) <= max(height, width) <= _MOST_PIXELS and channels in (1, 3)


def is_platform(name: str) -> bool:
    """Whether a hyperparameter belongs to the toolkit, an SDK or the tuning service."""
    return name.startswith(PLATFORM_PREFIX) or name in PLATFORM_NAMES


def describe() -> list[tuple[str, str, str]]:
    """(hyperparameter, default, what it means and accepts) for each setting: the table of docs/hyperparameters.md."""
    rows = []
    for definition in fields(Hyperparameters):
        default = "" if definition.default is MISSING else str(definition.default)
        for models, recipe in (("airbench", _AIRBENCH), ("other models", _PLAIN)):
            if definition.name in recipe:
                default += f"; {recipe[definition.name]} for {models}"
        choices = f"; one of {_choices(definition)}" if definition.metadata["one_of"] else ""
        rows.append((_public_name(definition), default, definition.metadata["reason"] + choices))
    return rows


def _public_name(definition: Field[Any]) -> str:
    return definition.name.replace("_", "-")


def _typed(name: str, value: str, definition: Field[Any]) -> Any:
    text = _unquoted(value)
    assert isinstance(definition.type, type)
    typed = _READERS[definition.type](name, text)
    low, high, one_of, or_file = (definition.metadata[key] for key in ("low", "high", "one_of", "or_file"))
    if high is None and definition.type is int:
        high = _MOST
    if low is not None and typed < low:
        raise _wrong(name, value, f"{definition.type.__name__} of at least {low}")
    if high is not None and typed > high:
        raise _wrong(name, value, f"{definition.type.__name__} of at most {high}")
    if one_of and typed not in one_of and not (or_file and typed.endswith(or_file)):
        raise _wrong(name, value, f"one of {_choices(definition)}")
    return typed


def _choices(definition: Field[Any]) -> str:
    file = definition.metadata["or_file"]
    return ", ".join(definition.metadata["one_of"]) + (f", or a {file} file of your own" if file else "")


def _unquoted(value: str) -> str:
    """`"\\"adam\\""` → `adam`: the SDKs send every value through json.dumps."""
    if isinstance(value, str) and len(value) >= 2 and value[0] == value[-1] == '"':
        try:
            decoded = json.loads(value)
        except ValueError:
            return value
        return decoded if isinstance(decoded, str) else value
    return str(value)


def _split(name: str, text: str) -> list[str]:
    """The parts between commas; of a JSON list, as the SDKs send one, its items."""
    if not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        items = json.loads(text)
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str | int) for item in items):
        raise _wrong(name, text, "values separated by commas, or a JSON list of them")
    return [str(item).strip() for item in items]


def _int(name: str, text: str) -> int:
    with suppress(ValueError):
        return int(text)  # exactly: a float would round from 2**53 on
    try:
        number = float(text)  # the tuning service writes integers as 64 or as 64.0
    except ValueError:
        raise _wrong(name, text, "a whole number") from None
    if not number.is_integer():
        raise _wrong(name, text, "a whole number")
    return int(number)


def _float(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _wrong(name, text, "a number") from None
    if number - number != 0:  # nan or inf
        raise _wrong(name, text, "a finite number")
    return number


def _bool(name: str, text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise _wrong(name, text, "true or false") from None


_READERS: dict[type, Callable[[str, str], Any]] = {int: _int, float: _float, bool: _bool, str: lambda _name, text: text}


def _wrong(name: str, received: str, expected: str) -> TrainingError:
    return TrainingError(f"Hyperparameter {name} can't be used. Received: {received!r}. Expected: {expected}.")


def _unknown(name: str, known: list[str]) -> TrainingError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]}?" if near else ""
    return TrainingError(f"Unknown hyperparameter. Received: {name}.{hint} Known: {', '.join(known)}.")
