"""The three priors of a dataset, and what must be known of it to use them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .errors import PriorError
from .labels.geometry import LABEL_METHODS, RESIZE_POLICIES
from .labels.palettes import Palette
from .latent_formats import LATENT_FORMATS, UNKNOWN
from .vae_fingerprint import VaeFingerprint

# Pixels per latent cell and side; the coarsest of known VAEs.
MAX_DOWNSCALE_FACTOR = 128


@dataclass(frozen=True)
class PriorMetadata:
    """What a prior was made from.

    Attributes:
        latent_channels: C of the VAE's latents.
        grid: (h, w), latent cells.
        downscale_factor: pixels per latent cell.
        latent_format: the model family's latent format, one of LATENT_FORMATS.
        vae: of the VAE's weights, None where not known.
        source_size: (width, height) in pixels at which images were encoded.
        dataset_name: free text.
        class_names: class id -> name.
        palette: colors of the classes in label images.
        ignore_ids: class ids kept out of the class and joint moments.
        resize_policy: how images were brought to source_size, one of RESIZE_POLICIES.
        label_method: how labels were brought to the grid, one of LABEL_METHODS.

    PriorError for sizes below 1, and for names that are none of those.

    >>> prior.metadata.source_size, prior.metadata.grid, prior.metadata.downscale_factor
    ((32, 16), (2, 4), 8)
    """

    latent_channels: int
    grid: tuple[int, int]
    downscale_factor: int = 8
    latent_format: str = UNKNOWN
    vae: VaeFingerprint | None = None
    source_size: tuple[int, int] | None = None
    dataset_name: str = ""
    class_names: dict[int, str] = field(default_factory=dict)
    palette: Palette | None = None
    ignore_ids: tuple[int, ...] = ()
    resize_policy: str = "stretch"
    label_method: str = "majority"

    def __post_init__(self) -> None:
        for name, known in (
            ("latent_format", LATENT_FORMATS),
            ("resize_policy", RESIZE_POLICIES),
            ("label_method", LABEL_METHODS),
        ):
            if getattr(self, name) not in known:
                raise PriorError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}"
                )
        if self.latent_channels < 1 or min(*self.grid, *(self.source_size or self.grid)) < 1:
            raise PriorError(
                f"{self.latent_channels} latent channels, grid {self.grid} and source size "
                f"{self.source_size} are given; expected at least 1 each"
            )
        if not 1 <= self.downscale_factor <= MAX_DOWNSCALE_FACTOR:
            raise PriorError(
                f"downscale_factor is {self.downscale_factor}; expected the pixels per latent "
                f"cell, 1..{MAX_DOWNSCALE_FACTOR}"
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
        num_images: number of images.
        metadata: see PriorMetadata.

    >>> prior.class_ids.tolist(), prior.class_image_count.tolist()
    ([0, 3, 8], [2, 2, 1])
    >>> prior.joint_mean[0, :, 0, 0]  # of the sky in the upper left cell
    tensor([0.7000, 0.7000, 0.7000])
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
        """Row in the class tensors of every id in `labels` (any shape); -1 where it has none.

        >>> prior.rows_of(torch.tensor([0, 8, 5]))
        tensor([ 0,  2, -1])
        """
        if len(self.class_ids) == 0:
            return torch.full_like(labels, -1, dtype=torch.int64)
        labels = labels.to("cpu").to(torch.int64).contiguous()
        rows = torch.searchsorted(self.class_ids, labels).clamp(max=len(self.class_ids) - 1)
        return torch.where(self.class_ids[rows] == labels, rows, -1)

    def most_frequent_classes(self) -> Tensor:
        """The class seen most often at each cell, int64 [h, w]; -1 where none was.

        >>> prior.most_frequent_classes()
        tensor([[0, 0, 0, 0],
                [3, 3, 3, 3]])
        """
        if len(self.class_ids) == 0:
            return torch.full(self.grid, -1)
        most = self.class_ids[self.joint_count.argmax(0)]
        return torch.where(self.joint_count.sum(0) > 0, most, -1)

    def class_name(self, class_id: int) -> str:
        """The class's name, or "class ID" where it has none."""
        return self.metadata.class_names.get(class_id, f"class {class_id}")
