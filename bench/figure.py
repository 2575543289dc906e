"""A measured figure and its bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["at most", "at least", "exactly"]


@dataclass(frozen=True)
class Figure:
    """What was measured, against what was promised.

    Attributes:
        name: what it is of, in words; unique within its measurement.
        value: in `unit`.
        unit: "" for a plain count, "x" for a ratio, "%" for a ratio times 100, "ms", "MB".
        bound: in `unit`; None where nothing is promised and the figure is for information.
        kind: how value and bound are to stand to each other.
        samples: what was measured and how often, in words.
        details: the numbers behind the value, by names that end in their unit.
    """

    name: str
    value: float
    unit: str = "x"
    bound: float | None = None
    kind: Kind = "at most"
    samples: str = ""
    details: Mapping[str, object] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        """Whether the value keeps its bound; None where it has none."""
        if self.bound is None:
            return None
        if self.kind == "at most":
            return self.value <= self.bound
        if self.kind == "at least":
            return self.value >= self.bound
        return self.value == self.bound

    @property
    def verdict(self) -> str:
        """For a person."""
        return {True: "holds", False: "does not hold", None: "for information"}[self.holds]

    def line(self) -> str:
        """The figure on one line."""
        promise = "" if self.bound is None else f"{self.kind} {self._number(self.bound)}, "
        return f"{self.name}: {self._number(self.value)} ({promise}{self.verdict})"

    def to_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "bound": self.bound,
            "kind": None if self.bound is None else self.kind,
            "holds": self.holds,
            "samples": self.samples,
            "details": dict(self.details),
        }

    def _number(self, value: float) -> str:
        return f"{value:.3g}" + (f" {self.unit}" if self.unit else "")
