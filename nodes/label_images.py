"""Label images as the nodes take them: to class ids on a prior's cells."""

from __future__ import annotations

import logging
from collections.abc import Collection

from torch import Tensor

from ..prior_tools import Palette, Prior, PriorError
from ..prior_tools.labels.findings import findings
from ..prior_tools.labels.grid import ids_on_grid, no_ids_on_grid
from ..prior_tools.labels.reading import LabelRules, read_label_images
from ..prior_tools.labels.tally import LabelTally
from .host_models import notify
from .palettes import palette_named

_log = logging.getLogger("scp-diff")

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


def labels_for(prior: Prior, label_image: Tensor, palette: str) -> tuple[Tensor, LabelTally]:
    """Class ids [N, h, w] of label images [N, H, W, 3] on the prior's cells; what they hold.

    `palette`: see `label_palette`. The labelled share goes into the log, and what is strange onto
    the node. For a prior of images alone any image will do, only its size counts: all ids are -1.
    """
    metadata = prior.metadata
    if metadata.label_method is None:
        return no_ids_on_grid(label_image, metadata.downscale_factor), LabelTally()
    colors = label_palette(prior, palette)
    ignored = (*colors.ignore_ids, *metadata.ignore_ids)
    reading = read_label_images(label_image, LabelRules(colors, ignored), "the label image")
    tell_labels(reading.tally, colors, ignored)
    labels = ids_on_grid(reading.ids, metadata.downscale_factor, metadata.label_method)
    return labels, reading.tally


def tell_labels(
    tally: LabelTally, palette: Palette, ignored: Collection[int], option: str = ""
) -> None:
    """Log the labelled share, and warn of what is strange; see `findings`."""
    share = tally.labelled(ignored)
    _log.info("SCP-Diff: %.1f%% of the label pixels are of a class that counts", 100 * share)
    for kind, text in findings(tally, palette, ignored, option):
        notify(text, kind)
