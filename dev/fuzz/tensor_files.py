"""Safetensors files gone wrong: priors and checkpoints with bits flipped and headers rewritten."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# What a place of a header may hold instead of what belongs there.
VALUES = (
    None, True, False, -1, 0, 1, 2, 7.5, -0.0, 1e308, 2**31, 2**63, -(2**63) - 1, 10**30, 20_000,
    float("inf"), float("-inf"), float("nan"), "", "0", "-1", "Infinity", "\ud800", "\x00",
    [], [[]], [1], [-1, 2], [0, 0], [20_000, 20_000], [1, 2, 3], [None, None], ["a", "b"],
    "F8_E8M0", "F4", "C64", "BOOL", [0, 2**63], [0, 2**40], "é" * 99,
    {}, {"0": 0}, {"-1": "a"}, {"a": [1, 2, 3]}, {"99999": [0, 0, 0]},
)  # fmt: skip


def damaged_files(whole: bytes, key: str, seeds: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """(seed, a damaged copy of the file `whole`) for each seed, the same in every run.

    key: of the header's entry that holds JSON.
    """
    for seed in seeds:
        rng = random.Random(seed)
        yield seed, rng.choice(WAYS)(whole, key, rng)


def _header_bits(whole: bytes, key: str, rng: random.Random) -> bytes:
    return _flipped(whole, 0, 8 + _length(whole), rng)


def _body_bits(whole: bytes, key: str, rng: random.Random) -> bytes:
    return _flipped(whole, 8 + _length(whole), len(whole), rng)


def _bytes(whole: bytes, key: str, rng: random.Random) -> bytes:
    """Cut off, grown, or with a part lost, doubled or overwritten."""
    start, end = sorted(rng.randrange(len(whole) + 1) for _ in range(2))
    part = rng.choice(
        (b"", whole[start:end] * 2, rng.randbytes(min(end - start, 64)), b"\x00" * (end - start))
    )
    return rng.choice((whole[:end], whole + part, whole[:start] + part + whole[end:]))


def _written_text(whole: bytes, key: str, rng: random.Random) -> bytes:
    """Our JSON with one to three of its values changed."""

    def change(header: dict) -> dict:
        inner = json.loads(header["__metadata__"][key])
        inner = _changed(inner, rng)
        return {**header, "__metadata__": {key: json.dumps(inner)}}

    return _rewritten(whole, change)


def _tensors_table(whole: bytes, key: str, rng: random.Random) -> bytes:
    """The file's own header with one to three of its values changed."""
    return _rewritten(whole, lambda header: _changed(header, rng))


def _deep(whole: bytes, key: str, rng: random.Random) -> bytes:
    """Brackets without end, in our JSON or in the file's own."""
    nest = rng.choice("[{") * rng.choice((1, 1000, 100_000))
    if rng.random() < 0.5:
        return len(nest).to_bytes(8, "little") + nest.encode() + whole[8 + _length(whole) :]
    return _rewritten(whole, lambda header: {**header, "__metadata__": {key: nest}})


WAYS = (_header_bits, _header_bits, _body_bits, _bytes, _written_text, _written_text,
        _tensors_table, _deep)  # fmt: skip


def _length(whole: bytes) -> int:
    return int.from_bytes(whole[:8], "little")


def _flipped(whole: bytes, start: int, end: int, rng: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _rewritten(whole: bytes, change: Callable[[dict], Any]) -> bytes:
    start = 8 + _length(whole)
    header = json.dumps(change(json.loads(whole[8:start]))).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + whole[start:]


def _changed(value: Any, rng: random.Random) -> Any:
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        holders = list(_holders(value))
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
            case _:
                holder[place] = copy.deepcopy(rng.choice(VALUES))
    return value


def _holders(value: Any) -> Iterator[Any]:
    """All tables and lists inside that are not empty."""
    if isinstance(value, dict | list) and value:
        yield value
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _holders(entry)
