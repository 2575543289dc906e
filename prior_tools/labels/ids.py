"""Class ids: how large they may be, and lists of them as a person writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import Tensor

from ..errors import PriorError

# Ids are -1 (unknown) to this one, so that tables with an entry for each id stay small.
MAX_CLASS_ID = 65535

_ID = re.compile(r"\d{1,5}", re.ASCII)
_ENTRY = re.compile(r"(-1|\d{1,5})(?:-(\d{1,5}))?=(-1|\d{1,5})", re.ASCII)


def check_integers(labels: Tensor) -> None:
    """Raise PriorError for labels of floats, which would be cut to ids."""
    if labels.is_floating_point() or labels.is_complex():
        raise PriorError(f"labels are {labels.dtype}; expected integer class ids, -1 = unknown")


def parse_ids(text: str, what: str) -> tuple[int, ...]:
    """`0, 255`: class ids; none for "none" or an empty text.

    what: what the text is called in errors. Raises PriorError for anything else.
    """
    entries = [] if text.strip().lower() == "none" else _entries(text)
    if not all(_ID.fullmatch(entry) for entry in entries):
        raise PriorError(f"{what} is {text.strip()!r}; expected class ids such as 0,255, or none")
    ids = tuple(int(entry) for entry in entries)
    _check_largest(max(ids, default=0), what)
    return ids


def is_id_map(text: str) -> bool:
    """Whether all of the text is entries OLD=NEW."""
    return all(_ENTRY.fullmatch(entry) for entry in _entries(text))


def parse_id_map(text: str, what: str) -> dict[int, int]:
    """`0=1, 182-255=-1`: class id -> new id, -1 to drop it; `0-149=1` shifts a range.

    what: what the text is called in errors. Raises PriorError for anything else, for a class named
    twice, and for no entries.
    """
    return id_map_of(((what, entry) for entry in _entries(text)), what)


def id_map_of(entries: Iterable[tuple[str, str]], what: str) -> dict[int, int]:
    """As `parse_id_map`, of (what to call its place in errors, entry): ("line 3", "0=1")."""
    mapped: dict[int, int] = {}
    for place, entry in entries:
        match = _ENTRY.fullmatch(entry)
        if not match:
            raise PriorError(f"{place} holds {entry[:40]!r}; expected OLD=NEW or FIRST-LAST=NEW")
        first, last, new = int(match[1]), int(match[2] or match[1]), int(match[3])
        if last < first:
            raise PriorError(f"{place} holds {entry!r}, a range that ends before it starts")
        _check_largest(max(last, new if new == -1 else new + last - first), place)
        for old in range(first, last + 1):
            if old in mapped:
                raise PriorError(f"{place} names class id {old} twice; expected once")
            mapped[old] = new if new == -1 else new + old - first
    if not mapped:
        raise PriorError(f"{what} holds no entries; expected OLD=NEW")
    return mapped


def _check_largest(class_id: int, what: str) -> None:
    if class_id > MAX_CLASS_ID:
        raise PriorError(f"{what} names class id {class_id}; expected 0..{MAX_CLASS_ID}")


def _entries(text: str) -> list[str]:
    return text.replace(",", " ").split()
