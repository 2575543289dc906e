"""Names of files: one form for letters that have several, and a word where two names look alike."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

# Ends the names of mirrored label maps, which have no files of their own, and of their images.
MIRRORED = "_mirrored"


def composed(name: str) -> str:
    """The name with each letter and its accents as one character (Unicode's form NFC).

    macOS takes names apart (NFD), most others keep them together; both look the same.
    """
    return unicodedata.normalize("NFC", name)


def path_in(folder: Path, name: str) -> Path:
    """`folder / name`, in the form that is there if only the form of its letters differs."""
    forms = (folder / form for form in (name, composed(name), unicodedata.normalize("NFD", name)))
    return next((path for path in forms if path.exists()), folder / name)


def look_alikes(names: Iterable[str], others: Iterable[str]) -> str:
    """Says which of two sets of differing names cannot be told apart by eye; "" if none.

    Such are names with another kind of space, or with characters that do not show.
    """
    seen = {_look(name): name for name in names}
    pairs = [(seen[_look(other)], other) for other in others if _look(other) in seen]
    if not pairs:
        return ""
    name, other = pairs[0]
    rest = f" (and {len(pairs) - 1} more)" if len(pairs) > 1 else ""
    return f"{name!a} and {other!a} look alike but are different characters{rest}"


def _look(name: str) -> str:
    shown = unicodedata.normalize("NFKC", name)
    return " ".join("".join(c for c in shown if unicodedata.category(c) != "Cf").split())
