"""What is to be made: one job for each prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .label_maps import LabelMap, shape_of, upload_name

# The largest seed that ComfyUI's own interface draws, so every node takes it; a browser that opens
# the workflow of an image also keeps it exactly.
MAX_SEED = 2**50


@dataclass(frozen=True)
class Job:
    """Image `k` of each of one or several label maps of equal size: one prompt with one seed."""

    label_maps: tuple[LabelMap, ...]
    k: int
    seed: int

    @property
    def name(self) -> str:
        """Unique among the jobs of a run."""
        return _file_name(self.label_maps[0].stem, self.k)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the images inside the output folder, in the order of the label maps."""
        return tuple(_file_name(label_map.stem, self.k) for label_map in self.label_maps)

    @property
    def images(self) -> int:
        """How many it makes."""
        return len(self.label_maps)

    @property
    def upload_name(self) -> str:
        """Of the file with its label maps, on a server."""
        return upload_name(self.label_maps)


def plan(
    label_maps: Sequence[LabelMap],
    per_map: int,
    batch: int,
    seed: int,
    counts: Mapping[str, int] | None = None,
) -> list[Job]:
    """All jobs of a run, those of the same label maps in a row so that the server can cache them.

    Args:
        label_maps: by ascending stem.
        per_map: images of each.
        batch: most label maps in a prompt; above 1 only those of equal size share one.
        seed: of the run.
        counts: images of each label map by its stem, instead of `per_map`; with a batch of 1.
    """
    if counts is not None and batch != 1:
        raise ValueError("label maps of a prompt have equally many images")
    return [
        Job(group, k, image_seed(seed, group[0].stem, k))
        for group in _groups(label_maps, batch)
        for k in range(per_map if counts is None else counts[group[0].stem])
    ]


def image_seed(seed: int, stem: str, k: int) -> int:
    """The seed in [0, 2^50) of image `k` of a label map, whatever other label maps there are."""
    # Names of files may hold bytes that are no text.
    digest = hashlib.sha256(f"{seed}/{k}/{stem}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % MAX_SEED


def _groups(label_maps: Sequence[LabelMap], batch: int) -> list[tuple[LabelMap, ...]]:
    if batch == 1:
        return [(label_map,) for label_map in label_maps]
    by_shape: dict[tuple[int, int, int], list[LabelMap]] = {}
    for label_map in label_maps:
        by_shape.setdefault(shape_of(label_map), []).append(label_map)
    groups = [
        tuple(maps[start : start + batch])
        for maps in by_shape.values()
        for start in range(0, len(maps), batch)
    ]
    return sorted(groups, key=lambda group: group[0].stem)


def _file_name(stem: str, k: int) -> str:
    return f"{stem}_{k:02d}.png"
