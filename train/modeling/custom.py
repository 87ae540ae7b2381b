"""A custom model: `build(shape, classes)` in a Python file of the user's, in channel `code` of the job.

`shape` is (height, width, channels) in pixels, `classes` a tuple of names. `build` returns a Keras model from pictures,
uint8 (n, height, width, channels), to logits (n, number of classes). Reading, training, checkpoints, hosts, export and
report are the built-in job's.
"""

import importlib.util
import logging
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np

from train.errors import TrainingError
from train.runtime.dataset_info import ImageDatasetInfo
from train.runtime.environment import Environment

_log = logging.getLogger(__name__)

CHANNEL = "code"
_LOSS = "cross-entropy"
_MODULE = "own_model_of_the_job"
_PROBABILITIES = ("softmax", "sigmoid")
_PROBE = 4  # pictures
_MAX_MESSAGE = 600  # characters of what Keras says: FailureReason has 1024
_CONTRACT = "build(shape, classes) → a Keras model from uint8 pictures to logits"


def find_model_file(name: str, environment: Environment) -> Path:
    """The file: an absolute path in the image, or a name in channel `code`. TrainingError if it isn't there."""
    path = Path(name)
    if not path.is_absolute():
        channel = environment.channels.get(CHANNEL)
        if channel is None or channel.mode != "File":
            received, advice = (
                ("none", f"Add the channel in File mode, with the file in it (locally: --channel {CHANNEL}=PATH)")
                if channel is None
                else (f"{CHANNEL} in {channel.mode} mode", "Give that channel of the job InputMode File")
            )
            raise TrainingError(
                f"Hyperparameter model is {name}, which is looked for in channel {CHANNEL}. Received: {received}. "
                f"{advice}."
            )
        path = channel.folder / name
    if not path.is_file():
        beside = ", ".join(sorted(item.name for item in path.parent.glob("*"))) or "nothing"
        raise TrainingError(f"Hyperparameter model is {name}, but there is no {path}. Received: {beside}.")
    return path


def build_custom_model(path: Path, info: ImageDatasetInfo) -> keras.Model:
    """What the file's `build` returns, checked. TrainingError, one line, with the line of the file that failed."""
    module = _run(path, lambda: _load(path))
    build = getattr(module, "build", None)
    if not callable(build):
        raise _wrong(path, "no function build")
    model = _run(path, lambda: build(info.shape, info.classes))
    _check(model, path, info)
    if _run(path, lambda: _gives_probabilities(model, info.shape)):
        raise _wrong(path, "probabilities, rows that sum to one: leave the softmax out, the export adds it")
    _run(path, lambda: keras.saving.serialize_keras_object(model))  # not first at the export, when all is trained
    if model.compiled:
        _log.info(
            "NOTE: %s compiles its model: the job's hyperparameters choose the optimizer, its loss is %s.", path, _LOSS
        )
    return model


def _load(path: Path) -> ModuleType:
    """Files beside it can be imported from it."""
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    assert spec and spec.loader
    module = sys.modules[_MODULE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(path: Path, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except SyntaxError as error:
        raise TrainingError(f"{error.filename} can't be read, line {error.lineno}: {error.msg}.") from error
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f", line {frames[-1].lineno}" if frames else ""
        message = textwrap.shorten(str(error), _MAX_MESSAGE, placeholder=" …")
        raise TrainingError(f"{path}{where}: {type(error).__name__}: {message}") from error


def _check(model: Any, path: Path, info: ImageDatasetInfo) -> None:
    if not isinstance(model, keras.Model):
        raise _wrong(path, f"a {type(model).__name__}")
    if not model.built or not getattr(model, "inputs", None):
        raise _wrong(path, "a model without an input: begin it with keras.Input(shape, dtype='uint8')")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise _wrong(path, f"{len(model.inputs)} inputs and {len(model.outputs)} outputs")
    _check_input_and_output(model, path, info)
    for method in ("train_step", "compute_loss"):
        if getattr(type(model), method) is not getattr(keras.Model, method):
            advice = f"is not called, as the job's loss is {_LOSS}: leave it out, or train with a script of your own"
            raise _wrong(path, f"a model with a {method} of its own, which {advice}")
    if not model.trainable_variables:
        raise _wrong(path, "a model without a weight to train: trainable is False, or it has none")
    paths = [variable.path for variable in model.variables if variable.name != "seed_generator_state"]
    twice = sorted({name for name in paths if paths.count(name) > 1})
    if twice:
        raise _wrong(path, f"two variables of the name {twice[0]}: name the layers apart")


def _check_input_and_output(model: keras.Model, path: Path, info: ImageDatasetInfo) -> None:
    (image,), (logits,) = model.inputs, model.outputs
    if image.dtype != "uint8":
        raise _wrong(path, f"an input of {image.dtype}: begin with keras.Input(shape, dtype='uint8') and a Rescaling")
    if tuple(image.shape) != (None, *info.shape):
        raise _wrong(path, f"an input of shape {image.shape} for pictures of {info.shape}")
    if tuple(logits.shape) != (None, len(info.classes)):
        raise _wrong(path, f"an output of shape {logits.shape} for {len(info.classes)} classes")
    if logits.dtype != "float32":
        raise _wrong(path, f"an output of {logits.dtype}: give the last layer dtype='float32', whatever the precision")
    if not isinstance(output := model.compute_output_spec(image), keras.KerasTensor):
        raise _wrong(
            path, f"an output in a {type(output).__name__}: give the logits alone, keras.Model(inputs, logits)"
        )
    if (last := _last_operation(model)) in _PROBABILITIES:
        raise _wrong(path, f"probabilities: leave the {last} out, the export adds the softmax")


def _last_operation(model: keras.Model) -> str:
    """The name of what gives the output, such as softmax: an activation, a layer or one of keras.ops, however deep."""
    operation: Any = model
    while isinstance(operation, keras.Model) and getattr(operation, "outputs", None):
        operation = operation.outputs[0]._keras_history.operation
    activation = getattr(operation, "activation", None)
    return getattr(activation, "__name__", type(operation).__name__).lower()


def _gives_probabilities(model: keras.Model, shape: tuple[int, int, int]) -> bool:
    """Whether rows of a batch sum to one: a softmax that can't be seen from outside, in a layer of the user's own."""
    pictures = np.random.default_rng(0).integers(0, 256, (_PROBE, *shape), np.uint8)
    rows = np.asarray(model(pictures, training=False))
    return bool((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-4))


def _wrong(path: Path, received: str) -> TrainingError:
    return TrainingError(f"{path} has no model that can be trained. Received: {received}. Expected: {_CONTRACT}.")
