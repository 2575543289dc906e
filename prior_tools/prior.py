"""The three priors of a dataset, and what must be known of it to use them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor

from .errors import PriorError
from .palettes import Palette

FORMAT_VERSION = 1
LATENT_FORMATS = ("sd15", "sdxl", "sd3", "flux", "unknown")


@dataclass(frozen=True)
class PriorMetadata:
    """What a prior was made from.

    Attributes:
        latent_channels: C of the VAE's latents.
        grid: (h, w), latent cells.
        downscale_factor: pixels per latent cell.
        latent_format: the model family's latent format, one of LATENT_FORMATS.
        vae_hash: of the VAE's weights (see `weights_hash`), "" where not known.
        source_size: (width, height) in pixels at which images were encoded.
        dataset_name: free text.
        class_names: class id -> name.
        palette: colours of the classes in label images.
        ignore_ids: class ids kept out of the class and joint moments.
        resize_policy: how images were brought to source_size, "stretch" or "crop".
        label_method: how labels were brought to the grid, "majority" or "nearest".
        format_version: of the file that it was read from, or will be written to.
    """

    latent_channels: int
    grid: tuple[int, int]
    downscale_factor: int = 8
    latent_format: str = "unknown"
    vae_hash: str = ""
    source_size: tuple[int, int] | None = None
    dataset_name: str = ""
    class_names: dict[int, str] = field(default_factory=dict)
    palette: Palette | None = None
    ignore_ids: tuple[int, ...] = ()
    resize_policy: str = "stretch"
    label_method: str = "majority"
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.latent_format not in LATENT_FORMATS:
            raise PriorError(
                f"latent_format is {self.latent_format!r}; expected one of {LATENT_FORMATS}"
            )


@dataclass(frozen=True, eq=False)
class Prior:
    """Moments of a dataset's VAE latents in raw VAE units; population deviations throughout.

    K classes, C latent channels, grid (h, w). Tensors are on the CPU, floats are float32.

    Attributes:
        class_ids: int64 [K], ascending.
        joint_mean, joint_std: [K, C, h, w], over the images whose label at the cell is the class;
            0 where the count is 0.
        joint_count: int32 [K, h, w], number of those images.
        spatial_mean, spatial_std: [C, h, w], over all images.
        class_mean, class_std: [K, C], image-weighted: an image's first two moments over its cells
            of the class, averaged over the images that hold the class. This is what the paper's
            estimator, one random cell per class and image, converges to.
        class_image_count: int32 [K], number of those images.
        class_pixel_mean, class_pixel_std: [K, C], over all cells of the class alike.
        num_images: number of images.
        metadata: see PriorMetadata.
    """

    class_ids: Tensor
    joint_mean: Tensor
    joint_std: Tensor
    joint_count: Tensor
    spatial_mean: Tensor
    spatial_std: Tensor
    class_mean: Tensor
    class_std: Tensor
    class_image_count: Tensor
    class_pixel_mean: Tensor
    class_pixel_std: Tensor
    num_images: int
    metadata: PriorMetadata

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) in latent cells."""
        return self.metadata.grid

    @property
    def latent_channels(self) -> int:
        """C."""
        return self.metadata.latent_channels

    def rows_of(self, labels: Tensor) -> Tensor:
        """Row in the class tensors of every id in `labels` (any shape); -1 where it has none."""
        if len(self.class_ids) == 0:
            return torch.full_like(labels, -1, dtype=torch.int64)
        labels = labels.to("cpu").to(torch.int64).contiguous()
        rows = torch.searchsorted(self.class_ids, labels).clamp(max=len(self.class_ids) - 1)
        return torch.where(self.class_ids[rows] == labels, rows, -1)

    def most_frequent_classes(self) -> Tensor:
        """The class seen most often at each cell, int64 [h, w]; -1 where none was."""
        if len(self.class_ids) == 0:
            return torch.full(self.grid, -1)
        most = self.class_ids[self.joint_count.argmax(0)]
        return torch.where(self.joint_count.sum(0) > 0, most, -1)

    def class_name(self, class_id: int) -> str:
        """The class's name, or "class ID" where it has none."""
        return self.metadata.class_names.get(class_id, f"class {class_id}")

    def save(self, path: Path | str, overwrite: bool = True) -> Path:
        """Write a safetensors file in one step; see `prior_file.save_prior`."""
        from .prior_file import save_prior

        return save_prior(self, path, overwrite)

    @staticmethod
    def load(path: Path | str) -> Prior:
        """Read a file that `save` wrote; see `prior_file.load_prior`."""
        from .prior_file import load_prior

        return load_prior(path)

    def merge(self, others: Prior | Iterable[Prior]) -> Prior:
        """The prior of this one's images and of all of `others`'s together, to 1e-6.

        Classes are united. Raises PriorError where two of them contradict each other in channels,
        grid, downscale factor, latent format, VAE, class names, palette, ignore ids, or in how
        images and labels were resized.
        """
        from .accumulator import PriorAccumulator

        others = [others] if isinstance(others, Prior) else list(others)
        total = PriorAccumulator.from_prior(self)
        metadata = self.metadata
        for other in others:
            metadata = _merged_metadata(metadata, other.metadata)
            total.merge(PriorAccumulator.from_prior(other))
        kept = {f.name: getattr(metadata, f.name) for f in fields(metadata)}
        for own in ("latent_channels", "grid", "ignore_ids"):
            del kept[own]
        return total.finalize(**kept)


def _merged_metadata(a: PriorMetadata, b: PriorMetadata) -> PriorMetadata:
    """What holds of both; PriorError says which field contradicts."""

    def same(name: str, unknown: object = None) -> object:
        ours, theirs = getattr(a, name), getattr(b, name)
        if ours == theirs or theirs == unknown:
            return ours
        if ours == unknown:
            return theirs
        raise PriorError(
            f"cannot merge priors: {name.replace('_', ' ')} differs ({ours} against {theirs})"
        )

    for class_id in a.class_names.keys() & b.class_names.keys():
        if a.class_names[class_id] != b.class_names[class_id]:
            raise PriorError(
                f"cannot merge priors: class {class_id} is {a.class_names[class_id]!r} in one and "
                f"{b.class_names[class_id]!r} in another"
            )
    names = sorted({*a.dataset_name.split(" + "), *b.dataset_name.split(" + ")} - {""})
    return PriorMetadata(
        latent_channels=same("latent_channels"),
        grid=same("grid"),
        downscale_factor=same("downscale_factor"),
        latent_format=same("latent_format", "unknown"),
        vae_hash=same("vae_hash", ""),
        source_size=a.source_size if a.source_size == b.source_size else None,
        dataset_name=" + ".join(names),
        class_names={**a.class_names, **b.class_names},
        palette=same("palette"),
        ignore_ids=same("ignore_ids"),
        resize_policy=same("resize_policy"),
        label_method=same("label_method"),
    )
