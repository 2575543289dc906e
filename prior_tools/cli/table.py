"""Tables on the screen."""

from __future__ import annotations

from collections.abc import Container, Sequence


def aligned(rows: Sequence[Sequence[str]], words: Container[int]) -> list[str]:
    """A line for each row, the heading among them, with its columns under each other.

    words: numbers of the columns to align at their left, where words begin; all others are numbers,
    which end under each other.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust if i in words else str.rjust for i in range(len(widths))]
    return [
        "  ".join(side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True))
        for row in rows
    ]
