"""Label images as the nodes take them: to class ids on a prior's cells."""

from __future__ import annotations

from torch import Tensor

from ..prior_tools import Palette, Prior, PriorError, get_palette, labels_on_grid

# The choice of the palette that the prior was built with.
PRIORS_OWN = "prior"


def label_palette(prior: Prior, name: str) -> Palette:
    """The palette of this name, or the prior's own for PRIORS_OWN; PriorError if it has none."""
    if name != PRIORS_OWN:
        return get_palette(name)
    if prior.metadata.palette is None:
        raise PriorError(
            "the prior does not say which colors its classes have; choose the label image's palette"
        )
    return prior.metadata.palette


def labels_for(prior: Prior, label_image: Tensor, palette: Palette) -> Tensor:
    """Class ids [N, h, w] of label images [N, H, W, 3] on the prior's cells."""
    metadata = prior.metadata
    return labels_on_grid(label_image, palette, metadata.downscale_factor, metadata.label_method)
