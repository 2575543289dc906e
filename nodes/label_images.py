"""Label images as the nodes take them: to class ids on a prior's cells."""

from __future__ import annotations

from torch import Tensor

from ..prior_tools import Palette, Prior, PriorError
from ..prior_tools.labels.grid import ids_on_grid
from ..prior_tools.labels.reading import LabelRules, read_label_images
from ..prior_tools.labels.tally import LabelTally
from .palettes import palette_named

# The choice of the palette that the prior was built with.
PRIORS_OWN = "prior"


def label_palette(prior: Prior, name: str) -> Palette:
    """The palette of this name, or the prior's own for PRIORS_OWN; PriorError if it has none."""
    if name != PRIORS_OWN:
        return palette_named(name)
    if prior.metadata.palette is None:
        raise PriorError(
            "the prior does not say which colors its classes have; choose the label image's palette"
        )
    return prior.metadata.palette


def labels_for(prior: Prior, label_image: Tensor, palette: Palette) -> tuple[Tensor, LabelTally]:
    """Class ids [N, h, w] of label images [N, H, W, 3] on the prior's cells; what they hold."""
    metadata = prior.metadata
    rules = LabelRules(palette, palette.ignore_ids)
    reading = read_label_images(label_image, rules, "the label image")
    labels = ids_on_grid(reading.ids, metadata.downscale_factor, metadata.label_method)
    return labels, reading.tally
