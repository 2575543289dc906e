"""Whether two priors are of one VAE, told from its weights in whatever precision they were loaded.

The host loads one and the same file in float32, bfloat16 or float16, and a file may itself be a
rounded copy. No digest of values survives that: a value that is rounded twice may end on the other
side of a boundary. So weights are not told apart by equal digests but by their distance, estimated
from a few random projections of each tensor (Johnson and Lindenstrauss, 1984).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .json_values import integer, items, table, text

# Of a tensor whose weights all move at random by 1% the distance is 1%, give or take a quarter.
# Rounding to bfloat16 moves weights by 0.15%, and the unluckiest of hundreds of tensors by 0.4%.
TOLERANCE = 5e-3

_PROJECTIONS = 8
# Projections are whole multiples of this part of the tensor's scale.
_STEP = 1e-3
# Below this scale of a tensor float16's own spacing, 6e-8, is no small part of it.
_LEAST_SCALE = 1e-4
_ROW = 4096
# Far above what weights give, and far from where squares would overflow.
_MOST = 10**15


@dataclass(frozen=True)
class VaeFingerprint:
    """What is kept of a VAE's weights: T floating-point tensors in the order of their names.

    Attributes:
        structure: 16 hex digits over names and shapes.
        scales: T root mean squares.
        projections: T times 8 numbers: the tensor times fixed random signs, over the root of its
            size, in thousandths of its scale. Each is of the order of 1000.
    """

    structure: str
    scales: tuple[float, ...]
    projections: tuple[tuple[int, ...], ...]

    def distance(self, other: VaeFingerprint) -> float:
        """By what part of its scale the tensor that differs most differs.

        Infinite where names or shapes do.
        """
        if self.structure != other.structure or len(self.scales) != len(other.scales):
            return math.inf
        ours, theirs = self._absolute(), other._absolute()
        scale = np.maximum(np.maximum(self.scales, other.scales), _LEAST_SCALE)
        apart = np.sqrt(np.square(ours - theirs).mean(1)) / scale
        stretched = np.abs(np.subtract(self.scales, other.scales)) / scale
        return float(max(apart.max(initial=0), stretched.max(initial=0)))

    def fits(self, other: VaeFingerprint) -> bool:
        """Whether both are of the same weights, as far as rounding can be told from change."""
        return self.distance(other) <= TOLERANCE

    def against(self, other: VaeFingerprint) -> str:
        """Both by name, and how far apart they are, for an error's text."""
        part = self.distance(other)
        what = (
            "of other tensors" if part == math.inf else f"whose weights differ by up to {part:.1%}"
        )
        return f"{self} against {other}, {what}"

    def __str__(self) -> str:
        """A short name: names and shapes as digits, then three numbers of the weights.

        Of one VAE in two precisions the last decimal may differ.
        """
        scale = np.maximum(self.scales, _LEAST_SCALE)[:, None]
        numbers = (self._absolute()[:, :3] / scale).sum(0) / math.sqrt(max(1, len(scale)))
        return " ".join([self.structure[:8], *(f"{number:.1f}" for number in numbers)])

    def to_json(self) -> dict[str, object]:
        """Plain data for a file's header."""
        return {
            "structure": self.structure,
            "scales": list(self.scales),
            "projections": [list(numbers) for numbers in self.projections],
        }

    @classmethod
    def from_json(cls, data: object) -> VaeFingerprint:
        """The fingerprint that `to_json` wrote; ValueError says why it is none."""
        data = table(data, ("structure", "scales", "projections"), "the VAE")
        scales = items(data["scales"], "the VAE's scales")
        rows = items(data["projections"], "the VAE's projections")
        projections = tuple(
            tuple(integer(n, -_MOST, _MOST, "a projection") for n in items(row, "a projection"))
            for row in rows
        )
        if len(scales) != len(rows) or any(len(row) != _PROJECTIONS for row in projections):
            raise ValueError("the scales and projections of the VAE do not fit together")
        if any(type(scale) is not float or not 0 <= scale <= _MOST for scale in scales):
            raise ValueError("a scale of the VAE is none")
        return cls(text(data["structure"], "structure"), tuple(scales), projections)

    def _absolute(self) -> np.ndarray:
        """The projections [T, 8] in the weights' own units."""
        numbers = np.array(self.projections, dtype=np.float64).reshape(-1, _PROJECTIONS)
        absolute: np.ndarray = numbers * _STEP * np.array(self.scales)[:, None]
        return absolute


def fingerprint_weights(state_dict: Mapping[str, Tensor]) -> VaeFingerprint:
    """The fingerprint of a VAE's weights; their order, device and precision do not matter."""
    digest = hashlib.sha256()
    scales, projections = [], []
    for name in sorted(state_dict):
        tensor = state_dict[name]
        if not tensor.is_floating_point():
            continue
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        scale, numbers = _measures(tensor.detach().to("cpu").flatten())
        scales.append(scale)
        projections.append(numbers)
    return VaeFingerprint(digest.hexdigest()[:16], tuple(scales), tuple(projections))


def _measures(values: Tensor) -> tuple[float, tuple[int, ...]]:
    """Scale and projections of a flat tensor."""
    values = values.to(torch.float32)
    size = float(torch.linalg.vector_norm(values))
    if not math.isfinite(size):
        # A VAE of which nothing can come; still, a file must be able to say so.
        values = values.nan_to_num(0, 0, 0)
        size = float(torch.linalg.vector_norm(values))
    # Four digits: the file is smaller, and is read back as it was.
    scale = float(f"{size / math.sqrt(max(1, len(values))):.4g}")
    if scale == 0:
        return 0.0, (0,) * _PROJECTIONS
    rows = torch.nn.functional.pad(values, (0, -len(values) % _ROW)).view(-1, _ROW)
    # A value's sign is that of its column times that of its row: random enough, and quick.
    by_row = rows @ _signs("column", _ROW)
    projected = (by_row * _signs("row", len(rows))).sum(0) / math.sqrt(len(values))
    return scale, tuple((projected / (scale * _STEP)).round().long().tolist())


def _signs(kind: str, count: int) -> Tensor:
    """float32 [count, 8] of 1 and -1, the same on every machine."""
    data = hashlib.shake_256(f"scp-diff {kind} signs".encode()).digest(count)
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).reshape(count, _PROJECTIONS)
    return torch.from_numpy(bits * np.float32(2) - np.float32(1))
