"""The prior that the statistics files of the published toolkit describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import PriorError, listing
from ..labels.ids import MAX_CLASS_ID
from ..labels.palettes import Palette, get_palette
from ..latent_formats import SCALES
from ..moments import to_float32
from ..prior import Prior, PriorMetadata
from .files import CATEGORICAL, JOINT, SPATIAL, PublishedStatistics

_DOWNSCALE_FACTOR = 8


@dataclass(frozen=True)
class ImportReport:
    """What an import did; ids are the prior's, unless said otherwise.

    Attributes:
        kept: class id in the files -> class id in the prior.
        left_out: class ids in the files whose classes were ignored or dropped.
        derived: the kinds of prior computed from the joint file, for want of their own.
        repaired: classes whose deviation was NaN.
        without_entry: classes that the categorical file lacks; their moments are pixel-weighted.
        without_cells: classes that only the categorical file holds.
        outside_palette: classes that the palette does not have.
    """

    kept: Mapping[int, int]
    left_out: tuple[int, ...]
    derived: tuple[str, ...]
    repaired: tuple[int, ...]
    without_entry: tuple[int, ...]
    without_cells: tuple[int, ...]
    outside_palette: tuple[int, ...]


def prior_from_published(
    statistics: PublishedStatistics,
    *,
    scale: float | None = None,
    latent_format: str = "sd15",
    palette: Palette | str | None = None,
    ignore_ids: Iterable[int] | None = None,
    id_map: Mapping[int, int] | None = None,
    dataset_name: str = "",
) -> tuple[Prior, ImportReport]:
    """The prior that the files describe, in raw VAE units.

    What the files do not hold is found from the joint file: the spatial prior by pooling over the
    classes of a cell, the categorical one by pooling over a class's cells, which weights by pixels
    (the image-weighted moments cannot be had from it). Counts are bounds: `num_images` is the
    largest number of images at any cell, a class's images the largest number at any one cell, or
    two where its categorical entry has a deviation, which the published code writes from two draws
    on. A single-image deviation stays as the file has it.

    Args:
        statistics: see `read_published`.
        scale: what the latents were multiplied by; None takes the latent format's factor.
        latent_format: one of LATENT_FORMATS with 8 pixels a cell; SD2 shares "sd15".
        palette: names and colors of the classes, in the numbering of `id_map`'s values; or its
            name.
        ignore_ids: class ids kept out of the class and joint moments, in the same numbering; None
            takes the palette's, or 255 without a palette.
        id_map: class id in the files -> class id in the prior, -1 to drop it. Others stay.
        dataset_name: free text.

    Raises PriorError for a scale, map or statistics that no prior can be made with.
    """
    scale = _scale(scale, latent_format)
    palette = None if palette is None else get_palette(palette)
    if ignore_ids is None:
        ignore_ids = palette.ignore_ids if palette else (255,)
    ignored = tuple(sorted({int(i) for i in ignore_ids}))
    kept = _kept_ids(statistics.found_ids, id_map or {}, ignored)

    n = statistics.joint_count.double()
    mean, std = statistics.joint_mean.double() / scale, statistics.joint_std.double() / scale
    if statistics.spatial is None:
        empty = int((n.sum(0) == 0).sum())
        if empty:
            raise PriorError(
                f"{empty} cells of {statistics.files.get(JOINT, 'the joint file')} have no count "
                "in any class, so the spatial prior cannot be derived there; give "
                "NAME_spatial_mean_std.npy as well"
            )
        spatial_mean, spatial_std = _pooled(n, mean, std, dims=(0,))
    else:
        spatial_mean, spatial_std = (part.double() / scale for part in statistics.spatial)

    # Rows of the kept classes in the prior's order, empty for those without a cell.
    order = sorted(kept, key=kept.__getitem__)
    row_of = {class_id: row for row, class_id in enumerate(statistics.class_ids.tolist())}
    rows = torch.tensor([row_of.get(class_id, -1) for class_id in order])
    no_cells = rows < 0
    num_images = int(n.sum(0).max())
    n, mean, std = (part[rows.clamp(min=0)] for part in (n, mean, std))
    for part in (n, mean, std):
        part[no_cells] = 0
    class_mean, class_std = _pooled(n, mean, std, dims=(2, 3))
    images = n.flatten(1).amax(1)
    entries = statistics.categorical or {}
    repaired = []
    for row, class_id in enumerate(order):
        if class_id not in entries:
            continue
        entry_mean, entry_std = (part.double() / scale for part in entries[class_id])
        once = entry_std.isnan()
        class_mean[row] = entry_mean
        # Where there is no cell either, the class was seen once in all: its deviation is 0.
        class_std[row] = torch.where(once, class_std[row], entry_std)
        if once.any():
            repaired.append(kept[class_id])
        images[row] = max(float(images[row]), 1.0 if once.any() else 2.0)

    prior = Prior(
        class_ids=torch.tensor([kept[class_id] for class_id in order]),
        joint_mean=to_float32(mean),
        joint_std=to_float32(std),
        joint_count=n.to(torch.int32),
        spatial_mean=to_float32(spatial_mean),
        spatial_std=to_float32(spatial_std),
        class_mean=to_float32(class_mean),
        class_std=to_float32(class_std),
        class_image_count=images.clamp(max=num_images).to(torch.int32),
        num_images=num_images,
        metadata=_metadata(spatial_mean.shape, latent_format, palette, ignored, dataset_name),
    )
    without_entry = [] if statistics.categorical is None else set(order) - entries.keys()
    report = ImportReport(
        kept=kept,
        left_out=tuple(i for i in statistics.found_ids if i not in kept),
        derived=tuple(k for k in (SPATIAL, CATEGORICAL) if getattr(statistics, k) is None),
        repaired=tuple(repaired),
        without_entry=tuple(sorted(kept[i] for i in without_entry)),
        without_cells=tuple(prior.class_ids[no_cells].tolist()),
        outside_palette=tuple(i for i in sorted(kept.values()) if palette and not palette.holds(i)),
    )
    return prior, report


def _scale(scale: float | None, latent_format: str) -> float:
    if scale is None:
        if latent_format not in SCALES:
            raise PriorError(
                f"no factor is known here for latent format {latent_format!r}; give the scale that "
                "the latents were multiplied by"
            )
        return SCALES[latent_format]
    if not 1e-6 < scale < 1e6:
        raise PriorError(
            f"scale is {scale}; expected the positive factor that the latents were multiplied by, "
            f"such as {SCALES['sd15']}"
        )
    return float(scale)


def _kept_ids(
    found: Iterable[int], id_map: Mapping[int, int], ignored: tuple[int, ...]
) -> dict[int, int]:
    """File id -> prior id of the classes that stay."""
    kept: dict[int, int] = {}
    old_of: dict[int, int] = {}
    for old in found:
        new = id_map.get(old, old)
        if not -1 <= new <= MAX_CLASS_ID:
            raise PriorError(
                f"class id {old} is mapped to {new}; expected 0..{MAX_CLASS_ID}, or -1 to drop it"
            )
        if new == -1 or new in ignored:
            continue
        if new in old_of:
            raise PriorError(
                f"classes {old_of[new]} and {old} of the files would both become class {new}; "
                "expected a class of its own for each, since the image-weighted moments of two "
                "together are not in the files. Drop one by mapping it to -1"
            )
        kept[old], old_of[new] = new, old
    if not kept:
        raise PriorError(
            f"no class is left of {listing([str(i) for i in found])}; ignore or drop fewer ids"
        )
    return kept


def _pooled(n: Tensor, mean: Tensor, std: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Moments over some dimensions of n [K, h, w], mean and std [K, C, h, w]; 0 where n is."""
    n = n.unsqueeze(1)
    total = n.sum(dims, keepdim=True).clamp(min=1)
    pooled = (n * mean).sum(dims, keepdim=True) / total
    variance = (n * (std.square() + (mean - pooled).square())).sum(dims, keepdim=True) / total
    return pooled.squeeze(dims), variance.sqrt().squeeze(dims)


def _metadata(
    shape: tuple[int, ...],
    latent_format: str,
    palette: Palette | None,
    ignored: tuple[int, ...],
    dataset_name: str,
) -> PriorMetadata:
    channels, height, width = shape
    return PriorMetadata(
        latent_channels=channels,
        grid=(height, width),
        downscale_factor=_DOWNSCALE_FACTOR,
        latent_format=latent_format,
        source_size=(width * _DOWNSCALE_FACTOR, height * _DOWNSCALE_FACTOR),
        dataset_name=dataset_name,
        class_names=dict(palette.names) if palette else {},
        palette=palette,
        ignore_ids=ignored,
        # How images were resized the files do not say; labels they took from a cell's corner.
        label_method="nearest",
    )
