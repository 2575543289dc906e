"""What a node finds out about a prior is told on that node, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from playwright.sync_api import Locator, Page, expect

from dev.browser import close_dialogs
from prior_tools import PALETTES, PriorAccumulator, save_prior

pytestmark = [pytest.mark.slow, pytest.mark.every_frontend]

SIXTEEN, FEW = "sixteen_channels.safetensors", "few_classes.safetensors"

# The demo's trees are of this class, and a prior's file says what it is called.
UNSEEN, HARMFUL = 8, "<img src=x onerror='window.harmed = true'>"
NOTE = ".scp-warnings:visible"

NODES = {
    "Model": ("SCP_LoadDemoModel", (0, 0), {}),
    "Label map": ("SCP_DemoLabelMap", (0, 220), {"index": 0}),
    "Prior": ("SCP_LoadPrior", (840, 440), {}),
    "Draw": ("SCP_JointPriorNoise", (440, 0), {"noise": "white"}),
    "Sampler": ("SCP_PartialDenoiseKSampler", (840, 0), {"steps": 2, "mu_of": "model"}),
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
    """`write_prior(name, channels, classes)`: for the demo's label maps, into the server's folder.

    It has seen the first so many classes, each in a part of the places.
    """

    def write(name: str, channels: int, classes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        state = PriorAccumulator(channels, (18, 36), ())
        labels = torch.randint(0, classes, (4, 18, 36), generator=generator)
        state.update(torch.randn(4, channels, 18, 36, generator=generator), labels)
        palette = PALETTES["cityscapes"]
        prior = state.finalize(
            palette=palette,
            class_names={**palette.names, UNSEEN: HARMFUL},
            latent_format={4: "sd15", 16: "sd3"}[channels],
        )
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
    write_prior, page, add_nodes, set_widget, assert_refused, screenshot
):
    write_prior(SIXTEEN, channels=16, classes=19)
    page.evaluate("() => { app.canvas.ds.offset = [140, 120]; }")
    add_nodes(NODES, LINKS)
    set_widget("SCP_LoadPrior", "prior_name", SIXTEEN)
    expect(page.locator(".scp-prior-card:visible")).to_contain_text("VAE sd3, 16 channels")
    assert_refused(
        "SCP_PartialDenoiseKSampler",
        "the prior has 16 latent channels and the model (SD15) 4",
        "load a prior that was built with this model's VAE",
    )
    screenshot("told")
    close_dialogs(page)
    assert marked_nodes(page) == ["SCP_PartialDenoiseKSampler"]
    screenshot("marked")


@pytest.fixture
def add_graph(write_prior, page: Page, add_nodes, set_widget, run) -> Callable[[], None]:
    """`add_graph()`: make a graph whose draw warns of two things when it runs."""

    def add_() -> None:
        write_prior(FEW, channels=4, classes=UNSEEN)
        page.evaluate("() => { app.canvas.ds.offset = [140, 120]; }")
        add_nodes(NODES, LINKS)
        set_widget("SCP_LoadPrior", "prior_name", FEW)

    return add_


def assert_told(note: Locator) -> None:
    """Both warnings stand in it, with nothing of them cut off."""
    expect(note).to_have_count(1)
    expect(note.locator("p")).to_have_count(2)
    expect(note).to_contain_text("of the label map is of classes that the prior has never seen (")
    expect(note).to_contain_text(f"{HARMFUL} ({UNSEEN})")
    expect(note).to_contain_text("these places take the spatial prior")
    expect(note).to_contain_text("has classes at places where the dataset never had them")
    assert note.evaluate("note => note.scrollHeight <= note.clientHeight")


def test_warnings_stand_whole_on_their_node_until_it_runs_without(
    page, add_graph, set_widget, run, boxes, screenshot
):
    add_graph()
    draw = page.evaluate("app.graph.nodes.find(n => n.type === 'SCP_JointPriorNoise').id")
    before = boxes()[int(draw)]
    assert run()["type"] == "execution_success"
    note = page.locator(NOTE)
    assert_told(note)
    screenshot("warned")
    assert marked_nodes(page) == []
    (left, top, right, bottom), (x, y, x_end, y_end) = boxes(".scp-warnings")[0], boxes()[int(draw)]
    assert x < left and y < top and right < x_end and bottom < y_end
    assert not page.evaluate("window.harmed")

    # They are the run's, which undoing a step in the graph does not undo.
    page.evaluate("() => { app.graph.nodes[0].pos[1] -= 40; app.canvas.setDirty(true, true); }")
    page.mouse.click(1200, 900)
    page.evaluate("app.extensionManager.command.execute('Comfy.Undo')")
    assert_told(note)

    set_widget("SCP_JointPriorNoise", "mode", "spatial")
    assert run()["type"] == "execution_success"
    expect(note).to_have_count(0)
    assert boxes()[int(draw)] == before


def test_warnings_stand_on_the_node_of_a_subgraph_as_well(page, add_graph, run, screenshot):
    add_graph()
    page.evaluate(
        """() => { app.graph.convertToSubgraph(new Set(
        app.graph.nodes.filter(node => node.type === 'SCP_JointPriorNoise'))); }"""
    )
    assert run()["type"] == "execution_success"
    note = page.locator(NOTE)
    assert_told(note)
    screenshot("outside")
    page.evaluate(
        """() => { const node = app.graph.nodes.find(n => n.isSubgraphNode?.());
        app.canvas.openSubgraph(node.subgraph, node); }"""
    )
    assert_told(note)
    screenshot("inside")
    # Another workflow has nodes of the same numbers.
    page.evaluate("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    add = "type => { const n = LiteGraph.createNode(type); app.graph.add(n); }"
    for _ in NODES:
        page.evaluate(add, "SCP_JointPriorNoise")
    expect(note).to_have_count(0)
