"""A label file that is dropped on Load SCP Label Map is taken, and shown with its classes."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

pytestmark = [pytest.mark.slow, pytest.mark.every_frontend]

# Cityscapes' trainIds: sky, vegetation, building, road, car, and as much that is ignored.
IDS = np.repeat([10, 8, 2, 0, 13, *[255] * 5], 24)[:, None].repeat(400, 1).astype(np.uint8)

_DROP = """([name, data, x, y]) => {
    const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, {type: 'image/png'}));
    const given = {bubbles: true, cancelable: true, clientX: x, clientY: y, dataTransfer};
    const target = document.elementFromPoint(x, y);
    for (const type of ['dragenter', 'dragover', 'drop'])
        target.dispatchEvent(new DragEvent(type, given));
}"""

# Of the picture on the node, in either of the host's ways to draw nodes.
_SHOWN = """width => {
    app.canvas.setDirty(true, true);
    const node = app.graph.nodes[0];
    const drawn = document.querySelector(`[data-node-id="${node.id}"]`);
    const images = drawn ? [...drawn.querySelectorAll('img')] : node.imgs ?? [];
    return images.some(image => image.complete && image.naturalWidth === width);
}"""

_MIDDLE = """() => {
    const node = app.graph.nodes[0];
    const [x, y] = app.canvasPosToClientPos(node.pos);
    return [x + node.size[0] / 2, y + 12];
}"""


def test_a_dropped_file_is_taken_and_after_a_run_shown_with_its_classes(
    page, frontend, add_nodes, run, screenshot
):
    page.evaluate("() => { app.canvas.ds.offset = [140, 120]; }")
    nodes = {
        "Label map": ("SCP_LoadLabelMap", (300, 100), {"palette": "cityscapes"}),
        "Look": ("PreviewImage", (800, 100), {}),
    }
    add_nodes(nodes, [("Label map", 0, "Look", "images")])
    page.wait_for_timeout(500)
    data = io.BytesIO()
    Image.fromarray(IDS).save(data, "PNG")
    name = f"dropped_{frontend.name}.png"
    page.evaluate(
        _DROP, [name, base64.b64encode(data.getvalue()).decode(), *page.evaluate(_MIDDLE)]
    )
    page.wait_for_function("name => app.graph.nodes[0].widgets[0].value === name", arg=name)
    # It was not taken for a workflow, nor did the host add a node for it.
    assert page.evaluate("app.graph.nodes.length") == 2
    page.wait_for_function(_SHOWN, arg=IDS.shape[1])
    screenshot("dropped")
    assert run()["type"] == "execution_success"
    page.wait_for_function(_SHOWN, arg=480)
    expect(page.locator(".scp-warnings:visible")).to_contain_text(
        "50.0% of the label pixels are of ids that are ignored (255)"
    )
    page.wait_for_timeout(500)
    screenshot("shown")
