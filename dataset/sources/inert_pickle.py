"""What a pickle of CIFAR-10 holds, read without running anything that it names.

`pickle` calls what a pickle names, and with numpy's own classes a damaged or malicious dtype crashes the interpreter.
So the few opcodes that batches consist of are interpreted here: a name stays a name, an array is the parts of its state
until `to_pixels` has checked them. Anything else is refused.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_OPCODES = 1_000_000  # a batch has some 40,000; each may cost a hundred bytes of memory
_PLAIN = ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


@dataclass(frozen=True)
class _Name:
    """Something that the pickle would have called."""

    module: str
    name: str


class _Built:
    """What a call in the pickle stands for: its arguments, and the state that it got afterwards."""

    def __init__(self, function: _Name, arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments, self.state = function, arguments, ()


_DTYPE, _ENCODE = _Name("numpy", "dtype"), _Name("_codecs", "encode")
_ARRAYS = (_Name("numpy.core.multiarray", "_reconstruct"), _Name("numpy._core.multiarray", "_reconstruct"))
_KNOWN = (_DTYPE, _ENCODE, *_ARRAYS, _Name("numpy", "ndarray"))


def to_pixels(value: Any, width: int) -> NDArray[np.uint8] | None:
    """The array of uint8 [n, width] that the value stands for; None for anything else."""
    if not isinstance(value, _Built) or value.function not in _ARRAYS:
        return None
    match value.state:
        case (int(), (int(rows), int(columns)), _Built() as dtype, bool(fortran), bytes(data)):
            is_uint8 = dtype.function == _DTYPE and dtype.arguments[:1] in (("u1",), (b"u1",))
            if is_uint8 and columns == width and rows >= 0 and rows * columns == len(data):
                return np.frombuffer(data, np.uint8).reshape((rows, columns), order="F" if fortran else "C")
    return None


def load(data: bytes) -> Any:
    """Numbers, texts, lists, tuples and dictionaries as they are; a text of Python 2 is bytes. ValueError, or what else
    Python raises where the opcodes make no sense."""
    machine = _Machine(len(data))
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count == _MOST_OPCODES:
            raise ValueError(f"it has more than {_MOST_OPCODES:,} opcodes")
        machine.step(opcode.name, argument)
    return machine.stack.pop()


class _Machine:
    """The stack of a pickle, its marks and its memo. `size`: bytes that texts may be encoded to in all."""

    def __init__(self, size: int) -> None:
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._left = size

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _PLAIN:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        elif opcode not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"it has the opcode {opcode}, which no batch of CIFAR-10 has")

    def mark(self) -> None:
        self._marks.append(len(self.stack))

    def pop(self, count: int | None = None) -> list[Any]:
        """The last `count` items, or those since the last mark."""
        start = self._marks.pop() if count is None else len(self.stack) - count
        if start < 0:
            raise ValueError("its stack is empty")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def memoize(self, place: int | None) -> None:
        self._memo[len(self._memo) if place is None else place] = self.stack[-1]

    def recall(self, place: int) -> None:
        self.stack.append(self._memo[place])

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("it appends to what is no list")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        # a key of other types is hashed, and hashing a deep tuple overflows the interpreter's stack
        if not isinstance(self.stack[-1], dict) or not all(isinstance(key, bytes | str) for key in items[::2]):
            raise ValueError("it sets what is no item of a dictionary")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def name(self, module: str, name: str) -> None:
        if (found := _Name(module, name)) not in _KNOWN:
            raise ValueError(f"it names {module}.{name}, which no batch of CIFAR-10 does")
        self.stack.append(found)

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise ValueError("it calls what is no function")
        self.stack.append(self._encode(*arguments) if function == _ENCODE else _Built(function, arguments))

    def set_state(self, target: Any, state: Any) -> None:
        if not isinstance(target, _Built):
            raise ValueError("it gives a state to what has none")
        target.state = state
        self.stack.append(target)

    def _encode(self, text: str, encoding: str | bytes) -> bytes:
        """How protocol 2 spells bytes when Python 3 writes it: codecs.encode(text, "latin1")."""
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise ValueError("it encodes what is no text in latin1")
        self._left -= len(text)
        if self._left < 0:
            raise ValueError("it encodes more than it has")
        return text.encode("latin1")


_STEPS: dict[str, Callable[[_Machine, Any], object]] = {
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), lambda m, text: m.stack.append(text.encode("latin1"))),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.memoize),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "MARK": lambda m, _: m.mark(),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop())),
    "TUPLE1": lambda m, _: m.stack.append(tuple(m.pop(1))),
    "TUPLE2": lambda m, _: m.stack.append(tuple(m.pop(2))),
    "TUPLE3": lambda m, _: m.stack.append(tuple(m.pop(3))),
    "APPEND": lambda m, _: m.extend(m.pop(1)),
    "APPENDS": lambda m, _: m.extend(m.pop()),
    "SETITEM": lambda m, _: m.update(m.pop(2)),
    "SETITEMS": lambda m, _: m.update(m.pop()),
    "GLOBAL": lambda m, names: m.name(*names.split(" ")),
    "STACK_GLOBAL": lambda m, _: m.name(*m.pop(2)),
    "REDUCE": lambda m, _: m.call(*m.pop(2)),
    "BUILD": lambda m, _: m.set_state(*m.pop(2)),
}
