"""The figures of both starts as a table, and what it says in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..evaluation.folders import Evaluation
from ..evaluation.report import difference_rows

# FID and KID of fewer label maps tell more of their number than of the images.
FEWEST_FOR_FID = 100

HEADING = ("figure", "stock start", "prior's start", "difference", "verdict", "label maps")

# Figure -> what it is, for who has never heard of it.
MEANINGS = {
    "mIoU": "A segmentation model looks at every image. This is how well what it sees covers the "
    "label map, averaged over the classes: 0 is not at all, 1 entirely. Higher is better.",
    "pixel accuracy": "The share of pixels in which that model sees the label map's class. Large "
    "areas count most. Higher is better.",
    "FID": "How far the images as a whole are from the real ones, by what a network for "
    "recognising objects sees in them. Lower is better. It depends on the number of images, so it "
    "must not be compared with an FID from elsewhere.",
    "KID": "The same question by another formula, which does not depend on the number of images. "
    "Lower is better.",
    "diversity": "How much the images of one label map differ from each other. Neither more nor "
    "less is better by itself.",
}

_BETTER_OR_WORSE = ("better", "worse")
_MORE_OR_LESS = ("more", "less")
_UNCLEAR, _EQUAL, _UNKNOWN = "not clear", "equal", "-"
_SUMMARY = {
    **{word: f"{word.capitalize()} with the prior's start" for word in _BETTER_OR_WORSE},
    **{word: f"{word.capitalize()} with the prior's start" for word in _MORE_OR_LESS},
    _EQUAL: "Equal with both starts",
    _UNCLEAR: "Not clear, since the difference may be chance",
    _UNKNOWN: "Too few label maps to tell",
}


@dataclass(frozen=True)
class Verdicts:
    """Sentences: what is clear, and what is not."""

    clear: list[str]
    unclear: list[str]


def table(evaluation: Evaluation) -> list[list[str]]:
    """A row for each figure that was measured, cells as `HEADING`.

    evaluation: of images of the prior's start, with those of the stock start as its baseline.
    """
    assert evaluation.baseline is not None, "two starts are compared"
    _, *rows = difference_rows(
        evaluation.figures, evaluation.baseline.figures, evaluation.differences
    )
    return rows


def reasons(maps: int, segmenter: bool, inception: bool) -> dict[str, str]:
    """Figure -> why it will not be measured.

    maps: number of label maps. segmenter, inception: whether these models are given.
    """
    found: dict[str, str] = {}
    if not segmenter:
        found |= dict.fromkeys(
            ("mIoU", "pixel accuracy"), "needs a segmentation model (--segmenter)"
        )
    if not inception:
        found |= dict.fromkeys(
            ("FID", "KID", "diversity"), "needs an Inception network (--inception)"
        )
    elif maps < FEWEST_FOR_FID:
        why = f"of fewer than {FEWEST_FOR_FID} label maps it tells nothing; here: {maps}"
        found |= dict.fromkeys(("FID", "KID"), why)
    return found


def verdicts(rows: Sequence[Sequence[str]]) -> Verdicts:
    """What the table says. rows: see `table`."""
    clear, unclear = [], []
    for name, stock, prior, difference, word, _ in rows:
        both = f"{prior} with the prior's start, {stock} with the stock start"
        if word in _BETTER_OR_WORSE:
            clear.append(
                f"{name} is {word} with the prior's start: {both}, a difference of {difference}."
            )
        elif word in _MORE_OR_LESS:
            clear.append(
                f"{name} is {word} with the prior's start: {both}, a difference of {difference}. "
                "That is neither better nor worse by itself."
            )
        elif word == _EQUAL:
            clear.append(f"{name} is equal: {both}.")
        elif word == _UNCLEAR:
            unclear.append(
                f"{name}: {both}. The difference of {difference} may be chance, since its range "
                "holds zero; more label maps would tell."
            )
        else:
            unclear.append(f"{name}: {both}. There are too few label maps to tell what is chance.")
    return Verdicts(clear, unclear)


def summary(rows: Sequence[Sequence[str]]) -> str:
    """The answer in a line."""
    parts = []
    for word, said in _SUMMARY.items():
        if names := [row[0] for row in rows if row[4] == word]:
            parts.append(f"{said}: {', '.join(names)}.")
    return " ".join(parts) or "Nothing was measured."
