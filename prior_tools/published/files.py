"""The statistics files of the published toolkit, read and checked.

Three .npy files per dataset, in latents scaled by the latent format's factor:

- NAME_spatial_class_mean_std.npy: {mean, std: float32 [256, C, h, w], count: [256, 1, h, w]};
- NAME_spatial_mean_std.npy: {mean, std: float32 [C, h, w]};
- NAME_categorical_mean_std.npy: {class id: {mean, std: float32 [C]}}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import PriorError
from ..moments import MAX_VALUE
from .safe_npy import read_npy_object

JOINT, SPATIAL, CATEGORICAL = "joint", "spatial", "categorical"

_CLASSES = 256
# Up to here float32 counts one by one.
_MAX_COUNT = 2**24


@dataclass(frozen=True)
class PublishedStatistics:
    """What the files hold, checked, in their own scaled units and class ids.

    K classes with at least one cell, C channels, grid (h, w).

    Attributes:
        class_ids: int64 [K], ascending.
        joint_mean, joint_std: float32 [K, C, h, w]; 0 where the count is 0.
        joint_count: int64 [K, h, w], images.
        spatial: (mean, std) float32 [C, h, w], or None where that file is missing.
        categorical: class id -> (mean, std) float32 [C], or None where that file is missing. A
            deviation may be NaN: the published code writes it for a class that it drew once.
        files: kind of file -> its name.
    """

    class_ids: Tensor
    joint_mean: Tensor
    joint_std: Tensor
    joint_count: Tensor
    spatial: tuple[Tensor, Tensor] | None = None
    categorical: Mapping[int, tuple[Tensor, Tensor]] | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def found_ids(self) -> tuple[int, ...]:
        """All class ids of the joint and the categorical file, ascending."""
        return tuple(sorted({*self.class_ids.tolist(), *(self.categorical or {})}))


def read_published(paths: Iterable[Path | str]) -> PublishedStatistics:
    """Read the joint file and, where given, the spatial and the categorical one, in any order.

    Which is which is told by their content. Nothing in a file is run (see `safe_npy`).

    Raises PriorError if a file is none of the three, is damaged, holds values that statistics
    cannot have, or does not fit to the others; OSError if one cannot be read.
    """
    contents: dict[str, dict[Any, Any]] = {}
    files: dict[str, str] = {}
    for path in map(Path, paths):
        content = read_npy_object(path)
        kind = _kind(content, path.name)
        if kind in files:
            raise PriorError(
                f"{files[kind]} and {path.name} are both {kind} files; expected at most one of each"
            )
        contents[kind], files[kind] = content, path.name
    if JOINT not in contents:
        raise PriorError(
            f"no joint file is among {', '.join(files.values()) or 'no files'}; expected "
            "NAME_spatial_class_mean_std.npy, alone or with the others of its dataset"
        )
    joint = _joint(contents[JOINT], files[JOINT])
    shape = tuple(joint["joint_mean"].shape[1:])
    spatial = categorical = None
    if SPATIAL in contents:
        spatial = _pair(contents[SPATIAL], shape, files[SPATIAL])
    if CATEGORICAL in contents:
        categorical = {
            class_id: _pair(
                _entry(entry, class_id, files[CATEGORICAL]),
                shape[:1],
                f"{files[CATEGORICAL]}, class {class_id}",
                nan_deviation=True,
            )
            for class_id, entry in sorted(contents[CATEGORICAL].items())
        }
    return PublishedStatistics(**joint, spatial=spatial, categorical=categorical, files=files)


def _kind(content: object, name: str) -> str:
    if isinstance(content, dict):
        if content.keys() == {"mean", "std", "count"}:
            return JOINT
        if content.keys() == {"mean", "std"}:
            return SPATIAL
        if content and all(isinstance(key, int) for key in content):
            return CATEGORICAL
    raise PriorError(
        f"{name} is none of the published statistics files; expected a dict with mean, std and "
        "count (joint), with mean and std (spatial), or with an entry per class id (categorical)"
    )


def _joint(content: dict[Any, Any], name: str) -> dict[str, Tensor]:
    """The joint file's classes that occur, as fields of PublishedStatistics."""
    shape: tuple[int, ...] = getattr(content["mean"], "shape", ())
    if len(shape) != 4 or shape[0] != _CLASSES:
        raise PriorError(
            f"{name}: mean has shape {tuple(shape)}; expected ({_CLASSES}, channels, h, w)"
        )
    mean = _numbers(content["mean"], shape, f"{name}: mean")
    std = _deviations(content["std"], shape, f"{name}: std")
    count = _numbers(content["count"], (_CLASSES, 1, *shape[2:]), f"{name}: count")[:, 0]
    if (count < 0).any() or (count > _MAX_COUNT).any() or (count % 1).any():
        raise PriorError(f"{name}: count holds values that are no numbers of images")
    present = np.flatnonzero(count.any((1, 2)))
    if not len(present):
        raise PriorError(f"{name} holds no class: every count is 0")
    occupied = (count[present] > 0)[:, None]
    return {
        "class_ids": torch.from_numpy(present),
        "joint_mean": torch.from_numpy(np.where(occupied, mean[present], np.float32(0))),
        "joint_std": torch.from_numpy(np.where(occupied, std[present], np.float32(0))),
        "joint_count": torch.from_numpy(count[present].astype(np.int64)),
    }


def _entry(entry: object, class_id: int, name: str) -> dict[Any, Any]:
    if not 0 <= class_id < _CLASSES:
        raise PriorError(f"{name} holds class id {class_id}; expected 0..{_CLASSES - 1}")
    if not isinstance(entry, dict) or entry.keys() != {"mean", "std"}:
        raise PriorError(f"{name}: the entry of class {class_id} is no dict with mean and std")
    return entry


def _pair(
    content: dict[Any, Any], shape: tuple[int, ...], where: str, nan_deviation: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean and deviation, both of `shape`."""
    mean = _numbers(content["mean"], shape, f"{where}: mean")
    std = _deviations(content["std"], shape, f"{where}: std", nan_deviation)
    return torch.from_numpy(mean.copy()), torch.from_numpy(std.copy())


def _deviations(
    values: object, shape: tuple[int, ...], where: str, nan_deviation: bool = False
) -> np.ndarray:
    std = _numbers(values, shape, where, nan_deviation)
    if (std < 0).any():
        raise PriorError(f"{where} holds negative deviations")
    return std


def _numbers(
    values: object, shape: tuple[int, ...], where: str, may_be_nan: bool = False
) -> np.ndarray:
    """`values`, checked to be float32 of this shape and finite, NaN excepted where it may be."""
    if (
        not isinstance(values, np.ndarray)
        or values.shape != tuple(shape)
        or values.dtype.name != "float32"
    ):
        given = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else "no array"
        raise PriorError(
            f"{where} is {given}; expected float32 {tuple(shape)}, as the other arrays have it"
        )
    finite = (np.abs(values) <= MAX_VALUE) | (np.isnan(values) if may_be_nan else False)
    if not finite.all():
        raise PriorError(
            f"{where} holds {int((~finite).sum())} values that are NaN, infinite or beyond "
            f"{MAX_VALUE:g}; the file is damaged, or was computed from latents that were"
        )
    return values.astype(np.float32, copy=False)
