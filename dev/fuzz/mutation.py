"""How inputs go wrong: by bits, by stretches of bytes, by values of a JSON document."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

# What a place of a document may hold instead of what belongs there.
VALUES = (
    None, True, False, -1, 0, 1, 2, 7.5, -0.0, 1e308, 2**31, 2**63, -(2**63) - 1, 10**30, 20_000,
    float("inf"), float("-inf"), float("nan"), "", "0", "-1", "Infinity", "\ud800", "\x00",
    [], [[]], [1], [-1, 2], [0, 0], [20_000, 20_000], [1, 2, 3], [None, None], ["a", "b"],
    "F8_E8M0", "F4", "C64", "BOOL", [0, 2**63], [0, 2**40], "é" * 99, "a" * 300, "../a",
    {}, {"0": 0}, {"-1": "a"}, {"a": [1, 2, 3]}, {"99999": [0, 0, 0]},
)  # fmt: skip


def flipped(data: bytes, rng: random.Random, start: int = 0, end: int | None = None) -> bytes:
    """One to eight bits of a stretch the other way round."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(start, len(data) if end is None else end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def torn(data: bytes, rng: random.Random) -> bytes:
    """Cut off, grown, or with a part lost, doubled or overwritten."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    part = rng.choice(
        (b"", data[start:end] * 2, rng.randbytes(min(end - start, 64)), b"\x00" * (end - start))
    )
    return rng.choice((data[:end], data + part, data[:start] + part + data[end:]))


def nested(rng: random.Random) -> str:
    """Brackets without end, or a document that is deep."""
    start, end = rng.choice((("[", "]"), ("{", "}"), ('{"a":', "}"), ('{"0": [', "]}")))
    depth = rng.choice((1, 90, 300, 900, 100_000))
    return start * depth + rng.choice(("", "1" + end * depth))


def changed(document: Any, rng: random.Random) -> Any:
    """A copy of JSON data with one to three of its values changed."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 2, 3))):
        holders = list(_holders(document))
        if not holders:
            break
        # Of the tables, not of the values: small tables hold what matters.
        holder = rng.choice(holders)
        place = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        match rng.randrange(6):
            case 0:
                del holder[place]
            case 1 if isinstance(holder, dict):
                holder[rng.choice(("", "-1", "1e3", "007", place.upper()))] = holder.pop(place)
            case 2 if isinstance(holder[place], int):
                holder[place] += rng.choice((-1, 1, 1000, -1000, 2**32))
            case 3 if isinstance(holder[place], list):
                holder[place] = holder[place] * rng.choice((0, 2, 100))
            case 4 if rng.random() < 0.1:
                holder[place] = json.loads("[" * 300 + "]" * 300)
            case _:
                holder[place] = copy.deepcopy(rng.choice(VALUES))
    return document


def _holders(value: Any) -> Iterator[Any]:
    """All tables and lists inside that are not empty."""
    if isinstance(value, dict | list) and value:
        yield value
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _holders(entry)
