"""The help panel of every node shows the pack's page for it, with its picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.every_frontend]

DOCS = Path(__file__).resolve().parents[2] / "web" / "docs"
NODES = sorted(path.parent.name for path in DOCS.glob("*/en.md"))
CONTENT = ".node-help-content"


def test_the_info_button_opens_our_page_with_its_picture(page, screenshot):
    page.evaluate("app.graph.clear()")
    page.evaluate(
        """types => types.forEach((type, index) => {
        const node = LiteGraph.createNode(type);
        node.pos = [900 + 2000 * index, 300];
        app.graph.add(node); })""",
        NODES,
    )
    assert NODES
    for index, node in enumerate(NODES):
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
        title = (DOCS / node / "en.md").read_text(encoding="utf-8").splitlines()[0]
        content = page.locator(CONTENT)
        expect(content.locator("h1")).to_have_text(title.removeprefix("# "))
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
        screenshot(node)
