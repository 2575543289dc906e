"""Label images as the nodes take them: to class ids on a prior's cells."""

from __future__ import annotations

from torch import Tensor

from ..prior_tools import Prior, PriorError, decode_label_image, fit_labels, resize_labels
from ..prior_tools.palettes import Palette, check_matched, get_palette

# The choice of the palette that the prior was built with.
PRIORS_OWN = "prior"


def label_palette(prior: Prior, name: str) -> Palette:
    """The palette of this name, or the prior's own for PRIORS_OWN; PriorError if it has none."""
    if name != PRIORS_OWN:
        return get_palette(name)
    if prior.metadata.palette is None:
        raise PriorError(
            "the prior does not say which colours its classes have; choose the label image's "
            "palette"
        )
    return prior.metadata.palette


def labels_on_grid(prior: Prior, label_image: Tensor, palette: Palette) -> Tensor:
    """Class ids [N, h, w] of label images [N, H, W, 3], through the ControlNet's geometry."""
    factor = prior.metadata.downscale_factor
    height, width = (side // factor for side in label_image.shape[1:3])
    if height < 1 or width < 1:
        raise PriorError(
            f"the label image has {label_image.shape[2]}x{label_image.shape[1]} pixels; expected "
            f"at least {factor}x{factor}"
        )
    ids, unmatched = decode_label_image(label_image, palette)
    check_matched(label_image, unmatched, palette, "the label image")
    ids = fit_labels(ids, height * factor, width * factor)
    return resize_labels(ids, (height, width), prior.metadata.label_method)
