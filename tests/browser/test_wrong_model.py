"""A prior that does not fit the model is refused on the node that finds out, in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from dev.browser import close_dialogs
from prior_tools import PALETTES, PriorAccumulator, save_prior

pytestmark = [pytest.mark.slow, pytest.mark.every_frontend]

NAME = "sixteen_channels.safetensors"

NODES = {
    "Model": ("SCP_LoadDemoModel", (0, 0), {}),
    "Label map": ("SCP_DemoLabelMap", (0, 200), {"index": 0}),
    "Prior": ("SCP_LoadPrior", (0, 460), {"prior_name": NAME}),
    "Draw": ("SCP_JointPriorNoise", (440, 300), {}),
    "Sampler": ("SCP_PartialDenoiseKSampler", (840, 0), {"steps": 2}),
    "Decode": ("VAEDecode", (1240, 0), {}),
    "Image": ("PreviewImage", (1240, 120), {}),
}
LINKS = [
    ("Prior", 0, "Draw", "prior"),
    ("Label map", 0, "Draw", "label_image"),
    ("Model", 0, "Sampler", "model"),
    ("Model", 3, "Sampler", "positive"),
    ("Model", 4, "Sampler", "negative"),
    ("Draw", 0, "Sampler", "latent_image"),
    ("Sampler", 0, "Decode", "samples"),
    ("Model", 2, "Decode", "vae"),
    ("Decode", 0, "Image", "images"),
]


@pytest.fixture(scope="module")
def sixteen_channels(street) -> None:
    """A prior as of a Stable Diffusion 3, for the demo's label maps, in the server's folder."""
    generator = torch.Generator().manual_seed(0)
    state = PriorAccumulator(16, (18, 36), ())
    labels = torch.randint(0, 19, (4, 18, 36), generator=generator)
    state.update(torch.randn(4, 16, 18, 36, generator=generator), labels)
    prior = state.finalize(palette=PALETTES["cityscapes"], latent_format="sd3")
    save_prior(prior, street.base / "models" / "scp_priors" / NAME)


def marked_nodes(page: Page) -> list[dict[str, Any]]:
    """The nodes that have the frame of an error."""
    return page.evaluate(
        """() => app.graph.nodes.filter(node => {
        const html = document.querySelector(`[data-node-id="${node.id}"]`);
        const framed = html && (html.matches('.ring-destructive') ||
            html.querySelector('.ring-destructive'));
        return html ? framed : node.strokeStyles.executionError?.call(node);
        }).map(node => node.type)"""
    )


def test_a_prior_of_other_channels_than_the_models_is_refused_by_the_sampler(
    sixteen_channels, page, add_nodes, refused_by, screenshot
):
    # As one does after a file came into the folder.
    page.evaluate("app.extensionManager.command.execute('Comfy.RefreshNodeDefinitions')")
    page.evaluate("() => { app.canvas.ds.offset = [140, 180]; }")
    add_nodes(NODES, LINKS)
    expect(page.locator(".scp-prior-card:visible")).to_contain_text("VAE sd3, 16 channels")
    told = refused_by("SCP_PartialDenoiseKSampler")
    expect(told).to_contain_text("the prior has 16 latent channels and the model (SD15) 4")
    expect(told).to_contain_text("load a prior that was built with this model's VAE")
    screenshot("told")
    close_dialogs(page)
    assert marked_nodes(page) == ["SCP_PartialDenoiseKSampler"]
    screenshot("marked")
