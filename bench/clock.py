"""Times of calls that are to be compared: taken in turns, so that a slow minute hits them alike."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """Seconds that a call took.

    Attributes:
        wall: as on a clock.
        cpu: of all cores, of this process and of those that it started and that have ended. On a
            busy machine this is the fairer figure.
    """

    wall: float
    cpu: float


def now() -> Spent:
    """Where the clocks stand, for `since`."""
    return Spent(time.perf_counter(), _cpu_seconds())


def since(before: Spent) -> Spent:
    """What has passed; `before` is what `now` said."""
    after = now()
    return Spent(after.wall - before.wall, after.cpu - before.cpu)


def total(times: Sequence[Spent]) -> Spent:
    """Of all of them."""
    return Spent(sum(one.wall for one in times), sum(one.cpu for one in times))


def spent(call: Callable[[], object]) -> Spent:
    """What one call takes."""
    gc.collect()
    before = now()
    call()
    return since(before)


def in_turns(
    calls: Mapping[str, Callable[[], object]], repeats: int, warm_up: bool = True
) -> dict[str, list[Spent]]:
    """Each call `repeats` times, in turns; every second round in reverse order.

    Args:
        calls: by name.
        repeats: rounds that count.
        warm_up: begin with a round that does not count.
    """
    taken: dict[str, list[Spent]] = {name: [] for name in calls}
    for number in range(-1 if warm_up else 0, repeats):
        names = list(calls) if number % 2 == 0 else list(reversed(calls))
        for name in names:
            one = spent(calls[name])
            if number >= 0:
                taken[name].append(one)
    return taken


def ratio(above: Sequence[Spent], below: Sequence[Spent], kind: str = "wall") -> float:
    """Median over the rounds of one call's time against another's in the same round."""
    pairs = zip(above, below, strict=True)
    return statistics.median(getattr(a, kind) / getattr(b, kind) for a, b in pairs)


def median(times: Sequence[Spent], kind: str = "wall") -> float:
    """Seconds."""
    return statistics.median(getattr(one, kind) for one in times)


def details(taken: Mapping[str, Sequence[Spent]]) -> dict[str, float]:
    """Medians by name, for `Figure.details`."""
    return {
        f"{name}_{kind}_s": round(median(times, kind), 4)
        for name, times in taken.items()
        for kind in ("wall", "cpu")
    }


def _cpu_seconds() -> float:
    at = os.times()
    return at.user + at.system + at.children_user + at.children_system
