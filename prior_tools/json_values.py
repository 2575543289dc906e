"""Values out of a file's JSON, taken only as what they should be.

All functions raise ValueError, which says what was found. Python's own conversions would take 7.9
for 7, and a list for its text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable
from reprlib import repr as short_repr
from typing import Any, TypeVar

T = TypeVar("T")

# Copying, comparing and showing a value go down into it, and Python into itself only so far.
_DEEPEST = 100


def parsed(text: str | bytes, constants: bool = False) -> Any:
    """The value that a JSON text describes, at most 100 tables and lists deep.

    Of a name that a table holds twice Python would take the last, whatever was meant.

    constants: whether NaN and Infinity are numbers.
    """
    try:
        value = json.loads(
            text,
            parse_constant=None if constants else _refused,
            object_pairs_hook=_each_once,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def table(value: object, names: Iterable[str], what: str) -> dict[str, Any]:
    """A dict with exactly these names."""
    found: dict[str, Any] = _of_kind(value, dict, what)
    odd = sorted(found.keys() ^ set(names))
    if odd:
        raise ValueError(f"{what} lacks, or should not hold, {short_repr(odd)}")
    return found


def integer(value: object, least: int, most: int, what: str) -> int:
    """A whole number in least..most."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} is {short_repr(value)}, expected {least}..{most}")
    return value


def number(value: object, what: str) -> float:
    """A finite number."""
    if type(value) not in (int, float) or not abs(value) < math.inf:  # type: ignore[arg-type]
        raise ValueError(f"{what} is {short_repr(value)}, expected a number")
    return float(value)  # type: ignore[arg-type]


def text(value: object, what: str) -> str:
    """A text that can be shown: half of a surrogate pair becomes a question mark."""
    found: str = _of_kind(value, str, what)
    return found.encode(errors="replace").decode()


def items(value: object, what: str) -> list[Any]:
    """A list."""
    found: list[Any] = _of_kind(value, list, what)
    return found


def by_id(
    value: object, take: Callable[[Any, str], T], what: str, ids: Collection[int] | None = None
) -> dict[int, T]:
    """A dict from whole numbers, among `ids` if given, to what `take(value, what)` takes."""
    found = {}
    for key, entry in _of_kind(value, dict, what).items():
        number = int(key)
        if str(number) != key or (ids is not None and number not in ids):
            raise ValueError(f"{what} holds {short_repr(key)}, which is no class id")
        found[number] = take(entry, what)
    return found


def _of_kind(value: object, kind: type[Any], what: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{what} is {short_repr(value)}, expected {_KINDS[kind]}")
    return value


_KINDS: dict[type[Any], str] = {dict: "a table", list: "a list", str: "a text"}


def _inside(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _each_once(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in entries:
        if name in found:
            raise ValueError(f"it holds {short_repr(name)} twice")
        found[name] = value
    return found


def _refused(constant: str) -> float:
    raise ValueError(f"it holds {constant}")
