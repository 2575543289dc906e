"""Class ids of label files that count otherwise than the palette: maps of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from ..errors import PriorError
from ..json_values import parsed
from ..text_file import named_file, read_text
from .ids import id_map_of, is_id_map, parse_id_map
from .tables import CITYSCAPES_EVALUATED

# Official label id -> trainId; 255 is ignored. -1, of licence plates, is 255 in a file of 8 bits.
# An id that Cityscapes does not have is not listed, so that wrong files are noticed.
CITYSCAPES_TRAIN_IDS: Mapping[int, int] = dict.fromkeys((-1, *range(34), 255), 255) | {
    label_id: train_id for train_id, label_id in enumerate(CITYSCAPES_EVALUATED)
}

# What of them no trainId is.
_LABEL_IDS_ONLY = range(19, 34)

# Files in which 0 means no class and classes count from 1, for a palette that counts from 0, and
# the way back. The ignored 255 stays what it is on the way down, as where segmenters reduce labels,
# and is the 0 that it came from on the way up.
_DOWN = {0: -1} | {i: i - 1 for i in range(1, 255)}
_UP = {i: i + 1 for i in range(255)} | {255: 0}

ID_MAPS: Mapping[str, Mapping[int, int]] = {
    "cityscapes_labelids_to_trainids": CITYSCAPES_TRAIN_IDS,
    "shifted_down_by_one": _DOWN,
    "shifted_up_by_one": _UP,
}
"""Maps that have a name: id in the file -> id of the palette, -1 for no class."""

# A line of two columns, as tables are written.
_COLUMNS = re.compile(r"([-\d]+)(?:\s*[,;]\s*|\s+|\s*->\s*)(-?\d+)", re.ASCII)
_HEADING = re.compile(r"[^\W\d][^,;=]*[,;][^,;=]*")


def are_label_ids(ids: Collection[int], palette: str) -> bool:
    """Whether ids in files that are read by a palette of trainIds must be Cityscapes' labelIds."""
    return (
        palette in ("cityscapes", "bdd100k")
        and any(i in _LABEL_IDS_ONLY for i in ids)
        and all(i in CITYSCAPES_TRAIN_IDS for i in ids)
    )


def get_id_map(text: str, what: str = "--id-map") -> dict[int, int]:
    """Class id in label files -> class id of the palette, -1 for no class.

    Args:
        text: a name of ID_MAPS, entries such as "0=-1,1-150=0" (see `parse_id_map`), or the path of
            a file: lines of "OLD NEW", "OLD,NEW" or OLD=NEW, where # starts a comment and ranges
            are shifted, or JSON such as {"0": -1, "1-150": 0} or [[0, -1], [1, 0]].
        what: what it is called in errors.

    Raises PriorError for anything else, a class that is named twice, and no entries; OSError for a
    file that cannot be read.
    """
    if text.strip() in ID_MAPS:
        return dict(ID_MAPS[text.strip()])
    if is_id_map(text):
        return parse_id_map(text, what)
    path = named_file(text)
    if path is None:
        raise PriorError(
            f"{what} is {text[:80]!r}; expected entries OLD=NEW such as 0=1,182-255=-1, a file of "
            f"them, or one of {', '.join(ID_MAPS)}"
        )
    return _parsed_file(read_text(path, what), f"{what} {path.name}")


def _parsed_file(text: str, what: str) -> dict[int, int]:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return id_map_of(((what, entry) for entry in _json_entries(text)), what)
        except PriorError:
            raise
        except ValueError as error:
            raise PriorError(
                f'{what} is no JSON of ids ({error}); expected such as {{"0": -1, "1-150": 0}}'
            ) from error
    return id_map_of(_line_entries(text, what), what)


def _json_entries(text: str) -> Iterator[str]:
    data = parsed(text)
    pairs = data.items() if isinstance(data, dict) else data
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"it holds {pair!r:.40}")
        old, new = pair
        if type(new) is not int or type(old) not in (int, str):
            raise ValueError(f"it holds {old!r:.40}: {new!r:.40}")
        yield f"{old}={new}"


def _line_entries(text: str, what: str) -> Iterator[tuple[str, str]]:
    """(place, entry) of lines with two columns or with entries OLD=NEW."""
    first = True
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        # Only the first line may be the names of the columns.
        heading, first = first and _HEADING.fullmatch(line), False
        if heading:
            continue
        place = f"{what}, line {number}"
        if columns := _COLUMNS.fullmatch(line):
            yield place, f"{columns[1]}={columns[2]}"
        else:
            for entry in re.sub(r"\s*=\s*", "=", line).replace(",", " ").split():
                yield place, entry
