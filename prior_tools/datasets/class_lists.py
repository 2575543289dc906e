"""Lists of classes that lie beside single label maps, as labelme's json_to_dataset writes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import PriorError
from ..text_file import read_text
from .pairs import Check, Pair

_LABELS = "label.png"
_NAMES = "label_names.txt"


def check_class_lists(pairs: Iterable[Pair], check: Check | None) -> None:
    """Raise PriorError where label maps lie beside lists of classes that are not all the same.

    Each of these folders counts classes by itself, so that an id may be another class in each.
    """
    first: tuple[Path, list[str]] | None = None
    for pair in pairs:
        if pair.label.name != _LABELS:
            continue
        path = pair.label.with_name(_NAMES)
        if not path.is_file():
            continue
        if check:
            check(path.name, str(path))
        names = read_text(path, "list of classes").split("\n")
        names = [name.strip() for name in names if name.strip()]
        if first is None:
            first = path, names
        elif names != first[1]:
            raise PriorError(
                f"{_NAMES} of {path.parent.name} lists other classes than that of "
                f"{first[0].parent.name}, so an id is not the same class in both; write the label "
                "maps with one list of classes, as labelme2voc --labels does"
            )
