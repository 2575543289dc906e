"""What is in a folder and around it, to say where a dataset may be meant."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import PriorError, listing


def check_root(root: Path) -> None:
    """Raise PriorError for a dataset's folder that is none."""
    if root.is_file():
        raise PriorError(f"{root} is a file; unpack it if it is an archive, and give the folder")
    if not root.is_dir():
        raise PriorError(f"the folder {root} does not exist; give the folder of the dataset")


def near(root: Path, fits: Callable[[Path], bool]) -> Path | None:
    """The folder that was meant, if it is one level below `root` or up to three above."""
    whole = root.resolve()
    around = [root / name for name in subfolders(root)] + list(whole.parents[:3])
    return next((folder for folder in around if fits(folder)), None)


def holds(folder: Path) -> str:
    """What is in a folder, in words."""
    names = [f"{name}/" if is_dir else name for name, is_dir in _entries(folder)]
    return f"{folder} holds {listing(names)}" if names else f"{folder} is empty"


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted."""
    return [name for name, is_dir in _entries(folder) if is_dir]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link in a circle: for those to tell who come to read it.
        return False


def _entries(folder: Path) -> Iterator[tuple[str, bool]]:
    """(name, whether it is a folder), sorted, without hidden ones and macOS's copies."""
    with os.scandir(folder) as entries:
        found = sorted((entry.name, _is_folder(entry)) for entry in entries)
    return ((name, is_dir) for name, is_dir in found if name[0] != "." and name != "__MACOSX")
