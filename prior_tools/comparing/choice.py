"""Which label maps a quick comparison takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def choose(names: Iterable[str], most: int) -> list[str]:
    """`most` of the names in alphabetical order, or all if there are no more.

    Those whose SHA-256 is least: spread over the folder whatever its order, the same each time,
    and of a larger choice the smaller is a part.
    """
    return sorted(sorted(names, key=_digest)[:most])


def _digest(name: str) -> bytes:
    # Names of files may hold bytes that are no text.
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()
