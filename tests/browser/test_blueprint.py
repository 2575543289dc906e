"""The subgraph blueprint as its users meet it: taken from the node library, wired and run."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from demo.start_graph import WEIGHTS, Settings, Start, StartGraph
from dev.comfyui import REPOSITORY
from dev.graph import Graph
from prior_tools import load_prior

pytestmark = [pytest.mark.slow, pytest.mark.every_frontend]

NAME = "SCP-Diff sampler"
BLUEPRINT = REPOSITORY / "subgraphs" / f"{NAME}.json"
IMAGES = f"{load_prior(REPOSITORY / 'weights' / 'priors' / WEIGHTS).num_images} images"
# Those of nodes that are out of sight stay in the page.
CARD = ".scp-prior-card:visible"
SETTINGS = Settings(seed=11, steps=3, cfg=2.5)
START = Start("mixture", mu=0.7, deviation=0.9, noise="white")

# Everything but the blueprint's node, and the links to it.
NODES = {
    "Model": ("SCP_LoadDemoModel", (100, 140), {}),
    "Label map": ("SCP_DemoLabelMap", (100, 340), {"index": 0}),
    "ControlNet": ("ControlNetApplyAdvanced", (540, 140), {}),
    "Decode": ("VAEDecode", (1280, 140), {}),
    "Image": ("PreviewImage", (1280, 260), {}),
}
LINKS = [
    ("Model", 3, "ControlNet", "positive"),
    ("Model", 4, "ControlNet", "negative"),
    ("Model", 1, "ControlNet", "control_net"),
    ("Label map", 0, "ControlNet", "image"),
    ("Model", 0, NAME, "model"),
    ("ControlNet", 0, NAME, "positive"),
    ("Model", 4, NAME, "negative"),
    ("Label map", 0, NAME, "label_image"),
    (NAME, 0, "Decode", "samples"),
    ("Model", 2, "Decode", "vae"),
    ("Decode", 0, "Image", "images"),
]

SET = """values => {
    for (const [name, value] of Object.entries(values)) {
        const widget = app.graph.nodes[0].widgets.find(w => w.name === name);
        widget.value = value;
        widget.callback?.(value);
    }
    app.canvas.setDirty(true);
}"""


@pytest.fixture
def add_from_library(page: Page) -> Callable[[], None]:
    """`add_from_library()`: search the node library for the blueprint, and click on it."""

    def add() -> None:
        toggle = "app.extensionManager.command.execute('Workspace.ToggleSidebarTab.node-library')"
        page.evaluate(toggle)
        page.get_by_placeholder(re.compile(r"^Search( Nodes)?\.\.\.$")).first.fill(NAME)
        page.get_by_role("treeitem").filter(has_text=NAME).last.click()
        page.wait_for_timeout(300)
        if not page.evaluate("app.graph.nodes.length"):
            # In newer frontends it hangs on the pointer until it is dropped.
            page.mouse.click(900, 300)
        page.wait_for_function("app.graph.nodes.length === 1")
        page.evaluate(toggle)
        page.evaluate(
            """() => {
            app.graph.nodes[0].pos = [840, 140];
            app.canvas.deselectAll();
            app.canvas.ds.scale = 1;
            app.canvas.ds.offset = [40, 20];
            app.canvas.setDirty(true, true); }"""
        )

    return add


def of_three_nodes(server: Any) -> np.ndarray:
    """The picture that the three nodes give without a subgraph."""
    graph = Graph()
    street = StartGraph(graph, graph.add("SCP_DemoLabelMap", index=0))
    latent = street.sampled(street.drawn(START, SETTINGS), START, SETTINGS)
    shown = graph.add("PreviewImage", images=graph.add("VAEDecode", samples=latent, vae=street.vae))
    return server.images(server.run(graph.prompt))[shown.id][0]


def test_it_gives_the_picture_of_the_three_nodes_that_it_wraps(
    page, street, add_from_library, add_nodes, run, pictures, screenshot
):
    add_from_library()
    add_nodes(NODES, LINKS)
    # All but the defaults of both, so that a value which does not arrive shows.
    values = {"seed": SETTINGS.seed, "steps": SETTINGS.steps, "cfg": SETTINGS.cfg}
    values |= {"mode": START.prior, "mu": START.mu, "deviation": START.deviation}
    values["noise"] = START.noise
    values["mu_of"] = "model"
    page.evaluate(SET, values)
    expect(page.locator(CARD)).to_contain_text(IMAGES)
    assert run()["type"] == "execution_success"
    (address,) = pictures("Label map", "Image")["Image"]
    shown = Image.open(io.BytesIO(page.request.get(address).body())).convert("RGB")
    assert np.array_equal(np.asarray(shown), of_three_nodes(street))
    screenshot("run")

    page.evaluate("() => { const n = app.graph.nodes[0]; app.canvas.openSubgraph(n.subgraph, n); }")
    page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    expect(page.locator(CARD)).to_contain_text(IMAGES)
    page.wait_for_timeout(700)
    screenshot("within")


def test_one_seed_drives_draw_and_sampler_also_from_another_node(page, add_from_library, add_nodes):
    add_from_library()
    add_nodes(NODES, LINKS)
    page.evaluate(SET, {"seed": 23})

    def seeds() -> list[Any]:
        prompt = page.evaluate("app.graphToPrompt().then(made => made.output)")
        return [node["inputs"]["seed"] for node in prompt.values() if "seed" in node["inputs"]]

    assert seeds() == [23, 23]
    add_nodes({"Seed": ("PrimitiveInt", (540, 500), {})}, [("Seed", 0, NAME, "seed")])
    other = page.evaluate("String(app.graph.nodes.find(node => node.title === 'Seed').id)")
    assert seeds() == [[other, 0]] * 2


def test_two_of_them_and_a_saved_workflow_keep_their_own_values(page, add_from_library):
    add_from_library()
    page.evaluate(SET, {"mu": 0.65, "mode": "categorical"})
    # As copying does it.
    page.evaluate(
        """() => {
        app.canvas.selectItems([app.graph.nodes[0]]);
        app.canvas.copyToClipboard();
        app.canvas.pasteFromClipboard({position: [900, 100]}); }"""
    )
    page.wait_for_function("app.graph.nodes.length === 2")
    page.evaluate(SET, {"mu": 0.9, "prior_name": "another.safetensors"})
    page.evaluate("() => app.loadGraphData(JSON.parse(JSON.stringify(app.graph.serialize())))")
    prompt = page.evaluate("app.graphToPrompt().then(made => made.output)")
    # The nodes of a subgraph are called by its id and theirs.
    for subgraph, prior, mu in (
        (page.evaluate("app.graph.nodes[0].id"), "another.safetensors", 0.9),
        (page.evaluate("app.graph.nodes[1].id"), "scp_diff_demo.safetensors", 0.65),
    ):
        inputs = {
            node["class_type"]: node["inputs"]
            for name, node in prompt.items()
            if name.startswith(f"{subgraph}:")
        }
        assert inputs["SCP_LoadPrior"]["prior_name"] == prior
        assert inputs["SCP_PartialDenoiseKSampler"]["mu"] == mu
        assert inputs["SCP_JointPriorNoise"]["mode"] == "categorical"
    cards = page.locator(CARD)
    expect(cards).to_have_count(2)
    expect(cards.filter(has_text=IMAGES)).to_have_count(1)
    expect(cards.filter(has_text="there is no prior 'another.safetensors'")).to_have_count(1)


def test_the_card_within_follows_the_name_on_the_node_where_all_nodes_agree(page, screenshot):
    """Several nodes may show one subgraph, each with values of its own."""
    workflow = json.loads(BLUEPRINT.read_text(encoding="ascii"))
    (first,) = workflow["nodes"]
    second = json.loads(json.dumps(first)) | {"id": 2, "pos": [500, 0]}
    workflow |= {"last_node_id": 2, "nodes": [first, second]}
    page.evaluate("workflow => app.loadGraphData(workflow)", workflow)
    cards = page.locator(CARD)
    expect(cards).to_have_count(2)
    page.evaluate(SET, {"prior_name": "another.safetensors"})
    expect(cards.filter(has_text=IMAGES)).to_have_count(1)
    expect(cards.filter(has_text="there is no prior 'another.safetensors'")).to_have_count(1)
    screenshot("differing")

    page.evaluate("() => { const n = app.graph.nodes[0]; app.canvas.openSubgraph(n.subgraph, n); }")
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("comes from another node")
    page.evaluate(SET, {"prior_name": "scp_diff_demo.safetensors"})
    expect(cards).to_contain_text(IMAGES)
    page.wait_for_timeout(300)
    screenshot("agreeing")
