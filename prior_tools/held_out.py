"""How well a prior predicts the latents of images that it has not seen, as figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from .errors import counted
from .json_values import integer, items, number, table
from .moments import MAX_IMAGES

# The ways to predict: those of the nodes, and pooled moments, also with soft label edges.
HELD_OUT_MODES = ("spatial", "categorical", "joint", "mixture", "pooled", "pooled, soft edges")

# Decimals of an NLL beyond which it is rounding: of label maps without shared cells, soft edges say
# what hard ones do.
ROUNDED = 5

# Of a normal distribution with the dataset's own mean and deviation, which knows nothing more.
KNOWS_NOTHING = 0.5 * math.log(2 * math.pi) + 0.5


@dataclass(frozen=True)
class ModeFit:
    """Of one mode, with 95% intervals over images; None with too few of them.

    Attributes:
        nll: negative log-likelihood of a latent value, in nats, with each channel in units of the
            prior's deviation over all images and cells: `KNOWS_NOTHING` for its mean and deviation.
        nll_interval: (low, high).
        explained: share of the values' squared deviations from the prior's mean that the mode's
            means explain; below 0 where they are further off.
        explained_interval: (low, high).
        surprise: squared deviations against those expected; 1 where all is as the prior says.

    >>> fit = ModeFit(1.2, (1.1, 1.3), explained=0.4, explained_interval=None, surprise=1.0)
    >>> fit.nll_interval
    (1.1, 1.3)
    """

    nll: float
    nll_interval: tuple[float, float] | None
    explained: float
    explained_interval: tuple[float, float] | None
    surprise: float


@dataclass(frozen=True)
class HeldOut:
    """What images that a build held out say of its prior.

    Attributes:
        images: number of them.
        modes: one of HELD_OUT_MODES -> its figures.

    >>> options = BuildOptions(holdout=0.5)
    >>> build_prior(dataset, encode, options).metadata.held_out.images
    1
    """

    images: int
    modes: dict[str, ModeFit]

    @property
    def best(self) -> str:
        """The mode of the least NLL; of equal ones, but for rounding, the first.

        >>> HeldOut(2, {"spatial": ModeFit(1.2, None, 0.1, None, 1.0)}).best
        'spatial'
        """
        return min(self.modes, key=lambda mode: round(self.modes[mode].nll, ROUNDED))

    def __str__(self) -> str:
        """In one line.

        >>> print(HeldOut(2, {"spatial": ModeFit(1.2, None, 0.1, None, 1.0)}))
        2 images held out: best predicted by spatial, which explains 10% (NLL 1.200)
        """
        fit = self.modes[self.best]
        return (
            f"{counted(self.images, 'image')} held out: best predicted by {self.best}, which "
            f"explains {fit.explained:.0%} (NLL {fit.nll:.3f})"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data; see `from_json`.

        >>> HeldOut(2, {}).to_json()
        {'images': 2, 'modes': {}}
        """
        return {
            "images": self.images,
            "modes": {
                mode: {
                    name: list(value) if isinstance(value, tuple) else value
                    for name, value in asdict(fit).items()
                }
                for mode, fit in self.modes.items()
            },
        }

    @staticmethod
    def from_json(value: object) -> HeldOut:
        """What `to_json` wrote; ValueError says why it is none.

        >>> held_out = build_prior(dataset, encode, BuildOptions(holdout=0.5)).metadata.held_out
        >>> HeldOut.from_json(held_out.to_json()) == held_out
        True
        """
        data = table(value, ("images", "modes"), "held_out")
        modes = table(data["modes"], HELD_OUT_MODES, "the modes of held_out")
        images = integer(data["images"], 1, MAX_IMAGES, "the images of held_out")
        return HeldOut(images, {mode: _mode_from_json(modes[mode]) for mode in HELD_OUT_MODES})


def _mode_from_json(value: object) -> ModeFit:
    data: Mapping[str, Any] = table(value, [f.name for f in fields(ModeFit)], "a mode of held_out")

    def pair(name: str) -> tuple[float, float] | None:
        if data[name] is None:
            return None
        low, high = (number(x, name) for x in _two(data[name], name))
        return low, high

    return ModeFit(
        number(data["nll"], "nll"),
        pair("nll_interval"),
        number(data["explained"], "explained"),
        pair("explained_interval"),
        number(data["surprise"], "surprise"),
    )


def _two(value: object, what: str) -> list[Any]:
    found = items(value, what)
    if len(found) != 2:
        raise ValueError(f"{what} is no pair")
    return found
