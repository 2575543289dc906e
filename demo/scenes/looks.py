"""Looks: which scenes make a dataset of one kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from .ground import Street
from .mood import Mood, make_mood
from .plan import plan_street


@dataclass(frozen=True)
class Look:
    """Scenes that share hour, weather and side of the road; None takes any."""

    hours: tuple[str, ...] | None = None
    weathers: tuple[str, ...] | None = None
    mirrored: bool | None = None

    def holds(self, seed: int) -> bool:
        """Whether the scene of this seed has the look."""
        mood, _, mirrored = draw_setting(np.random.default_rng([seed, 0]))
        return (
            (self.hours is None or mood.hour in self.hours)
            and (self.weathers is None or mood.weather in self.weathers)
            and (self.mirrored is None or mirrored == self.mirrored)
        )

    def seeds(self, first: int) -> Iterator[int]:
        """The seeds of its scenes, from `first` on, without end."""
        return (seed for seed in count(first) if self.holds(seed))


LOOKS = {
    "any": Look(),
    # One town on fair evenings and mornings, seen from the right-hand lane.
    "golden": Look(hours=("golden", "dawn"), weathers=("clear", "cloudy"), mirrored=False),
    # The same lane at one hour, in all weathers.
    **{hour: Look(hours=(hour,), mirrored=False) for hour in ("noon", "dusk", "night")},
}


def draw_setting(rng: np.random.Generator) -> tuple[Mood, Street, bool]:
    """The mood and the street of a scene, and whether it is mirrored: traffic on the left."""
    mood = make_mood(rng)
    street = plan_street(rng)
    return mood, street, bool(rng.random() < 0.35)
