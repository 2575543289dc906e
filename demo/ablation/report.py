"""Writes the ablation's tables, plot and picture grid into docs/ablation.md and its pictures.

What stands between `<!-- NAME -->` and `<!-- end NAME -->` is replaced; the reading around it is
written by hand and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from demo.ablation.measuring import ASTRAY, Measured, Value
from demo.panels import compose
from prior_tools.atomic import write_bytes

FIGURES = {"FID": 1, "KID": 1, "mIoU": 3, "pixel accuracy": 3, ASTRAY: 2, "diversity": 2}
TITLES = {"KID": "KID x 1000", ASTRAY: "astray, %"}


def table(measured: Sequence[Measured], seconds: dict[str, float]) -> str:
    """A row's figures ± half of their 95% intervals, and differences to the baseline in brackets.

    Differences whose interval leaves out 0 are bold. `seconds` an image are by `Row.cost`.
    """
    shown = [name for name in FIGURES if any(name in m.figures for m in measured)]
    rows = [["start", *(TITLES.get(name, name) for name in shown), "N", "s / image"]]
    for m in measured:
        cells = [_cell(m, name) for name in shown]
        rows.append([m.row.name, *cells, _images(m), f"{seconds[m.row.cost]:.2f}"])
    return _markdown(rows)


def bounds_table(bounds: dict[str, dict[str, Value]]) -> str:
    """Figures that have no start: what is judged, a row each."""
    shown = [name for name in FIGURES if any(name in figures for figures in bounds.values())]
    rows = [["images", *(TITLES.get(x, x) for x in shown)]]
    for name, figures in bounds.items():
        rows.append([name, *(_value(figures.get(x), FIGURES[x]) for x in shown)])
    return _markdown(rows)


def leaks_table(leaks: Sequence[tuple[str, dict[str, float]]]) -> str:
    """Plain numbers, a row each; see `demo.ablation.bounds.leaks`."""
    columns = list(leaks[0][1])
    rows = [["", *columns]]
    rows += [[name, *(f"{row[x]:.3g}" for x in columns)] for name, row in leaks]
    return _markdown(rows)


def _images(m: Measured) -> str:
    maps, per_map = m.row.maps, m.row.per_map
    return f"{maps} x {per_map}" if per_map > 1 else f"{maps}"


def _cell(m: Measured, name: str) -> str:
    if name not in m.figures:
        return ""
    digits = FIGURES[name]
    text = _value(m.figures[name], digits)
    if name in m.against:
        text += f" ({_difference(m.against[name], digits)})"
    return text


def _value(value: Value | None, digits: int) -> str:
    if value is None:
        return ""
    text = f"{value.value:.{digits}f}"
    return text if value.half is None else f"{text} ± {value.half:.{digits}f}"


def _difference(value: Value, digits: int) -> str:
    text = f"{value.value:+.{digits}f}"
    if value.interval is None:
        return text
    clear = value.interval.low > 0 or value.interval.high < 0
    text += f" ± {value.half:.{digits}f}"
    return f"**{text}**" if clear else text


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    heading, *others = rows
    lines = [heading, ["---"] * len(heading), *others]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def without_marks(document: Path, names: Iterable[str]) -> list[str]:
    """The parts for which a document has no place."""
    text = document.read_text(encoding="utf-8")
    return [name for name in names if not _marks(name).search(text)]


def _marks(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)


def fill(document: Path, parts: dict[str, str]) -> None:
    """Put the parts where their marks stand; KeyError if a mark is missing."""
    if missing := without_marks(document, parts):
        raise KeyError(f"{document.name} has no marks for {', '.join(missing)}")
    text = document.read_text(encoding="utf-8")
    for name, part in parts.items():
        marks = _marks(name)
        text = marks.sub(lambda found, part=part: f"{found[1]}{part}\n{found[2]}", text)
    write_bytes(document, text.encode())


def plot_curve(curves: dict[str, list[tuple[float, Value]]], figure: str, path: Path) -> None:
    """A figure against mu with its intervals, a line a start, as PNG or SVG by the suffix."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    canvas, axes = pyplot.subplots(figsize=(6.4, 3.8), constrained_layout=True)
    for name, points in curves.items():
        points = sorted(points, key=lambda point: point[0])
        mus = [mu for mu, _ in points]
        values = [value.value for _, value in points]
        halves = [value.half or 0.0 for _, value in points]
        axes.errorbar(mus, values, halves, marker="o", capsize=3, label=name)
    axes.set_xlabel("mu (start at mu T)")
    axes.set_ylabel(TITLES.get(figure, figure))
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.savefig(path, dpi=130)
    pyplot.close(canvas)


def save_grid(
    columns: Sequence[tuple[str, np.ndarray]], footer: str, path: Path, quality: int = 88
) -> None:
    """Pictures uint8 [rows, H, W, 3] under captions, side by side, as JPEG."""
    rows = len(columns[0][1])
    sheet = [
        [(caption if i == 0 else "", pictures[i], "") for caption, pictures in columns]
        for i in range(rows)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(compose(sheet, footer)).save(path, quality=quality)
