"""A real browser on the test servers, and all files that the example workflows name.

Tests run on the host's own frontend. Those that are marked `every_frontend` also run on a newer
one, once with nodes drawn on a canvas and once with nodes of HTML (Nodes 2.0). For each there is
one tab; every test finds an empty workflow in it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect

from demo.scenes import generate_scene
from dev import weights
from dev.browser import PATIENCE, close_dialogs, open_browser, open_comfyui
from dev.comfyui import REPOSITORY, ensure_frontend
from dev.server import ComfyServer
from dev.templates import load_template
from dev.workspace import PACK_FOLDER, link_model, make_workspace
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


@dataclass(frozen=True)
class Frontend:
    """What shows the graph.

    newer: the pinned newer frontend, else the host's own.
    html: nodes are made of HTML, else drawn on a canvas.
    """

    name: str
    newer: bool = False
    html: bool = False


OWN = Frontend("own")
EVERY = (OWN, Frontend("newer", newer=True), Frontend("newer-html", newer=True, html=True))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "frontend" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker
        shown_by = EVERY if marked("every_frontend") and not marked("own_frontend") else (OWN,)
        # Of the session, so that all tests of one come together.
        metafunc.parametrize(
            "frontend", shown_by, ids=[x.name for x in shown_by], indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def frontend(request: pytest.FixtureRequest) -> Frontend:
    return request.param


@pytest.fixture(scope="session")
def newer_server(
    comfy_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComfyServer]:
    """A second server, with the newer frontend."""
    base = make_workspace(tmp_path_factory.mktemp("newer"), REPOSITORY)
    with ComfyServer(comfy_dir, base, ("--front-end-root", str(ensure_frontend()))) as running:
        yield running


@pytest.fixture(scope="session")
def tab(browser: BrowserContext, street: ComfyServer, frontend: Frontend) -> Iterator[Page]:
    """ComfyUI in the tab that all tests of a frontend share."""
    tab = open_comfyui(browser, street, {"Comfy.VueNodes.Enabled": frontend.html})
    yield tab
    tab.close()


@pytest.fixture
def page(tab: Page, request: pytest.FixtureRequest) -> Iterator[Page]:
    """ComfyUI with an empty workflow, ready to be used."""
    failed = request.session.testsfailed
    tab.evaluate("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
    tab.wait_for_function("app.graph.nodes.length === 0")
    tab.evaluate("() => { app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; }")
    yield tab
    if request.session.testsfailed > failed:
        # It may have been left in any state.
        tab.reload()
        tab.get_by_test_id("queue-button").wait_for()
    close_dialogs(tab)
    # What is open at the side covers nodes.
    tab.evaluate(
        """() => { const shown = app.extensionManager.sidebarTab.activeSidebarTabId;
        if (shown)
            return app.extensionManager.command.execute(`Workspace.ToggleSidebarTab.${shown}`); }"""
    )
    if tab.get_by_test_id("properties-panel").count():
        tab.evaluate("app.extensionManager.setting.set('Comfy.RightSidePanel.IsOpen', false)")
        expect(tab.get_by_test_id("properties-panel")).to_have_count(0)


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
        # It may move for as long as the pictures of ComfyUI's own templates arrive.
        called.first.dispatch_event("click")
        # Until its name is the heading as well, ComfyUI's own templates are shown.
        expect(called).not_to_have_count(1)
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
        page.get_by_test_id(f"template-workflow-{name}").dispatch_event("click")
        expect(page.get_by_role("dialog")).to_have_count(0)
        workflow = load_template(name)
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
            .map(w => { w.value = value; w.callback?.(value); app.canvas.setDirty(true);
            }).length""",
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
def assert_refused(page: Page, run: Callable) -> Callable[..., None]:
    """`assert_refused(node type, words, ...)`: press Run; such a node ends it, in these words.

    A host that itself looks into the list of a node's choices ends it before it begins, in its own
    words: there the node is named.
    """

    def press(node_type: str, *words: str) -> None:
        outcome = run()
        if outcome["type"] == "refused":
            words = (
                page.evaluate("type => LiteGraph.registered_node_types[type].title", node_type),
            )
        else:
            assert outcome["type"] == "execution_error"
            assert outcome["detail"]["node_type"] == node_type
        dialog = page.get_by_role("dialog")
        more = page.get_by_test_id("error-overlay-see-errors")
        expect(dialog.or_(more).first).to_be_visible()
        if more.count():
            more.click()
        told = page.get_by_test_id("properties-panel").or_(dialog)
        for text in words:
            expect(told).to_contain_text(text)

    return press


PICTURES = """() => Object.fromEntries(app.graph.nodes.map(node => {
    const html = document.querySelector(`[data-node-id="${node.id}"]`);
    const all = html?.querySelectorAll('img:not(.scp-prior-card img)') ?? node.imgs ?? [];
    const there = [...all].filter(image => image.complete && image.naturalWidth > 0);
    return [node.title, there.map(image => image.src)];
    }).filter(([title, addresses]) => addresses.length))"""


@pytest.fixture
def pictures(page: Page) -> Callable[..., dict[str, list[str]]]:
    """`pictures(title, ...)`: wait until these nodes show pictures, and no others.

    Returns the pictures' addresses by their nodes' titles.
    """

    def shown(*titles: str) -> dict[str, list[str]]:
        page.wait_for_function(
            f"titles => String(Object.keys(({PICTURES})()).sort()) === String(titles)",
            arg=sorted(titles),
        )
        return page.evaluate(PICTURES)

    return shown


# Where an element of the page is in the graph.
PLACE = """element => {
    const {left, top, right, bottom} = element.getBoundingClientRect();
    return [[left, top], [right, bottom]].flatMap(corner =>
        app.clientPosToCanvasPos(corner)).map(Math.round); }"""


BOXES = f"""() => app.canvas.graph.nodes.map(node => {{
    const html = document.querySelector(`[data-node-id="${{node.id}}"]`);
    const [x, y, width, height] = node.getBounding();
    const box = html ? ({PLACE})(html) : [x, y, x + width, y + height];
    return [node.id, box.map(Math.round)]; }})"""


PLACES = f"""selector => [...document.querySelectorAll(selector)]
    .filter(element => element.checkVisibility()).map({PLACE})"""


@pytest.fixture
def boxes(page: Page) -> Callable[..., Any]:
    """`boxes()`: where nodes are, [left, top, right, bottom] with their titles, by their ids.

    `boxes(selector)`: where visible elements of the page are. In pixels of the graph.
    """

    def measure(selector: str | None = None) -> Any:
        script = BOXES if selector is None else PLACES
        found = None
        while found != (now := page.evaluate(script, selector)):
            # A node of HTML takes its size, and its card its place, with the next frames.
            found = now
            page.wait_for_timeout(400)
        return now if selector else {int(node): box for node, box in now}

    return measure


@pytest.fixture(scope="session")
def street(frontend: Frontend, request: pytest.FixtureRequest) -> ComfyServer:
    """The server with small models, a dataset and a label map under the workflows' names."""
    server = request.getfixturevalue("newer_server" if frontend.newer else "server")
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
