"""What trainings gave, as cells of tables to read and as plain data to keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..evaluation.intervals import DRAWS, LEVEL
from .figures import OverSeeds, iou, miou
from .run import Mixture

_NOTHING = 5e-7


@dataclass(frozen=True)
class Row:
    """Figures of one mixture.

    Attributes:
        mixture: what the nets were trained on.
        miou: on the held-out images.
        classes: class id -> IoU, of the classes that these hold.
        more: mIoU less that of the real images alone, paired by seed and image; None for these.
        more_by_class: the same of each class.
        than_first: mIoU less that of the first generated set, alone or with real images as here;
            None for it and for the real images.
    """

    mixture: Mixture
    miou: OverSeeds
    classes: Mapping[int, OverSeeds]
    more: OverSeeds | None
    more_by_class: Mapping[int, OverSeeds]
    than_first: OverSeeds | None


def make_rows(
    mixtures: Sequence[Mixture],
    counts: Sequence[Sequence[Tensor]],
    names: Sequence[str],
    classes: Sequence[int],
    draws: int = DRAWS,
) -> list[Row]:
    """Figures of all mixtures, the first of which is the real images alone.

    Args:
        counts: int64 [N, 3, K] of each mixture and seed.
        names: of the held-out images.
        classes: K class ids.
        draws: of the bootstrap.
    """
    present = counts[0][0].sum(0)[1].nonzero().flatten().tolist()
    rows: list[Row] = []
    first_of: dict[str, OverSeeds] = {}
    for mixture, found in zip(mixtures, counts, strict=True):
        whole = miou(found, names, draws)
        each = {classes[index]: iou(index, found, names, draws) for index in present}
        first = rows[0] if rows else None
        more = None if first is None else whole - first.miou
        by_class = {} if first is None else {i: each[i] - first.classes[i] for i in each}
        than_first = whole - first_of[mixture.kind] if mixture.kind in first_of else None
        first_of.setdefault(mixture.kind, whole)
        rows.append(Row(mixture, whole, each, more, by_class, than_first))
    return rows


def table_of_rows(rows: Sequence[Row]) -> list[list[str]]:
    """The cells of a table: a heading, then a line for each mixture; IoU in percent."""
    names = list(dict.fromkeys(row.mixture.name for row in rows if row.mixture.name))
    cells = [["", "trained on", "images", "mIoU", "95% interval", "less real alone", "verdict"]]
    if len(names) > 1:
        cells[0] += [f"less {names[0]}", "verdict"]
    for number, row in enumerate(rows, 1):
        images = " + ".join(str(len(part)) for part in row.mixture.parts)
        line = [str(number), row.mixture.title, images, _percent(row.miou.value), _ends(row.miou)]
        for difference in (row.more, row.than_first)[: len(names)]:
            shown = "-" if difference is None else _with_half(difference, "+")
            line += [shown, _in_words(difference)]
        cells.append(line)
    return cells


def table_of_classes(
    rows: Sequence[Row], names: Mapping[int, str], pixels: Mapping[int, float]
) -> list[list[str]]:
    """IoU of each class in percent with half of its interval, a column for each mixture.

    pixels: share of each class of the held-out labels.
    """
    cells = [["class", "pixels", *(str(n) for n in range(1, len(rows) + 1))]]
    for class_id in rows[0].classes:
        title = f"{class_id} {names.get(class_id, '')}".strip()
        shown = [_with_half(row.classes[class_id]) for row in rows]
        cells.append([title, f"{pixels[class_id]:.1%}", *shown])
    return cells


def rows_as_json(rows: Sequence[Row], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """All figures as plain data; IoU as a fraction."""
    return [
        {
            "trained_on": row.mixture.title,
            "kind": row.mixture.kind,
            "generated": row.mixture.name or None,
            "images": [len(part) for part in row.mixture.parts],
            "miou": _as_json(row.miou),
            "less_real_alone": None if row.more is None else _as_json(row.more),
            "so_it_is": None if row.more is None else _in_words(row.more),
            "less_first_generated": None if row.than_first is None else _as_json(row.than_first),
            "classes": [
                {
                    "id": class_id,
                    "name": names.get(class_id, ""),
                    "iou": _as_json(found),
                    "less_real_alone": (
                        _as_json(row.more_by_class[class_id]) if row.more_by_class else None
                    ),
                }
                for class_id, found in row.classes.items()
            ],
        }
        for row in rows
    ]


def _as_json(figure: OverSeeds) -> dict[str, Any]:
    interval = figure.interval
    return {
        "value": figure.value if math.isfinite(figure.value) else None,
        "interval": [interval.low, interval.high] if interval else None,
        "level": LEVEL,
        "by_seed": figure.by_seed,
        "method": figure.method,
    }


def _percent(value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f}"


def _ends(figure: OverSeeds) -> str:
    interval = figure.interval
    return f"{_percent(interval.low)} to {_percent(interval.high)}" if interval else "-"


def _with_half(figure: OverSeeds, sign: str = "") -> str:
    interval = figure.interval
    half = f" ± {_percent(interval.half)}" if interval else ""
    return f"{_percent(figure.value, sign)}{half}"


def _in_words(difference: OverSeeds | None) -> str:
    """What a difference says, where its interval leaves out zero."""
    if difference is None:
        return "-"
    interval = difference.interval
    if interval is None:
        return "not clear"
    if max(abs(interval.low), abs(interval.high)) < _NOTHING:
        return "equal"
    if interval.low > 0:
        return "better"
    return "worse" if interval.high < 0 else "not clear"
