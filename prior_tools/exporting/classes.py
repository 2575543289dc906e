"""Class ids of the label maps' palette, and what they are in a form's own numbering."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import PriorError, listing
from ..labels.class_matching import described, matching_classes, parse_changes
from ..labels.id_maps import ID_MAPS, get_id_map
from ..labels.ids import MAX_CLASS_ID, is_id_map, parse_id_map
from ..labels.palettes import Palette
from ..text_file import named_file, read_text


@dataclass(frozen=True)
class Classes:
    """How class ids are written.

    Attributes:
        partners: class id of the palette -> that of the form; a class that has none is written as
            void.
        names: class id of the form -> name, of all that it has.
        void: what the form writes where there is no class.
        palette: of the label maps.
        target: of the form; None where it takes over the palette's.
    """

    partners: Mapping[int, int]
    names: Mapping[int, str]
    void: int
    palette: Palette
    target: Palette | None

    def check(self, present: Iterable[int], form: str, silent: Iterable[int] = ()) -> None:
        """Raise PriorError if classes that occur have no place in the form.

        silent: ids that need none: ignored ones, and those that an id map drops.
        """
        quiet = {*silent}
        lacking = sorted(i for i in present if i not in self.partners and i not in quiet)
        if not lacking or self.target is None:
            return
        names = listing([described(i, self.palette) for i in lacking], 20)
        near = matching_classes(self.palette, self.target)
        hint = ",".join(
            f"{_spelled(i, self.palette)}="
            + (_spelled(near[i], self.target) if i in near else "none")
            for i in lacking[:20]
        )
        raise PriorError(
            f"form {form} has no class for {names}; say by --id-map what they are in it, by names "
            f"or ids, such as --id-map {hint!r}"
        )

    def written(self, ids: Tensor) -> np.ndarray:
        """Ids int64 [...] of the palette, -1 = none, in the form's numbering."""
        most = max([int(ids.max()), *self.partners, 0])
        table = torch.full((most + 2,), self.void)
        for class_id, other in self.partners.items():
            table[class_id] = other
        # The last entry is that of -1.
        table[-1] = self.void
        found: np.ndarray = table[ids].numpy()
        return found


def classes_of(
    palette: Palette,
    target: Palette | None,
    void: int | None,
    shift: int,
    keeps_ignored: bool,
    text: str | None,
) -> tuple[Classes, frozenset[int]]:
    """How a palette's classes are written in a form, and which of them an id map drops.

    Args:
        target: classes of the form, which are those of the same names; None takes over the
            palette's, with `shift` added to each id.
        void: what the form writes where there is no class; None for an id that the palette
            ignores, or that is free.
        keeps_ignored: whether classes that the palette ignores are taken over.
        text: CLASS=CLASS by names or ids, entries or a file of --id-map; NEW is the form's.

    Raises PriorError for classes that one of the palettes lacks, and maps that are none.
    """
    if target is None:
        ids = {*range(256)} if palette.is_grey else {*palette.colors, *palette.names}
        if not keeps_ignored:
            ids -= {*palette.ignore_ids}
        void = _free(palette) if void is None else void
        partners = {i: i + shift for i in sorted(ids) if i + shift != void}
        names = {other: palette.names.get(i, "") for i, other in partners.items()}
        return Classes(partners, names, void, palette, None), frozenset()
    assert void is not None, "a form with classes of its own says what void is"
    partners = _of_same_name(palette, target)
    changes = {} if text is None else _changes(text, palette, target)
    for class_id, other in changes.items():
        partners.pop(class_id, None)
        if other is not None:
            partners[class_id] = other
    dropped = frozenset(i for i, other in changes.items() if other is None)
    return Classes(partners, dict(target.names), void, palette, target), dropped


def _of_same_name(palette: Palette, target: Palette) -> dict[int, int]:
    """Only classes of one name: what else means the same is for a person to say."""
    if palette.is_grey:
        return {i: i for i in range(256) if target.holds(i)}
    there = {_plain(name): i for i, name in target.names.items() if target.holds(i)}
    return {i: there[_plain(n)] for i, n in palette.names.items() if _plain(n) in there}


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("-", " ").replace("_", " ").split())


def _changes(text: str, palette: Palette, target: Palette) -> Mapping[int, int | None]:
    if text.strip() in ID_MAPS:
        raise PriorError(
            f"--id-map {text.strip()} is of values in label files, but the label maps have palette "
            f"'{palette.name}' and the form another: say which class of the palette is which of "
            f"the form, such as CLASS=CLASS by names or ids, or give --palette {target.name} with "
            "a map from values in the files to its ids"
        )
    path = None if is_id_map(text) else named_file(text)
    if path is None and not is_id_map(text) and "=" not in text:
        raise PriorError(
            f"--id-map is {text!r:.200}, and there is no such file; expected CLASS=CLASS or "
            "CLASS=none by names or ids, or a file of such lines"
        )
    entries = text if path is None else read_text(path, "--id-map")
    if not is_id_map(entries) and _holds_names(entries):
        return parse_changes(re.sub("#.*", "", entries), palette, target, "--id-map")
    given = parse_id_map(entries, "--id-map") if is_id_map(entries) else get_id_map(text)
    strange = sorted({new for new in given.values() if new != -1 and not target.holds(new)})
    if strange:
        raise PriorError(
            f"--id-map names class ids {listing([str(i) for i in strange])} of the form, which has "
            f"none of them; it counts as palette '{target.name}'"
        )
    return {old: None if new == -1 else new for old, new in given.items()}


def _holds_names(entries: str) -> bool:
    """Whether entries name classes by letters; JSON is of ids."""
    plain = re.sub("#.*", "", entries).strip()
    return plain[:1] not in ("{", "[") and any(c.isalpha() for c in plain.replace("none", ""))


def _free(palette: Palette) -> int:
    """An id that the palette ignores, best 255; or that it does not have."""
    if palette.ignore_ids:
        return 255 if 255 in palette.ignore_ids else min(palette.ignore_ids)
    return MAX_CLASS_ID if palette.holds(255) else 255


def _spelled(class_id: int, palette: Palette) -> str:
    return palette.names.get(class_id) or str(class_id)
