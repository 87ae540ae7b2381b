"""Steps compiled by XLA: one kernel where TensorFlow starts dozens. On a GPU a small network waits for little else.

On a processor they are slower than TensorFlow's own (`python -m benchmarks gpu`).
"""

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf

from train.errors import TrainingError

_log = logging.getLogger(__name__)

_UNSUPPORTED = "unsupported operations"  # what XLA says of operations that it has no kernels for


class CompiledStep(Protocol):
    """A tf.function with an input signature. The first of its inputs is images, or a list of them, one a batch."""

    def __call__(self, *inputs: Any) -> Any: ...

    def get_concrete_function(self) -> object: ...


def compile_step(function: Callable[..., Any], signature: Sequence[Any], batch_size: int, mode: str) -> CompiledStep:
    """`mode` "off": by TensorFlow alone. "on": by XLA; TrainingError at its first step if it can't. "auto": as "on", or
    without XLA where it can't.

    `signature`, of lists or TensorSpecs, leaves the number of images open; `batch_size` is that of whole batches.
    """
    plain = tf.function(function, input_signature=signature)
    return plain if mode == "off" else _XlaStep(function, plain, signature, batch_size, mode)


class _XlaStep:
    """XLA compiles for one shape: whole batches. The smaller one at an epoch's end is TensorFlow's: to compile it as
    well takes seconds and saves milliseconds."""

    def __init__(
        self,
        function: Callable[..., Any],
        plain: CompiledStep,
        signature: Sequence[Any],
        batch_size: int,
        mode: str,
    ) -> None:
        self._plain, self._batch_size, self._mode, self._tried = plain, batch_size, mode, False
        whole = tf.nest.map_structure(lambda spec: _at_size(spec, batch_size), list(signature))
        self._xla: CompiledStep = tf.function(function, input_signature=whole, jit_compile=True)

    def __call__(self, *inputs: Any) -> Any:
        if int(tf.nest.flatten(inputs[0])[0].shape[0]) != self._batch_size:
            return self._plain(*inputs)
        if self._tried:
            return self._xla(*inputs)
        try:
            result = self._xla(*inputs)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if _UNSUPPORTED not in str(error):
                raise
            self._do_without(error)
            return self._plain(*inputs)
        self._tried = True
        return result

    def get_concrete_function(self) -> object:
        return self._xla.get_concrete_function()

    def _do_without(self, error: tf.errors.OpError) -> None:
        """Nothing has run yet: XLA refuses a step before it starts."""
        operations = ", ".join(sorted(set(re.findall(r"(\w+) \(No registered", str(error))))) or "an operation"
        if self._mode == "on":
            raise TrainingError(
                f"XLA can't compile the model: it has no {operations}. Received: jit on. Expected: auto or off."
            ) from error
        _log.info("XLA has no %s, which the model needs: it is trained without XLA", operations)
        self._xla, self._tried = self._plain, True


def _at_size(spec: tf.TensorSpec, batch_size: int) -> tf.TensorSpec:
    return tf.TensorSpec([batch_size if side is None else side for side in spec.shape], spec.dtype)
