"""A real browser on the test server, and all files that the example workflows name."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import BrowserContext, Locator, Page, expect

from demo.scenes import generate_scene
from dev import weights
from dev.browser import PATIENCE, open_browser, open_comfyui
from dev.server import ComfyServer
from dev.workspace import PACK_FOLDER, link_model
from prior_tools import PALETTES

SIDE = 128

# ADE20K's class ids for the generated scenes' Cityscapes trainIds, in their order.
ADE_IDS = (7, 12, 2, 1, 33, 94, 137, 44, 5, 10, 3, 13, 13, 21, 84, 81, 81, 117, 128)


@pytest.fixture(scope="session")
def browser(require_program: Callable[[str], str]) -> Iterator[BrowserContext]:
    """The system's Chromium, without a download; its tabs share a cache and remember nothing."""
    program = require_program("chromium")
    expect.set_options(timeout=PATIENCE)
    with open_browser(program) as context:
        yield context


@pytest.fixture
def page(browser: BrowserContext, street: ComfyServer) -> Iterator[Page]:
    """ComfyUI in a tab of its own, ready to be used."""
    tab = open_comfyui(browser, street)
    yield tab
    tab.close()


@pytest.fixture
def screenshot(page: Page, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], None]:
    """`screenshot(name)`: a picture of the page, in the folder SCP_SCREENSHOTS names, if any."""
    folder = Path(os.environ.get("SCP_SCREENSHOTS") or tmp_path)
    test = re.sub(r"\W+", "-", request.node.name).strip("-")

    def take(name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{test}-{name}.png")

    return take


@pytest.fixture
def show_templates(page: Page) -> Callable[[], list[str]]:
    """`show_templates()`: open the template browser at the pack's page; the names it shows."""

    def show() -> list[str]:
        page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
        called = page.get_by_role("dialog").get_by_text(PACK_FOLDER, exact=True)
        called.click()
        # Until its name is the heading as well, ComfyUI's own templates are shown.
        expect(called).to_have_count(2)
        cards = page.locator("[data-testid^=template-workflow-]")
        cards.first.wait_for()
        ids = cards.evaluate_all("cards => cards.map(card => card.dataset.testid)")
        return [name.removeprefix("template-workflow-") for name in ids]

    return show


@pytest.fixture
def open_template(page: Page, show_templates: Callable) -> Callable[[str], dict[str, Any]]:
    """`open_template(name)`: open it from the template browser; returns its file's content."""

    def open_(name: str) -> dict[str, Any]:
        show_templates()
        page.get_by_test_id(f"template-workflow-{name}").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        path = Path(__file__).resolve().parents[2] / "example_workflows" / f"{name}.json"
        workflow = json.loads(path.read_text(encoding="utf-8"))
        # The graph takes the file's id before its nodes.
        page.wait_for_function(
            "([id, count]) => app.graph.id === id && app.graph.nodes.length === count",
            arg=[workflow["id"], len(workflow["nodes"])],
        )
        return workflow

    return open_


@pytest.fixture
def add_nodes(page: Page) -> Callable[[dict[str, tuple], list[tuple]], None]:
    """`add_nodes(nodes, links)`: to the graph that is open.

    nodes: (type, (x, y), {widget: value}) by title. links: (from title, output, to title, input);
    also to and from nodes that were there.
    """

    def add(nodes: dict[str, tuple], links: list[tuple]) -> None:
        page.evaluate(
            """([nodes, links]) => {
            for (const [title, [type, place, values]] of Object.entries(nodes)) {
                const node = LiteGraph.createNode(type);
                node.title = title;
                node.pos = place;
                app.graph.add(node);
                for (const [name, value] of Object.entries(values))
                    node.widgets.find(w => w.name === name).value = value;
            }
            const called = title => app.graph.nodes.find(node => node.title === title);
            for (const [from, output, to, input] of links) {
                const slot = called(to).inputs.findIndex(given => given.name === input);
                called(from).connect(output, called(to), slot);
            }
            app.canvas.setDirty(true, true); }""",
            [nodes, links],
        )

    return add


@pytest.fixture
def set_widget(page: Page) -> Callable[[str, str, Any], None]:
    """`set_widget(node type, widget, value)`: on every node of that type in the graph."""

    def set_(node_type: str, widget: str, value: Any) -> None:
        found = page.evaluate(
            """([type, name, value]) => app.graph.nodes.filter(n => n.type === type)
            .flatMap(n => n.widgets).filter(w => w.name === name)
            .map(w => { w.value = value; w.callback?.(value); }).length""",
            [node_type, widget, value],
        )
        assert found, f"no widget {widget} on {node_type}"

    return set_


@pytest.fixture
def run(page: Page) -> Callable[[], dict[str, Any]]:
    """`run()`: press Run and wait; {"type": "execution_success" or "execution_error", "detail"}.

    A prompt that the server refuses gives {"type": "refused"}.
    """

    def press() -> dict[str, Any]:
        page.evaluate(
            """() => {
            window.outcome = null;
            for (const type of ['execution_success', 'execution_error'])
                app.api.addEventListener(
                    type, e => { window.outcome = {type, detail: e.detail}; }, {once: true});
            }"""
        )
        with page.expect_response("**/prompt") as answer:
            page.get_by_test_id("queue-button").click()
        if not answer.value.ok:
            return {"type": "refused"}
        return page.wait_for_function("window.outcome", timeout=3 * PATIENCE).json_value()

    return press


@pytest.fixture
def refused_by(page: Page, run: Callable) -> Callable[[str], Locator]:
    """`refused_by(node type)`: press Run; the dialog with the error that such a node ends it by."""

    def press(node_type: str) -> Locator:
        outcome = run()
        assert outcome["type"] == "execution_error"
        assert outcome["detail"]["node_type"] == node_type
        return page.get_by_role("dialog")

    return press


@pytest.fixture(scope="session")
def street(server: ComfyServer) -> ComfyServer:
    """The server with small models, a dataset and a label map under the workflows' names."""
    base = server.base
    link_model(
        base,
        "checkpoints",
        weights.tiny_checkpoint("eps"),
        "v1-5-pruned-emaonly-fp16.safetensors",
    )
    link_model(
        base,
        "controlnet",
        weights.tiny_controlnet(),
        "control_v11p_sd15_seg_fp16.safetensors",
    )
    # The workflow for SDXL is only looked at here.
    link_model(base, "checkpoints", weights.tiny_checkpoint("eps"), "sd_xl_base_1.0.safetensors")
    link_model(
        base,
        "controlnet",
        weights.tiny_controlnet(),
        "sdxl_segmentation_ade20k_controlnet.safetensors",
    )
    dataset = base / "input" / "ADEChallengeData2016"
    shutil.rmtree(dataset, ignore_errors=True)
    for kind in ("images", "annotations"):
        (dataset / kind / "training").mkdir(parents=True)
    for seed in range(8):
        image, ids = ade_scene(seed)
        Image.fromarray(image).save(dataset / "images" / "training" / f"{seed:08}.jpg")
        Image.fromarray(ids).save(dataset / "annotations" / "training" / f"{seed:08}.png")
    colors = PALETTES["ade20k"].paint(torch.from_numpy(ade_scene(100)[1].astype(np.int64)))
    # Written, not uploaded: another test's picture of this name is replaced.
    for name in ("ade20k_label_map.png", "ade20k_label_map_1024x1024.png"):
        Image.fromarray(colors.numpy()).save(base / "input" / name)
    return server


def ade_scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A generated street, and ADE20K's class ids for it; 0 (other) where unlabelled."""
    scene = generate_scene(seed, SIDE, SIDE)
    table = np.zeros(256, np.uint8)
    table[: len(ADE_IDS)] = ADE_IDS
    return scene.image, table[scene.labels]
