"""Prior files: what loads is shown, drawn from, merged and saved."""

from __future__ import annotations

import dataclasses
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import torch

from prior_tools import (
    PALETTES,
    Prior,
    PriorAccumulator,
    PriorError,
    draw_prior_sample,
    load_prior,
    measure_grain,
    merge_priors,
    save_prior,
)
from prior_tools.picture import describe_prior, prior_card
from prior_tools.prior_file import HEADER_KEY
from prior_tools.vae_fingerprint import fingerprint_weights

from .tensor_files import damaged


def make(seed: int) -> bytes:
    """A damaged prior file, each fourth of images alone."""
    return damaged(_whole(labelled=seed % 4 != 0), HEADER_KEY, random.Random(seed))


def uses(data: bytes, folder: Path) -> Iterator[Callable[[], object]]:
    """A file may be refused; one that was not can be used in every way."""
    path = folder / "p.safetensors"
    path.write_bytes(data)

    def use() -> None:
        prior = load_prior(path)
        json.dumps(prior_card(prior)).encode()
        describe_prior(prior)
        for mode in ("joint", "mixture") if prior.labelled else ("spatial",):
            drawn = draw_prior_sample(prior, torch.full((1, *prior.grid), 3), mode)
            assert torch.isfinite(drawn).all(), f"a draw of mode {mode} is not finite"
        draw_prior_sample(prior, torch.full((1, 2, 2), 3), mode)
        keep(prior, folder)
        keep(merge_priors([prior, prior]), folder)

    yield use


def keep(prior: Prior, folder: Path) -> None:
    """Save a prior, which may be refused, and load it, which may not."""
    path = save_prior(prior, folder / "kept.safetensors")
    try:
        load_prior(path)
    except PriorError as error:
        raise AssertionError(f"saved, but then: {error}") from error


@cache
def _whole(labelled: bool) -> bytes:
    generator = torch.Generator().manual_seed(0)
    state = PriorAccumulator(4, (3, 5), (255,) if labelled else ())
    labels = torch.randint(-1, 9 if labelled else 0, (6, 3, 5), generator=generator)
    latents = torch.randn(6, 4, 3, 5, generator=generator) * 5
    state.update(latents, labels)
    of_labels = {
        "class_names": {0: "road", 3: "wall"},
        "palette": PALETTES["cityscapes"],
        "label_method": "nearest",
    }
    prior = state.finalize(
        latent_format="sd15",
        vae=fingerprint_weights({"w": torch.ones(9)}),
        source_size=(40, 24),
        dataset_name="Straßen",
        resize_policy="crop",
        **(of_labels if labelled else {"label_method": None}),
    )
    prior = dataclasses.replace(prior, grain=measure_grain(latents, labels, prior))
    with tempfile.TemporaryDirectory() as folder:
        return save_prior(prior, Path(folder) / "p.safetensors").read_bytes()
