"""Safetensors files gone wrong: bits flipped, headers rewritten, numbers that no moments can be."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

from .mutation import changed, flipped, nested, torn

_NUMBERS = (
    *(struct.pack("<f", x) for x in (1e38, -1e38, 1e10, 1e-45, float("inf"), float("nan"), -1.0)),
    *(struct.pack("<d", x) for x in (1e300, -1e300, 1e20, float("inf"), float("nan"), -1.0)),
    *(struct.pack("<i", x) for x in (2**31 - 1, -1, 0, 1_000_000)),
    *(struct.pack("<q", x) for x in (2**63 - 1, 2**31, 65_535, 65_536, -1)),
)


def damaged(whole: bytes, key: str, rng: random.Random) -> bytes:
    """A damaged copy of the file `whole`.

    key: of the header's entry that holds JSON.
    """
    return rng.choice(_WAYS)(whole, key, rng)


def _header_bits(whole: bytes, key: str, rng: random.Random) -> bytes:
    return flipped(whole, rng, 0, 8 + _length(whole))


def _body_bits(whole: bytes, key: str, rng: random.Random) -> bytes:
    return flipped(whole, rng, 8 + _length(whole))


def _body_numbers(whole: bytes, key: str, rng: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 8))):
        number = rng.choice(_NUMBERS)
        at = rng.randrange(8 + _length(whole), len(whole) - len(number) + 1, 4)
        data[at : at + len(number)] = number
    return bytes(data)


def _bytes(whole: bytes, key: str, rng: random.Random) -> bytes:
    return torn(whole, rng)


def _written_text(whole: bytes, key: str, rng: random.Random) -> bytes:
    """Our JSON with one to three of its values changed."""

    def change(header: dict) -> dict:
        inner = changed(json.loads(header["__metadata__"][key]), rng)
        return {**header, "__metadata__": {key: json.dumps(inner)}}

    return _rewritten(whole, change)


def _tensors_table(whole: bytes, key: str, rng: random.Random) -> bytes:
    """The file's own header with one to three of its values changed."""
    return _rewritten(whole, lambda header: changed(header, rng))


def _deep(whole: bytes, key: str, rng: random.Random) -> bytes:
    """Brackets without end, in our JSON or in the file's own."""
    nest = nested(rng)
    if rng.random() < 0.5:
        return len(nest).to_bytes(8, "little") + nest.encode() + whole[8 + _length(whole) :]
    return _rewritten(whole, lambda header: {**header, "__metadata__": {key: nest}})


_WAYS = (_header_bits, _header_bits, _body_bits, _body_numbers, _bytes, _written_text,
         _written_text, _tensors_table, _deep)  # fmt: skip


def _length(whole: bytes) -> int:
    return int.from_bytes(whole[:8], "little")


def _rewritten(whole: bytes, change: Callable[[dict], Any]) -> bytes:
    start = 8 + _length(whole)
    header = json.dumps(change(json.loads(whole[8:start]))).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + whole[start:]
