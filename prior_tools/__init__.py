"""Spatial, categorical and joint priors of a labelled dataset's VAE latents.

The method of SCP-Diff (arXiv 2403.09638) in pure torch: collect the moments of latents in one pass
(`PriorAccumulator`, `build_prior`), keep them in a safe file (`Prior`), draw a clean latent for a
label map (`draw_prior_sample`) and cut a sampler's schedule at step mu*T (`partial_schedule`).
Nothing here imports ComfyUI.
"""

from .accumulator import PriorAccumulator
from .build import BuildCancelled, build_prior
from .draw import PRIOR_MODES, draw_prior_sample, prior_moments
from .errors import PriorError
from .labels import fit_labels, resize_labels
from .palettes import PALETTES, Palette, decode_label_image, get_palette
from .prior import Prior, PriorMetadata
from .schedule import partial_schedule

__all__ = [
    "PALETTES",
    "PRIOR_MODES",
    "BuildCancelled",
    "Palette",
    "Prior",
    "PriorAccumulator",
    "PriorError",
    "PriorMetadata",
    "build_prior",
    "decode_label_image",
    "draw_prior_sample",
    "fit_labels",
    "get_palette",
    "partial_schedule",
    "prior_moments",
    "resize_labels",
]
