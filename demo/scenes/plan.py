"""The plan of a street: measures and materials drawn from a seed."""

from __future__ import annotations

import numpy as np

from .canvas import mix
from .ground import Street

KINDS = ("centre", "old", "houses", "avenue", "park")
_KIND_ODDS = (0.2, 0.24, 0.2, 0.22, 0.14)


def plan_street(rng: np.random.Generator) -> Street:
    """Draw the measures of a street."""
    kind = str(rng.choice(KINDS, p=_KIND_ODDS))
    road = {
        "centre": (5.2, 6.8),
        "old": (3.5, 4.4),
        "houses": (3.6, 4.7),
        "avenue": (5.6, 7.0),
        "park": (4.2, 5.6),
    }[kind]
    walk = {
        "centre": (3.0, 4.2),
        "old": (1.9, 2.8),
        "houses": (1.7, 2.3),
        "avenue": (3.4, 4.6),
        "park": (2.4, 3.4),
    }[kind]
    half = float(rng.uniform(*road))
    verge = 0.0
    if (kind == "houses" and rng.random() < 0.6) or (
        kind in ("avenue", "park") and rng.random() < 0.4
    ):
        verge = float(rng.uniform(1.2, 2.0))
    front = (0.0, 0.0)
    if kind == "houses":
        front = (float(rng.uniform(2.8, 5.0)), float(rng.uniform(2.8, 5.0)))
    elif kind == "avenue" and rng.random() < 0.3:
        front = (2.2, 2.2)
    cross = None
    if rng.random() < 0.42:
        z = float(rng.uniform(17, 40))
        cross = (z, z + float(rng.uniform(6.5, 9.5)))
    zebra = None
    if cross and rng.random() < 0.75:
        zebra = cross[0] - 4.6
    elif rng.random() < 0.4:
        zebra = float(rng.uniform(8.5, 18))
    cobbles = kind == "old" and rng.random() < 0.55
    grey = float(rng.uniform(98, 134))
    asphalt = (grey + float(rng.uniform(-3, 4)), grey, grey + float(rng.uniform(-2, 7)))
    if cobbles:
        asphalt = mix((132, 122, 112), (112, 112, 116), float(rng.random()))
    base = float(rng.uniform(148, 186))
    paving = mix((base, base - 3, base - 9), (186, 158, 138), float(rng.random()) * 0.45)
    bike_lane = bool(kind in ("centre", "avenue") and half > 5.4 and rng.random() < 0.4)
    return Street(
        kind=kind,
        road=half,
        verge=verge,
        walk=float(rng.uniform(*walk)),
        front=front,
        cross=cross,
        zebra=zebra,
        asphalt=asphalt,
        paving=paving,
        grass=mix((100, 130, 64), (130, 138, 74), float(rng.random())),
        marking=(236, 234, 226) if rng.random() < 0.8 else (238, 202, 92),
        cobbles=cobbles,
        lanes=4 if half > 5.9 and rng.random() < 0.4 else 2,
        bike_lane=bike_lane,
        parking=(bool(rng.random() < 0.6), bool(rng.random() < 0.5) and not bike_lane),
        lawn=int(rng.choice((-1, 1))) if kind == "park" else 0,
    )
