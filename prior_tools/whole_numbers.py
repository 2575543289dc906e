"""Counts, sizes and ids as a script gives them: whole numbers of any type, numpy's too.

All functions raise PriorError, which says what was given. Python's own conversion would take 7.9
for 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Any

from .errors import PriorError

# Pixels per latent cell and side; the coarsest of known VAEs.
MAX_DOWNSCALE_FACTOR = 128


def whole(value: Any, what: str, least: int, most: int | None = None) -> int:
    """A whole number in least..most; `what` it is called in an error."""
    expected = f"at least {least}" if most is None else f"{least}..{most}"
    try:
        number = index(value)
    except TypeError:
        raise PriorError(f"{what} is {value!r}; expected a whole number, {expected}") from None
    if number < least or (most is not None and number > most):
        raise PriorError(f"{what} is {number}; expected {expected}")
    return number


def two_sides(value: Any, what: str, meaning: str) -> tuple[int, int]:
    """Two whole numbers above 0; `meaning` says of what, such as "(h, w) in latent cells"."""
    try:
        first, second = (index(side) for side in value)
        fits = min(first, second) >= 1
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise PriorError(f"{what} is {value!r}; expected {meaning}, at least 1 each")
    return first, second


def whole_numbers(values: Iterable[Any], what: str, least: int, most: int) -> tuple[int, ...]:
    """Whole numbers in least..most; `what` one is called in an error."""
    try:
        given = tuple(values)
    except TypeError:
        raise PriorError(f"{values!r} is given; expected several of: {what}") from None
    return tuple(whole(value, what, least, most) for value in given)


def check_downscale_factor(value: Any) -> int:
    """The pixels per latent cell and side that are given."""
    return whole(value, "downscale_factor", 1, MAX_DOWNSCALE_FACTOR)
