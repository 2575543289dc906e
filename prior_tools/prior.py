"""The three priors of a dataset, and what must be known of it to use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from .errors import PriorError, counted, listing
from .grain import Grain
from .held_out import HeldOut
from .labels.geometry import LABEL_METHODS, RESIZE_POLICIES
from .labels.ids import check_integers
from .labels.palettes import Palette, get_palette
from .latent_formats import LATENT_FORMATS, UNKNOWN, check_shape
from .vae_fingerprint import VaeFingerprint
from .whole_numbers import check_downscale_factor, two_sides, whole, whole_numbers


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
        palette: colors of the classes in label images; a name becomes the palette of that name.
        ignore_ids: class ids kept out of the class and joint moments.
        resize_policy: how images were brought to source_size, one of RESIZE_POLICIES.
        label_method: how labels were brought to the grid, one of LABEL_METHODS; None where there
            were none. A prior of images alone has no class names, palette or ignored ids.
        held_out: what images that a build held out say of the prior, None where it held out none.

    Raises PriorError for values of another type or range, names that are none of those, and another
    number of channels than the latent format has.

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
    label_method: str | None = "majority"
    held_out: HeldOut | None = None

    def __post_init__(self) -> None:
        for name, known in (
            ("latent_format", LATENT_FORMATS),
            ("resize_policy", RESIZE_POLICIES),
            ("label_method", LABEL_METHODS),
        ):
            if name == "label_method" and self.label_method is None:
                continue
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in known:
                raise PriorError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}"
                )
        if not isinstance(self.dataset_name, str):
            raise PriorError(f"dataset_name is {self.dataset_name!r}; expected a text")
        if not isinstance(self.vae, VaeFingerprint | None):
            raise PriorError(
                f"vae is {self.vae!r}; expected the fingerprint of its weights, or None where they "
                "are not known"
            )
        if not isinstance(self.held_out, HeldOut | None):
            raise PriorError(f"held_out is {self.held_out!r}; expected a HeldOut, or None")
        taken: dict[str, Any] = {
            "latent_channels": whole(self.latent_channels, "latent_channels", 1),
            "grid": two_sides(self.grid, "grid", "(h, w) in latent cells"),
            "downscale_factor": check_downscale_factor(self.downscale_factor),
            "class_names": _names(self.class_names),
            "ignore_ids": whole_numbers(self.ignore_ids, "an ignored id", -(2**31), 2**31),
        }
        if self.source_size is not None:
            taken["source_size"] = two_sides(
                self.source_size, "source_size", "(width, height) in pixels"
            )
        if self.palette is not None:
            taken["palette"] = get_palette(self.palette)
        for name, value in taken.items():
            object.__setattr__(self, name, value)
        of_classes = [
            name for name in ("class_names", "palette", "ignore_ids") if getattr(self, name)
        ]
        if self.label_method is None and of_classes:
            raise PriorError(
                f"{listing(of_classes)} is given, but label_method None says that there were no "
                "label maps; leave it out, or give the label_method"
            )
        check_shape(self.latent_format, self.latent_channels, self.downscale_factor)


def _names(names: Mapping[int, str]) -> dict[int, str]:
    if not isinstance(names, Mapping) or not all(isinstance(n, str) for n in names.values()):
        raise PriorError(f"class_names is {names!r}; expected a table from class ids to texts")
    return {whole(i, "a class id of class_names", 0): name for i, name in names.items()}


def check_told(names: Iterable[str], told_elsewhere: Mapping[str, str]) -> None:
    """PriorError if one of these names is no field of PriorMetadata, or is told elsewhere.

    told_elsewhere: field -> what tells it.
    """
    for name in sorted(names):
        if name in told_elsewhere:
            raise PriorError(f"{name} is given as metadata; it is told by {told_elsewhere[name]}")
    free = [f.name for f in fields(PriorMetadata) if f.name not in told_elsewhere]
    if odd := sorted(set(names) - set(free)):
        raise PriorError(
            f"{listing(odd)} is given as metadata; expected fields of PriorMetadata: "
            f"{', '.join(free)}"
        )


@dataclass(frozen=True, eq=False)
class Prior:
    """Moments of a dataset's VAE latents in raw VAE units; population deviations throughout.

    K classes, C latent channels, grid (h, w). Tensors are on the CPU, floats are float32. Of images
    alone, without label maps, there are the spatial moments, and K is 0.

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
        grain: what its images' residuals share; None where that was not measured, as in imported
            priors.

    Raises PriorError for a grain of other channels, classes or of another grid.

    >>> prior.class_ids.tolist(), prior.class_image_count.tolist()
    ([0, 3, 8], [2, 2, 1])
    >>> prior.joint_mean[0, :, 0, 0]  # of the sky in the upper left cell
    tensor([0.7000, 0.7000, 0.7000])
    >>> prior
    Prior(2 images, 3 classes, 3 channels, grid (2, 4), latent_format 'unknown')
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
    grain: Grain | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.grain, Grain | None):
            raise PriorError(
                f"grain is a {type(self.grain).__name__}; expected a Grain, or None where it was "
                "not measured"
            )
        if self.grain is None:
            return
        own = self.latent_channels, self.grid, len(self.class_ids)
        if (self.grain.channels, self.grain.grid, len(self.grain.regions)) != own:
            raise PriorError(
                f"the grain is of {self.grain.channels} channels on a grid of {self.grain.grid}, "
                f"of {len(self.grain.regions)} classes; expected the prior's, {own[0]} on {own[1]} "
                f"of {own[2]}"
            )

    def __repr__(self) -> str:
        # The tensors of a real one fill pages.
        return (
            f"Prior({counted(self.num_images, 'image')}, "
            f"{counted(len(self.class_ids), 'class', 'classes')}, "
            f"{counted(self.latent_channels, 'channel')}, grid {self.grid}, "
            f"latent_format {self.metadata.latent_format!r})"
        )

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) in latent cells.

        >>> prior.grid
        (2, 4)
        """
        return self.metadata.grid

    @property
    def latent_channels(self) -> int:
        """C.

        >>> prior.latent_channels
        3
        """
        return self.metadata.latent_channels

    @property
    def labelled(self) -> bool:
        """Whether it was built with label maps; if not, its only draws are spatial.

        >>> prior.labelled
        True
        """
        return self.metadata.label_method is not None

    def rows_of(self, labels: Tensor) -> Tensor:
        """Row in the class tensors of every id in `labels` (any shape); -1 where it has none.

        On the CPU, wherever the labels are.

        Raises PriorError for labels that are no integers.

        >>> prior.rows_of(torch.tensor([0, 8, 5]))
        tensor([ 0,  2, -1])
        """
        check_integers(labels)
        if len(self.class_ids) == 0:
            return torch.full(labels.shape, -1)
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
        """The class's name, or "class ID" where it has none.

        >>> prior.class_name(3), prior.class_name(99)
        ('road', 'class 99')
        """
        return self.metadata.class_names.get(class_id, f"class {class_id}")
