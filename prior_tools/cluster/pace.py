"""How fast servers are, and which of them is far behind the others."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

# So many times the median's seconds an image are named.
SLOW = 10.0


class Pace:
    """Of one server. Times are in seconds, by any one clock."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._first: float | None = None
        self._last: float | None = None
        self._after_first = 0

    def begin(self, now: float) -> None:
        """It has got its first job, or its first since it had none or was started again."""
        if self._began is None:
            self._began = now

    def pause(self) -> None:
        """It has no job now, or its server was lost: what follows is measured anew."""
        self._began = self._first = self._last = None
        self._after_first = 0

    def made(self, images: int, now: float) -> None:
        """It has made images."""
        if self._first is None:
            # Models are loaded for it, which says little of those to come.
            self._first = now
        else:
            self._after_first += images
        self._last = now

    def warm_up(self) -> float | None:
        """Seconds that the first job took; None before it is made."""
        if self._began is None or self._first is None:
            return None
        return self._first - self._began

    def seconds(self, now: float) -> float | None:
        """Seconds an image since the first job, as long as it waits for one at least that.

        None before there are any.
        """
        if self._first is None or self._last is None or not self._after_first:
            return None
        return max((self._last - self._first) / self._after_first, now - self._last)

    def waiting(self, now: float) -> float | None:
        """Seconds since it has got its first job, if nothing was made of any."""
        if self._began is None or self._first is not None:
            return None
        return now - self._began


def rate(paces: Mapping[str, Pace], now: float) -> float | None:
    """Images a second of the median server; None before any is known."""
    known = [s for pace in paces.values() if (s := pace.seconds(now)) is not None]
    median = statistics.median_low(known) if known else 0.0
    return 1 / median if median > 0 else None


def slow(paces: Mapping[str, Pace], now: float) -> dict[str, tuple[float, float]]:
    """The servers that take ten times the median's seconds an image.

    One that has made nothing yet is compared by its first image.

    Returns (its seconds, the median's) by the keys of `paces`.
    """
    known = {k: s for k, pace in paces.items() if (s := pace.seconds(now)) is not None}
    first = {k: s for k, pace in paces.items() if (s := pace.warm_up()) is not None}
    late = {k: s for k, pace in paces.items() if (s := pace.waiting(now)) is not None}
    found: dict[str, tuple[float, float]] = {}
    for told, judged in ((known, known), (first, late)):
        if told:
            # Of two, the median is the faster one's: else none of two could be far behind it.
            median = statistics.median_low(told.values())
            found |= {k: (s, median) for k, s in judged.items() if 0 < SLOW * median <= s}
    return found
