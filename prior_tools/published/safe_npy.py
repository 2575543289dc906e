"""Object arrays in .npy files, read as data: nothing that a file names is ever called.

numpy stores a dict as a pickle, and a pickle may ask for any function to be run. The few
instructions that numpy itself writes for a dict of arrays are followed here one by one; the only
names they may hold are those of numpy's array constructor and its two types, and even these stand
for plain records of this module.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pickletools import genops
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from ..errors import PriorError

# A joint file of 256 classes on a 128x128 grid takes 150 MB.
MAX_BYTES = 2**30
# A categorical file of 256 classes takes 13,000 instructions.
_MAX_INSTRUCTIONS = 100_000
_MAX_DIMENSIONS = 8

_NAMES = {
    "numpy.core.multiarray _reconstruct": "_reconstruct",
    "numpy._core.multiarray _reconstruct": "_reconstruct",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
}


def read_npy_object(path: Path | str) -> Any:
    """What a 0-dimensional object array holds: str, int and dicts of them and of number arrays.

    Memory stays within a small multiple of the file's size, whatever the file claims.

    Raises:
        PriorError: the file is something else, cut short, larger than MAX_BYTES, or made to run
            code, which does not happen.
        OSError: it cannot be read.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise PriorError(f"{path} is not a file; expected a .npy file")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise PriorError(
            f"{path.name} has {size} bytes; a file of published statistics has at most {MAX_BYTES}"
        )
    try:
        # Read whole: a read from memory stops at the end, while one from a file would first make
        # room for as many bytes as the file claims to have.
        stream = BytesIO(path.read_bytes())
        _check_header(stream)
        return _content(_follow(stream))
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        SyntaxError,
        TokenError,
        RecursionError,
    ) as error:
        reason = str(error) if isinstance(error, _Refused) else "it is damaged or cut short"
        raise PriorError(
            f"{path.name} is refused and nothing in it was run: {reason}. Expected a .npy file as "
            "the published toolkit writes it; copy it again, and use files from people you trust"
        ) from error


class _Refused(ValueError):
    """Something in a file that does not belong there; the text says what."""


@dataclass(frozen=True)
class _Name:
    """One of the names of _NAMES; standing for it, not able to do what it does."""

    name: str


@dataclass
class _Dtype:
    """A dtype as the file describes it."""

    code: str
    byte_order: str = "="


@dataclass
class _Array:
    """An array: its numbers, or the list of objects of an object array."""

    content: np.ndarray | list[Any] | None = None


def _check_header(stream: BytesIO) -> None:
    version = npy_format.read_magic(stream)
    if version != (1, 0):
        raise _Refused(f"its format is {version}, not (1, 0)")
    try:
        shape, _, dtype = npy_format.read_array_header_1_0(stream)
    except MemoryError:
        # Of Python's parser, whose stack is full: numpy hands it at most 10,000 letters.
        raise _Refused("its header is nested too deeply") from None
    if shape != () or dtype != np.dtype(object):
        raise _Refused(f"it holds {dtype} of shape {shape}, not one object of shape ()")


def _follow(stream: BytesIO) -> object:
    """The object that the instructions of a pickle describe."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def take(count: int) -> list[Any]:
        if count > len(stack):
            raise _Refused("its instructions do not fit together")
        items = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return items

    def take_marked() -> list[Any]:
        return take(len(stack) - marks.pop())

    # An instruction that is followed by an argument has one, of its own kind.
    argument: Any
    # genops checks every length against what the file really holds.
    for done, (instruction, argument, _) in enumerate(genops(stream)):
        if done == _MAX_INSTRUCTIONS:
            raise _Refused(f"it has more than {_MAX_INSTRUCTIONS} instructions")
        match instruction.name:
            case "PROTO" | "FRAME":
                pass
            case "BININT" | "BININT1" | "BININT2" | "BINUNICODE" | "SHORT_BINUNICODE":
                stack.append(argument)
            case "BINBYTES" | "SHORT_BINBYTES":
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(instruction.name == "NEWTRUE")
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(take(int(instruction.name[-1]))))
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(take_marked()))
            case "APPEND" | "APPENDS":
                items = take(1) if instruction.name == "APPEND" else take_marked()
                _of(stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = take(2) if instruction.name == "SETITEM" else take_marked()
                for key, value in zip(items[::2], items[1::2], strict=True):
                    # Hashing a deep nest of tuples would overflow the stack.
                    if type(key) not in (int, str):
                        raise _Refused("a dict has a key that is neither a number nor text")
                    _of(stack[-1], dict)[key] = value
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(_name(argument))
            case "STACK_GLOBAL":
                module, name = take(2)
                stack.append(_name(f"{_of(module, str)} {_of(name, str)}"))
            case "REDUCE":
                stack.append(_make(*take(2)))
            case "BUILD":
                (state,) = take(1)
                _fill(stack[-1], state)
            case "STOP":
                return stack.pop()
            case other:
                raise _Refused(f"it holds the instruction {other}, which arrays do not need")
    raise _Refused("it ends early")


def _of(value: object, kind: type) -> Any:
    if type(value) is not kind:
        raise _Refused("its instructions do not fit together")
    return value


def _name(full: str) -> _Name:
    if full not in _NAMES:
        raise _Refused(f"it names {full[:80].replace(' ', '.', 1)!r}, which arrays do not need")
    return _Name(_NAMES[full])


def _make(what: object, arguments: object) -> _Array | _Dtype:
    match what, arguments:
        case _Name("_reconstruct"), (_Name("ndarray"), (0,), bytes()):
            return _Array()
        case _Name("dtype"), (str(code), _, _):
            return _Dtype(code)
    raise _Refused("it makes something else than an array")


def _fill(target: object, state: object) -> None:
    """Give a new array or dtype its content, as numpy's own __setstate__ would."""
    match target, state:
        case _Dtype(), (3, "<" | ">" | "|" | "=" as byte_order, *_):
            target.byte_order = byte_order
        case _Array(), (1, (), _Dtype("O8" | "O4" | "O"), bool(), list(content)):
            target.content = content
        case _Array(), (1, tuple(shape), _Dtype() as dtype, bool(fortran), bytes(content)):
            target.content = _numbers(shape, dtype, fortran, content)
        case _:
            raise _Refused("it describes something else than an array of numbers")


def _numbers(shape: tuple[Any, ...], dtype: _Dtype, fortran: bool, content: bytes) -> np.ndarray:
    if not re.fullmatch("[fiu][1248]", dtype.code):
        raise _Refused(f"an array is of type {dtype.code[:20]!r}, not of numbers")
    kind = np.dtype(dtype.byte_order + dtype.code)
    if len(shape) > _MAX_DIMENSIONS or any(type(side) is not int or side < 1 for side in shape):
        raise _Refused("an array has a shape that none can have")
    if math.prod(shape) * kind.itemsize != len(content):
        raise _Refused(f"an array of shape {shape} has {len(content)} bytes of {kind.name}")
    return np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C")


def _content(value: object) -> Any:
    """The one object of the outermost array, with arrays in place of their records."""
    if not (isinstance(value, _Array) and isinstance(value.content, list)):
        raise _Refused("it holds no object array")
    if len(value.content) != 1:
        raise _Refused(f"its array has {len(value.content)} objects, not 1")
    return _plain(value.content[0], depth=3)


def _plain(value: object, depth: int) -> Any:
    if isinstance(value, _Array) and isinstance(value.content, np.ndarray):
        return value.content
    if isinstance(value, dict) and depth > 0:
        return {key: _plain(entry, depth - 1) for key, entry in value.items()}
    if type(value) in (int, str):
        return value
    raise _Refused("it holds something else than dicts of arrays")
