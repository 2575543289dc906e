"""The help panel of every node shows the pack's page for it, with its picture, in any language."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.slow, pytest.mark.every_frontend]

DOCS = Path(__file__).resolve().parents[2] / "web" / "docs"
NODES = sorted(path.stem for path in DOCS.glob("*.md"))
CONTENT = ".node-help-content"


def title_of(page: Path) -> str:
    return page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def add_nodes(page: Page, types: list[str]) -> None:
    """The nodes in a row, so far apart that one alone is in sight."""
    page.evaluate("app.graph.clear()")
    page.evaluate(
        """types => types.forEach((type, index) => {
        const node = LiteGraph.createNode(type);
        node.pos = [900 + 2000 * index, 300];
        app.graph.add(node); })""",
        types,
    )


def open_help(page: Page, index: int) -> None:
    """Of the node of that place in the row."""
    page.evaluate(
        """index => {
        const node = app.graph.nodes.find(node => node.pos[0] === 900 + 2000 * index);
        app.canvas.ds.scale = 1;
        app.canvas.ds.offset = [-2000 * index, 0];
        app.canvas.selectItems([node]);
        app.canvas.setDirty(true, true); }""",
        index,
    )
    page.get_by_test_id("info-button").click()


def test_the_info_button_opens_our_page_with_its_picture(page, screenshot):
    add_nodes(page, NODES)
    assert NODES
    for index, node in enumerate(NODES):
        open_help(page, index)
        content = page.locator(CONTENT)
        expect(content.locator("h1")).to_have_text(title_of(DOCS / f"{node}.md"))
        # The host looks for pictures in the folder of all pages, not in the one of the page.
        assert content.locator("img").count() == 1, f"no ![...]({node}/node.png) on this page"
        width, shown, room = content.locator("img").evaluate(
            """async image => {
            await image.decode();
            const room = image.closest('.node-help-content').clientWidth;
            return [image.naturalWidth, image.clientWidth, room]; }"""
        )
        assert width > 300, node
        assert shown <= room, node
        # The panel cuts off what does not wrap.
        assert content.evaluate("page => page.scrollWidth <= page.clientWidth"), node
        screenshot(node)


def test_help_is_in_the_frontends_language_or_else_in_english(page, screenshot):
    node, other = "SCP_LoadPrior", "SCP_PreviewPrior"
    pages = {x: DOCS / node / f"{x}.md" for x in ("zh", "ja", "ko")} | {"fr": DOCS / f"{node}.md"}
    add_nodes(page, [node, other])
    # A change of language makes all nodes anew, of what was loaded.
    page.evaluate("app.loadGraphData(app.graph.serialize())")
    try:
        for language, path in pages.items():
            page.evaluate("app.graph.nodes[0].isOld = true")
            page.evaluate(f"app.extensionManager.setting.set('Comfy.Locale', '{language}')")
            page.wait_for_function("app.graph.nodes.length === 2 && !app.graph.nodes[0].isOld")
            # A page that is shown stays in the language that it was opened in.
            open_help(page, 1)
            open_help(page, 0)
            content = page.locator(CONTENT)
            expect(content.locator("h1")).to_have_text(title_of(path))
            assert content.locator("img").evaluate(
                "async image => { await image.decode(); return image.naturalWidth; }"
            )
            screenshot(language)
    finally:
        page.evaluate("app.extensionManager.setting.set('Comfy.Locale', 'en')")
