"""Takes the README's picture of a graph: docs/graph.png, the demo's template after a run.

    python -m dev.graph_picture

Opened and run in a real browser, and cut to the nodes. Needs Chromium.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dev.browser import open_browser, open_comfyui, run_workflow
from dev.comfyui import REPOSITORY, ensure_comfyui
from dev.server import ComfyServer
from dev.templates import load_template
from dev.workspace import make_workspace

TEMPLATE = "SCP-Diff demo (no downloads)"
PICTURE = REPOSITORY / "docs" / "graph.png"
# Of the window, in which the graph is large enough for its text to be drawn; and of the picture.
_WIDTH, _HEIGHT, _MARGIN = 3200, 1800, 20
_SHOWN_WIDTH = 1800
_PATIENCE = 300_000  # milliseconds
_USUAL_COLORS, _FAR_OFF = 200, 12

_SHOWN = """() => {
    app.canvas.setDirty(true, true);
    const showing = app.graph.nodes.filter(node => node.imgs?.length);
    return showing.length > 2 && showing.every(
        node => node.imgs.every(image => image.naturalWidth > 0));
}"""

# The graph's own rectangle on the page: groups, nodes and where links turn.
_BOX = """() => {
    const turns = [...app.graph.reroutes.values()].map(({pos}) => ({pos, size: [0, 0]}));
    const parts = [...app.graph.nodes, ...app.graph.groups, ...turns].map(part => {
        const [x, y, width, height] = part.boundingRect ?? [...part.pos, ...part.size];
        return [x, y, x + width, y + height];
    });
    const [left, top] = app.canvasPosToClientPos([0, 1].map(
        i => Math.min(...parts.map(part => part[i]))));
    const [right, bottom] = app.canvasPosToClientPos([2, 3].map(
        i => Math.max(...parts.map(part => part[i]))));
    return [left, top, right - left, bottom - top];
}"""


def main() -> None:
    """Write the picture."""
    program = shutil.which("chromium")
    if program is None:
        sys.exit("the program 'chromium' is not installed")
    with tempfile.TemporaryDirectory() as folder:
        base = make_workspace(Path(folder), REPOSITORY)
        viewport = {"width": _WIDTH, "height": _HEIGHT}
        with (
            ComfyServer(ensure_comfyui(), base) as server,
            open_browser(program, viewport=viewport) as browser,
        ):
            settings = {
                "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
                "Comfy.Minimap.Visible": False,
                # Text of any size is drawn.
                "LiteGraph.Canvas.MinFontSizeForLOD": 0,
            }
            page = open_comfyui(browser, server, settings)
            page.evaluate("workflow => app.loadGraphData(workflow)", load_template(TEMPLATE))
            page.set_default_timeout(_PATIENCE)
            run_workflow(page)
            page.wait_for_function(_SHOWN)
            page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
            # What moved is drawn with the next frames.
            page.wait_for_timeout(2000)
            x, y, width, height = page.evaluate(_BOX)
            clip = {
                "x": max(0, x - _MARGIN),
                "y": max(0, y - _MARGIN),
                "width": width + 2 * _MARGIN,
                "height": height + 2 * _MARGIN,
            }
            picture = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
    picture = ImageOps.contain(picture, (_SHOWN_WIDTH, _HEIGHT))
    in_few_colors(picture).save(PICTURE, optimize=True)
    size = PICTURE.stat().st_size / 1000
    print(f"{Path('docs') / PICTURE.name}: {picture.width} x {picture.height}, {size:.0f} kB")


def in_few_colors(picture: Image.Image) -> Image.Image:
    """The picture, RGB, in at most 256 colors, those of label maps among them.

    Pillow's own choice goes by parts of all colors, and paints the classes of a small label map in
    colors of no class. So of what it leaves far off the most frequent colors are kept as they are.
    """
    usual = picture.quantize(_USUAL_COLORS, dither=Image.Dither.NONE)
    pixels = np.asarray(picture)
    off = np.abs(pixels.astype(np.int16) - np.asarray(usual.convert("RGB"), np.int16)).max(-1)
    colors, counts = np.unique(pixels[off > _FAR_OFF], axis=0, return_counts=True)
    frequent = colors[np.argsort(-counts, kind="stable")[: 256 - _USUAL_COLORS]]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*usual.getpalette()[: 3 * _USUAL_COLORS], *frequent.ravel().tolist()])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
