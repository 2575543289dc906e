"""What a node finds out about a prior is told on that node, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from dev.browser import close_dialogs
from prior_tools import PALETTES, PriorAccumulator, save_prior

pytestmark = [pytest.mark.slow, pytest.mark.every_frontend]

SIXTEEN, FEW = "sixteen_channels.safetensors", "few_classes.safetensors"

NODES = {
    "Model": ("SCP_LoadDemoModel", (0, 0), {}),
    "Label map": ("SCP_DemoLabelMap", (0, 220), {"index": 0}),
    "Prior": ("SCP_LoadPrior", (440, 360), {}),
    "Draw": ("SCP_JointPriorNoise", (440, 0), {}),
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


@pytest.fixture
def write_prior(street: Any, page: Page) -> Callable[..., None]:
    """`write_prior(name, channels, classes)`: for the demo's label maps, into the server's folder."""

    def write(name: str, channels: int, classes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        state = PriorAccumulator(channels, (18, 36), ())
        labels = torch.randint(0, classes, (4, 18, 36), generator=generator)
        state.update(torch.randn(4, channels, 18, 36, generator=generator), labels)
        latent_format = {4: "sd15", 16: "sd3"}[channels]
        prior = state.finalize(palette=PALETTES["cityscapes"], latent_format=latent_format)
        save_prior(prior, street.base / "models" / "scp_priors" / name)
        # As one does after a file came into the folder.
        page.evaluate("app.extensionManager.command.execute('Comfy.RefreshNodeDefinitions')")

    return write


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
    write_prior, page, add_nodes, set_widget, refused_by, screenshot
):
    write_prior(SIXTEEN, channels=16, classes=19)
    page.evaluate("() => { app.canvas.ds.offset = [140, 120]; }")
    add_nodes(NODES, LINKS)
    set_widget("SCP_LoadPrior", "prior_name", SIXTEEN)
    expect(page.locator(".scp-prior-card:visible")).to_contain_text("VAE sd3, 16 channels")
    told = refused_by("SCP_PartialDenoiseKSampler")
    expect(told).to_contain_text("the prior has 16 latent channels and the model (SD15) 4")
    expect(told).to_contain_text("load a prior that was built with this model's VAE")
    screenshot("told")
    close_dialogs(page)
    assert marked_nodes(page) == ["SCP_PartialDenoiseKSampler"]
    screenshot("marked")


def test_a_warning_stands_on_its_node(
    write_prior, page, frontend, add_nodes, set_widget, run, screenshot
):
    write_prior(FEW, channels=4, classes=2)
    page.evaluate("() => { app.canvas.ds.offset = [140, 120]; }")
    add_nodes(NODES, LINKS)
    set_widget("SCP_LoadPrior", "prior_name", FEW)
    assert run()["type"] == "execution_success"
    text = "of the label map is of classes that the prior has never seen"
    warning = page.locator(".dom-widget:visible, [data-node-id]").filter(has_text=text)
    expect(warning).to_have_count(1)
    assert marked_nodes(page) == []
    screenshot("warned")
