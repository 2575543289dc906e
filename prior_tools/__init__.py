"""Spatial, categorical and joint priors of a labelled dataset's VAE latents.

The method of SCP-Diff (arXiv 2403.09638) in pure torch: collect the moments of latents in one pass
(`PriorAccumulator`, `build_prior`), keep them in a safe file (`load_prior`, `save_prior`), draw a
clean latent for a label map (`labels_on_grid`, `draw_prior_sample`) and cut a sampler's schedule at
step mu*T (`partial_schedule`; for other models than Stable Diffusion, `sigma_of_noise` says where).
All that a script needs is here by name; nothing of it imports ComfyUI.

Sizes in pixels are (width, height), grids and shapes of tensors [h, w]; in words a size is always
width x height.

A whole script, where `folder` holds images and labels of two street scenes of 32x16 pixels, sky
above a road, the second with a car. The examples of all other docstrings go on from here.

>>> import numpy as np
>>> import torch
>>> from PIL import Image
>>> from prior_tools import build_prior, draw_prior_sample, find_dataset, labels_on_grid
>>> from prior_tools import load_prior, partial_schedule, save_prior
>>> def encode(images):  # a stand-in for a VAE: means of 8x8 pixels
...     return torch.nn.functional.avg_pool2d(images.movedim(-1, 1), 8)
>>> layout = find_dataset("pairs", folder, split="").with_palette("camvid")
>>> dataset = layout.dataset(size=(32, 16))
>>> path = save_prior(build_prior(dataset, encode), folder / "streets.safetensors")
>>> prior = load_prior(path)
>>> label_image = np.array(Image.open(folder / "labels" / "b.png"))[None]
>>> labels = labels_on_grid(label_image, "camvid", prior.metadata.downscale_factor)
>>> latent = draw_prior_sample(prior, labels, seed=7)
>>> latent.shape
torch.Size([1, 3, 2, 4])
>>> sigmas = partial_schedule(torch.tensor([14.6, 7.0, 3.0, 1.0, 0.0]), start=5.0)
>>> start = latent + sigmas[0] * torch.randn(latent.shape)
"""

from .accumulator import PriorAccumulator
from .building.build import BuildCancelled, build_prior
from .building.options import BuildOptions
from .building.reading import LabelledDataset
from .datasets.dataset import LabelledImage, PairDataset
from .datasets.images import ImageDataset, ImageFile, find_images
from .datasets.layout import Layout
from .datasets.layouts import LAYOUTS, find_dataset
from .datasets.pairs import Pair, find_pairs
from .draw import PRIOR_MODES, Coverage, coverage, draw_prior_sample, prior_moments, soft_moments
from .errors import PriorError
from .grain import Grain
from .grain_estimate import measure_grain
from .held_out import HeldOut, ModeFit
from .labels.colors import decode_label_image
from .labels.geometry import fit_labels, resize_labels
from .labels.grid import labels_on_grid
from .labels.palette_files import load_palette
from .labels.palettes import PALETTES, Palette, get_palette
from .labels.soft import SoftLabels, soft_labels
from .merge import merge_priors
from .pooled import pooled_prior
from .prior import Prior, PriorMetadata
from .prior_file import load_prior, save_prior
from .schedule import latent_kept, partial_schedule, sigma_of_noise, stable_diffusion_noise

__all__ = [
    "LAYOUTS",
    "PALETTES",
    "PRIOR_MODES",
    "BuildCancelled",
    "BuildOptions",
    "Coverage",
    "Grain",
    "HeldOut",
    "ImageDataset",
    "ImageFile",
    "LabelledDataset",
    "LabelledImage",
    "Layout",
    "ModeFit",
    "Pair",
    "PairDataset",
    "Palette",
    "Prior",
    "PriorAccumulator",
    "PriorError",
    "PriorMetadata",
    "SoftLabels",
    "build_prior",
    "coverage",
    "decode_label_image",
    "draw_prior_sample",
    "find_dataset",
    "find_images",
    "find_pairs",
    "fit_labels",
    "get_palette",
    "labels_on_grid",
    "latent_kept",
    "load_palette",
    "load_prior",
    "measure_grain",
    "merge_priors",
    "partial_schedule",
    "pooled_prior",
    "prior_moments",
    "resize_labels",
    "save_prior",
    "sigma_of_noise",
    "soft_labels",
    "soft_moments",
    "stable_diffusion_noise",
]
