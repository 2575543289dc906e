"""Spatial, categorical and joint priors of a labelled dataset's VAE latents.

The method of SCP-Diff (arXiv 2403.09638) in pure torch: collect the moments of latents in one pass
(`PriorAccumulator`, `build_prior`), keep them in a safe file (`load_prior`, `save_prior`), draw a
clean latent for a label map (`labels_on_grid`, `draw_prior_sample`) and cut a sampler's schedule at
step mu*T (`partial_schedule`). All that a script needs is here by name; nothing of it imports
ComfyUI.

Sizes in pixels are (width, height), grids and shapes of tensors [h, w].
"""

from .accumulator import PriorAccumulator
from .building.build import BuildCancelled, BuildOptions, build_prior
from .datasets.dataset import LabelledImage, PairDataset
from .datasets.layouts import LAYOUTS, Layout, find_dataset
from .datasets.pairs import Pair, find_pairs
from .draw import PRIOR_MODES, Coverage, coverage, draw_prior_sample, prior_moments
from .errors import PriorError
from .labels.geometry import fit_labels, resize_labels
from .labels.grid import labels_on_grid
from .labels.palettes import PALETTES, Palette, decode_label_image, get_palette
from .merge import merge_priors
from .prior import Prior, PriorMetadata
from .prior_file import load_prior, save_prior
from .schedule import partial_schedule

__all__ = [
    "LAYOUTS",
    "PALETTES",
    "PRIOR_MODES",
    "BuildCancelled",
    "BuildOptions",
    "Coverage",
    "LabelledImage",
    "Layout",
    "Pair",
    "PairDataset",
    "Palette",
    "Prior",
    "PriorAccumulator",
    "PriorError",
    "PriorMetadata",
    "build_prior",
    "coverage",
    "decode_label_image",
    "draw_prior_sample",
    "find_dataset",
    "find_pairs",
    "fit_labels",
    "get_palette",
    "labels_on_grid",
    "load_prior",
    "merge_priors",
    "partial_schedule",
    "prior_moments",
    "resize_labels",
    "save_prior",
]
