"""Values out of a file's JSON, taken only as what they should be.

All functions raise ValueError, which says what was found. Python's own conversions would take 7.9
for 7, and a list for its text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from reprlib import repr as short_repr
from typing import Any, TypeVar

T = TypeVar("T")


def parsed(text: str) -> Any:
    """The value that a JSON text describes; NaN and Infinity are none."""
    try:
        return json.loads(text, parse_constant=_refused)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


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


def _refused(constant: str) -> float:
    raise ValueError(f"it holds {constant}")
