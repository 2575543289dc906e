"""Files of class names that options name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import PriorError
from ..json_values import parsed
from ..json_values import text as shown
from ..labels.ids import MAX_CLASS_ID
from ..text_file import read_text


def read_class_names(path: Path, option: str) -> dict[int, str]:
    """Class names from a JSON object {id: name} or list, or from lines of 'ID NAME' or 'ID: NAME'.

    Raises PriorError if the file holds something else, an id twice or one outside 0..65535;
    OSError if it cannot be read.
    """
    text = read_text(path, option)
    try:
        entries = list(_json_entries(text) if path.suffix.lower() == ".json" else _lines(text))
    except ValueError as error:
        raise PriorError(
            f"{option} {path.name} is no list of class names ({error}); expected lines such as "
            '\'3 road\', or JSON such as {"3": "road"}'
        ) from error
    names: dict[int, str] = {}
    for class_id, name in entries:
        if not 0 <= class_id <= MAX_CLASS_ID:
            raise PriorError(
                f"{option} {path.name} names class id {class_id}; expected 0..{MAX_CLASS_ID}"
            )
        if names.setdefault(class_id, name) != name:
            raise PriorError(
                f"{option} {path.name} names class id {class_id} twice, {names[class_id]!r} and "
                f"{name!r}; remove one"
            )
    if not names:
        raise PriorError(f"{option} {path.name} holds no class names")
    return names


def _json_entries(text: str) -> Iterable[tuple[int, str]]:
    data = parsed(text)
    if not isinstance(data, (dict, list)):
        raise ValueError(f"it holds {data!r:.40}")
    for class_id, name in data.items() if isinstance(data, dict) else enumerate(data):
        if not isinstance(name, str):
            raise ValueError(f"the name of {class_id} is {name!r:.40}")
        yield int(class_id), shown(name, "a name").strip()


def _lines(text: str) -> Iterable[tuple[int, str]]:
    for line in filter(str.strip, text.splitlines()):
        class_id, *name = line.replace(":", " ", 1).split(None, 1)
        if not name:
            raise ValueError(f"there is no name in {line.strip()!r:.40}")
        yield int(class_id), name[0].strip()
