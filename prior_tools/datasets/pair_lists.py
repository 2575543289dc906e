"""Pairs that a file lists: an image and its label a line."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import PriorError
from ..text_file import read_text
from .layout import Found
from .names import composed, path_in
from .pairs import Check, Pair, Unpaired
from .two_folders import palette_of_folder

# MB: a million lines.
_MOST = 256

_HEADINGS = (
    {"image", "images", "img", "image_path", "filename"},
    {"label", "labels", "mask", "masks", "annotation", "label_path", "mask_path"},
)


def find_listed(path: Path, root: Path, check: Check | None = None) -> Found:
    """The pairs of a list, in the order of their names.

    A line is an image and its label, with a tab, a comma or spaces between them; # begins a
    comment. Paths are relative to `root`, also those that begin with a slash, or absolute. A pair's
    name is the image's path below the folder that all of them have in common, without suffix.

    Raises PriorError with the line if it is none, if a file is not there, or if two images have
    one name; and if there is no list.
    """
    what = f"list {path.name}"
    if not path.is_file():
        raise PriorError(f"there is no list {path}; expected a file of two columns")
    rows: list[tuple[Path, Path]] = []
    for number, columns in _rows(read_text(path, "list", _MOST), what):
        place = f"{what}, line {number}"
        if len(columns) != 2:
            raise PriorError(
                f"{place} has {len(columns)} columns; expected an image and its label, with a tab "
                "or a comma between them if names hold spaces"
            )
        if not rows and all(
            column.strip().lower() in names
            for column, names in zip(columns, _HEADINGS, strict=True)
        ):
            continue
        image, label = (_file(root, column.strip(), place, check) for column in columns)
        rows.append((image, label))
    if not rows:
        raise PriorError(f"{what} lists no pairs; expected lines of an image and its label")
    pairs = _named(rows, what)
    return Found(pairs, Unpaired((), ()), palette_of_folder(root, check), "ids or colors")


def _rows(text: str, what: str) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if "\t" in line:
            yield number, line.strip().split("\t")
        elif "," in line:
            try:
                yield number, next(csv.reader([line], skipinitialspace=True))
            except csv.Error as error:
                raise PriorError(f"{what}, line {number}: {error}") from error
        else:
            yield number, line.split()


def _file(root: Path, name: str, place: str, check: Check | None) -> Path:
    path = _found(root, name) if name else None
    if path is None:
        raise PriorError(f"{place}: there is no file {name!r:.200} in {root}")
    if check:
        check(name, str(path))
    return path


def _found(root: Path, name: str) -> Path | None:
    try:
        # Lists of Caffe's begin each path with a slash, and mean the root.
        inside = path_in(root, name.lstrip("/\\"))
        return next((path for path in (inside, Path(name)) if path.is_file()), None)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise


def _named(rows: list[tuple[Path, Path]], what: str) -> list[Pair]:
    paths = [composed(os.path.abspath(image)) for image, _ in rows]  # noqa: PTH100
    common = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    named: dict[str, Pair] = {}
    for path, (image, label) in zip(paths, rows, strict=True):
        name = os.path.relpath(path, common).replace(os.sep, "/").rpartition(".")[0]
        pair = Pair(name, image, label)
        if (other := named.setdefault(name, pair)) is not pair:
            raise PriorError(
                f"{what} has two images named {name!r}: {other.image.name} and {image.name}; "
                "expected each image once"
            )
    return [named[name] for name in sorted(named)]
