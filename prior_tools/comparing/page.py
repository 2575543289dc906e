"""The report: one HTML file with its pictures inside, without scripts, that asks no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import median

from PIL import Image

from ..errors import counted
from .gains import Gain
from .strips import COLUMNS, Strip, jpeg
from .verdicts import HEADING, MEANINGS, Verdicts

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 68rem; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
p, li, dd { max-width: 46rem; }
.faint { color: #666; }
.answer { background: #eef3f8; border-left: 4px solid #2b6ca3; padding: .8rem 1rem; }
table { border-collapse: collapse; margin: .8rem 0; }
th, td { padding: .35rem .8rem; text-align: left; vertical-align: top;
         border-bottom: 1px solid #ddd; }
.figures td:nth-child(n+2):nth-child(-n+4), .figures th:nth-child(n+2):nth-child(-n+4),
.figures td:last-child, .figures th:last-child { text-align: right; white-space: nowrap; }
.figures .missing td:nth-child(n+1) { text-align: left; white-space: normal; color: #666; }
.better { color: #1d6b3a; font-weight: 600; } .worse { color: #a33a12; font-weight: 600; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin-left: 0; }
.strip { display: grid; grid-template-columns: repeat(4, 1fr); gap: .5rem; margin-bottom: 1rem; }
.strip p { grid-column: 1 / -1; margin: .4rem 0 0; }
.strip figure { margin: 0; }
.strip img { width: 100%; display: block; }
.strip figcaption { font-size: .85rem; color: #666; }
.none { background: #eee; color: #666; aspect-ratio: 2; display: grid; place-items: center; }
svg { width: 100%; height: 11rem; display: block; }
.settings th { font-weight: 600; white-space: nowrap; }
.settings td { overflow-wrap: anywhere; }
"""
_PLOT_WIDTH, _PLOT_HEIGHT = 1000.0, 160.0


@dataclass(frozen=True)
class Report:
    """What the page tells.

    Attributes:
        title: of the comparison, such as the workflow's name; date: in words.
        counts: on how many label maps and seeds, in a sentence or two.
        change: what alone differs between the two starts, in a sentence.
        summary: the answer in a line.
        rows: of the table, see `verdicts.table`; skipped: figure -> why it is missing.
        verdicts: the same in words.
        groups: heading and strips of each part of the contact sheet; chosen: how they were.
        gains: of all label maps, the greatest first; none without a segmenter.
        warnings: of what is to be kept in mind.
        notes: how each figure was found.
        settings: name -> value.
    """

    title: str
    date: str
    counts: str
    change: str
    summary: str
    rows: Sequence[Sequence[str]]
    skipped: Mapping[str, str]
    verdicts: Verdicts
    groups: Sequence[tuple[str, Sequence[Strip]]]
    chosen: str
    gains: Sequence[Gain]
    warnings: Sequence[str]
    notes: Sequence[str]
    settings: Mapping[str, str]


def html_page(report: Report) -> str:
    """The whole file."""
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        # Whatever a name in it may hold, nothing is loaded and nothing runs.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Two starts compared: {_text(report.title)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        "<h1>Does the prior's start help?</h1>",
        f'<p class="faint">{_text(report.title)}, {_text(report.date)}</p>',
        f'<p class="answer">{_text(report.summary)}</p>',
        _what_was_compared(report),
        _figures(report),
        _list("What is clear", report.verdicts.clear),
        _list("What is not clear", report.verdicts.unclear),
        _list("Keep in mind", report.warnings),
        _meanings(report.rows),
        _all_gains(report.gains),
        _sheet(report),
        _list("How each figure was found", report.notes),
        _settings(report.settings),
        "</body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _what_was_compared(report: Report) -> str:
    return "\n".join(
        [
            "<h2>What was compared</h2>",
            "<p>A diffusion model makes an image out of noise, here so that it follows a label map "
            "(a picture that says what is to be where: road, tree, sky). The <b>stock start</b> is "
            "plain noise. The <b>prior's start</b> (SCP-Diff) is noise around what a dataset's "
            "images look like on average, for every class and place of the label map. All else is "
            "the same: models, prompts, label maps, settings, and seeds, the numbers that random "
            f"noise is made from. {_text(report.change)} Mode says what of the prior is looked up, "
            "and mu how much noise sampling begins with: 1 is all of it.</p>",
            f"<p>{_text(report.counts)}</p>",
        ]
    )


def _figures(report: Report) -> str:
    lines = ["<h2>Figures</h2>", '<table class="figures">', _row("th", HEADING)]
    for row in report.rows:
        word = f'<td class="{_text(row[4].split()[0])}">{_text(row[4])}</td>'
        cells = [f"<td>{_text(cell)}</td>" for cell in row]
        lines.append(f"<tr>{''.join([*cells[:4], word, cells[5]])}</tr>")
    for name, why in report.skipped.items():
        lines.append(
            f'<tr class="missing"><td>{_text(name)}</td><td colspan="5">not measured: '
            f"{_text(why)}</td></tr>"
        )
    lines += [
        "</table>",
        '<p class="faint">± is half of a 95% interval: how much the value might differ with other '
        "label maps of the same kind. The difference (prior's start less stock start) is taken "
        "label map by label map, so what is hard or easy in one cancels, and its interval is "
        "mostly narrower than those of the two values. It is called clear where its interval "
        "leaves out zero.</p>",
    ]
    return "\n".join(lines)


def _meanings(rows: Sequence[Sequence[str]]) -> str:
    known = [row[0] for row in rows if row[0] in MEANINGS]
    terms = [f"<dt>{_text(name)}</dt><dd>{_text(MEANINGS[name])}</dd>" for name in known]
    return "\n".join(["<h2>What the figures mean</h2>", "<dl>", *terms, "</dl>"]) if terms else ""


def _all_gains(gains: Sequence[Gain]) -> str:
    """A bar for each label map."""
    if not gains:
        return ""
    up = sum(gain.value > 0 for gain in gains)
    down = sum(gain.value < 0 for gain in gains)
    middle = median(gain.value for gain in gains)
    text = (
        f"Of {counted(len(gains), 'label map')} {up} gained and {down} lost; the one in the "
        f"middle changed by {middle:+.3f}. A bar is a label map: its mIoU with the prior's start "
        "less that with the stock start, over its own classes."
    )
    most, least = max(gains[0].value, 0.0), min(gains[-1].value, 0.0)
    scale = _PLOT_HEIGHT / (most - least or 1.0)
    width, zero = _PLOT_WIDTH / len(gains), most * scale
    bars = {"#2b6ca3": "", "#c65d1e": ""}
    for i, gain in enumerate(gains):
        height = -gain.value * scale
        bars["#2b6ca3" if gain.value > 0 else "#c65d1e"] += (
            f"M{i * width:.2f} {zero:.2f}v{height:.2f}h{width * 0.8:.2f}v{-height:.2f}z"
        )
    paths = "".join(f'<path fill="{color}" d="{d}"/>' for color, d in bars.items() if d)
    return "\n".join(
        [
            "<h2>Label map by label map</h2>",
            f"<p>{text} The longest bar is {max(most, -least):.3f}.</p>",
            f'<svg viewBox="0 0 {_PLOT_WIDTH:g} {_PLOT_HEIGHT:g}" preserveAspectRatio="none" '
            f'role="img" aria-label="Bars above and below zero, see the text">{paths}'
            f'<path stroke="#888" d="M0 {zero:.2f}h{_PLOT_WIDTH:g}"/></svg>',
        ]
    )


def _sheet(report: Report) -> str:
    lines = ["<h2>Pictures</h2>", f"<p>{_text(report.chosen)}</p>"]
    for heading, strips in report.groups:
        lines.append(f"<h3>{_text(heading)}</h3>")
        lines += map(_strip, strips)
        if not strips:
            lines.append("<p>None.</p>")
    return "\n".join(lines)


def _strip(strip: Strip) -> str:
    cells = []
    for column, picture in zip(COLUMNS, strip.pictures, strict=True):
        if picture is None:
            shown = '<div class="none">none of this name</div>'
        else:
            shown = f'<img src="{_data(picture)}" alt="{_text(f"{strip.name}: {column}")}">'
        cells.append(f"<figure>{shown}<figcaption>{_text(column)}</figcaption></figure>")
    title = f"<p><b>{_text(strip.name)}</b> {_text(strip.caption)}</p>"
    return f'<div class="strip">{title}{"".join(cells)}</div>'


def _settings(settings: Mapping[str, str]) -> str:
    rows = [f"<tr><th>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in settings.items()]
    return "\n".join(["<h2>Settings</h2>", '<table class="settings">', *rows, "</table>"])


def _list(heading: str, texts: Sequence[str]) -> str:
    if not texts:
        return ""
    items = "".join(f"<li>{_text(text)}</li>" for text in texts)
    return f"<h2>{heading}</h2>\n<ul>{items}</ul>"


def _row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_text(cell)}</{tag}>' for cell in cells)}</tr>"


def _data(picture: Image.Image) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(picture)).decode()}"


def _text(text: str) -> str:
    """Text for HTML; names of files may hold bytes that are no text."""
    return escape(text.encode(errors="backslashreplace").decode())
