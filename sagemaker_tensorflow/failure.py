"""An operation that fails with tf.errors.InternalError and a text of ours, inside a graph.

A Python function in a graph can't: whatever it raises becomes UnknownError or InvalidArgumentError, with a traceback
for a text. TensorFlow's C interface for operations can, and needs no compiler: these are calls into the library that
the process has loaded already.
"""

import ctypes
import functools
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_library

_OPERATION = b"PipeModeFailure"
_INTERNAL = 13  # TF_INTERNAL of tensorflow/c/tf_status.h
_POINTER = ctypes.c_void_p
_Shape = ctypes.CFUNCTYPE(None, _POINTER, _POINTER)
_Compute = ctypes.CFUNCTYPE(None, _POINTER, _POINTER)


def fail(text: tf.Tensor) -> tf.Operation:
    """An operation of the graph being built that raises InternalError; `text` is UTF-8 as (n,) uint8."""
    _register()
    return op_def_library.apply_op(_OPERATION.decode(), text=text)


@functools.cache
def _register() -> None:
    """Define the operation and its kernel. Once a process: TensorFlow keeps both for good."""
    builder = _call("TF_NewOpDefinitionBuilder", _OPERATION, returns=_POINTER)
    _call("TF_OpDefinitionBuilderAddInput", _POINTER(builder), b"text: uint8")
    _call("TF_OpDefinitionBuilderSetIsStateful", _POINTER(builder), ctypes.c_bool(True))  # so it is never removed
    _call("TF_OpDefinitionBuilderSetShapeInferenceFunction", _POINTER(builder), _no_shape)
    _call_checked("TF_RegisterOpDefinition", _POINTER(builder))
    kernel = _call("TF_NewKernelBuilder", _OPERATION, b"CPU", None, _compute, None, returns=_POINTER)
    _call_checked("TF_RegisterKernelBuilder", _OPERATION, _POINTER(kernel))


@_Shape  # type: ignore[untyped-decorator]  # of ctypes
def _no_shape(_context: int, _status: int) -> None:
    """There is no output whose shape to infer."""


@_Compute  # type: ignore[untyped-decorator]  # of ctypes
def _compute(_kernel: int, context: int) -> None:
    status, tensor = _POINTER(_call("TF_NewStatus", returns=_POINTER)), _POINTER()
    _call("TF_GetInput", _POINTER(context), ctypes.c_int(0), ctypes.byref(tensor), status)
    size = _call("TF_TensorByteSize", tensor, returns=ctypes.c_size_t)
    text = ctypes.string_at(_call("TF_TensorData", tensor, returns=_POINTER), size)
    _call("TF_DeleteTensor", tensor)
    _call("TF_SetStatus", status, ctypes.c_int(_INTERNAL), text)
    _call("TF_OpKernelContext_Failure", _POINTER(context), status)
    _call("TF_DeleteStatus", status)


def _call_checked(name: str, *arguments: object) -> None:
    """Call with a TF_Status as last argument; RuntimeError with its text unless it is OK."""
    status = _POINTER(_call("TF_NewStatus", returns=_POINTER))
    _call(name, *arguments, status)
    code, text = _call("TF_GetCode", status, returns=ctypes.c_int), _call("TF_Message", status, returns=ctypes.c_char_p)
    _call("TF_DeleteStatus", status)
    if code:
        raise RuntimeError(f"{name}: {text.decode()}. Expected: TensorFlow 2.21.")


def _call(name: str, *arguments: object, returns: type | None = None) -> Any:
    function = _library()[name]  # a new object each time: `restype` is this call's own
    function.restype = returns
    return function(*arguments)


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(str(Path(tf.sysconfig.get_lib()) / "libtensorflow_framework.so.2"))
