"""How long the name of a file may be, and names that are made to fit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from .errors import PriorError

_MOST_OF_A_NAME = 255


def check_names(folder: Path, files: Iterable[str]) -> None:
    """Raise PriorError for the first image whose name is too long, before it has been made.

    folder: of the images; it need not be there yet.
    files: paths inside it, "/" between their parts.
    """
    most = _most_of_a_name(folder)
    for file in files:
        for part in file.split("/"):
            if (size := _size(part)) > most:
                raise PriorError(
                    f"image {file} of --out {folder} would have a name of {size} bytes, and there "
                    f"is room for {most}; shorten the name of its label map or folder"
                )


def path_beside(path: Path, ending: str) -> Path:
    """`path` with `ending` added; where its name has no room for that, always the same other one.

    That one has the name's beginning and a digest of all of it, so that two names do not meet.
    """
    most = _most_of_a_name(path.parent)
    if _size(path.name + ending) <= most:
        return path.with_name(path.name + ending)
    digest = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:16]
    kept, ending = path.name, f".{digest}{ending}"
    while kept and _size(kept + ending) > most:
        kept = kept[:-1]
    return path.with_name(kept + ending)


def _most_of_a_name(folder: Path) -> int:
    """In the file system of a folder, or of the one in which it will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        most = os.pathconf(there, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        # Windows, or a file system that does not tell.
        return _MOST_OF_A_NAME
    return most if most > 0 else _MOST_OF_A_NAME


def _size(name: str) -> int:
    """Windows counts in UTF-16."""
    if os.name == "nt":
        return len(name.encode("utf-16-le", errors="surrogatepass")) // 2
    return len(os.fsencode(name))
