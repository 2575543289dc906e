"""Takes the pictures of the help pages: web/docs/<node id>/node.png.

    python -m dev.help_pictures [NODE_ID ...]

Each is one node in a real browser, with values as one would give them. A node that shows pictures
is run first, with the demo's model. Needs Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page

from demo.scenes import write_dataset
from dev.browser import open_browser, open_comfyui, run_workflow
from dev.comfyui import REPOSITORY, ensure_comfyui
from dev.server import ComfyServer
from dev.workspace import make_workspace
from prior_tools import Prior, load_prior

DOCS = REPOSITORY / "web" / "docs"
PICTURE = "node.png"

_SIZE = (288, 144)  # the demo model's
_SCENES, _SHOWN_SCENE = 64, 4
_SD15_SCALE = 0.18215  # published files hold latents as the sampler sees them
_MARGIN, _TITLE = 12, 30  # around a node and above it, in pixels of the graph
_SHARPNESS = 2  # pixels of the picture for one of the graph

# Widgets and text alone have fewer colors than this; 256 chosen ones then look the same. Pictures
# keep all of theirs: a legend's colors must be those of its map.
_FEW_COLORS = 512


@dataclass(frozen=True)
class Shot:
    """How a node is shown.

    size: of the node, (width, height) in pixels of the graph; the host enlarges it as needed.
    values: of its widgets; others keep their defaults.
    links: inputs by name, each with the (node id, output) that feeds it.
    pictures: how many it shows after a run; 0 for a node that need not run.
    sink: the node that takes its first output, for a run of one that is no output by itself.
    awaits: CSS selector of what the page lays over the node and fetches from the server.
    """

    size: tuple[int, int]
    values: dict[str, Any] = field(default_factory=dict)
    links: dict[str, tuple[str, int]] = field(default_factory=dict)
    pictures: int = 0
    sink: str = ""
    awaits: str = ""


_VAE = ("SCP_LoadDemoModel", 2)
_PRIOR = ("SCP_LoadPrior", 0)
_LABELS = ("SCP_DemoLabelMap", 0)
_FILE = "street_ids.png"

SHOTS = {
    "SCP_BuildPrior": Shot(
        (480, 660),
        {
            "images": "streets/images",
            "labels": "streets/labels",
            "palette": "cityscapes",
            "width": _SIZE[0],
            "height": _SIZE[1],
            "latent_format": "sd15",
            "filename": "streets",
        },
        {"vae": _VAE},
        pictures=1,
    ),
    "SCP_LoadPrior": Shot((400, 360), awaits=".scp-prior-card[data-state=ready] img"),
    "SCP_JointPriorNoise": Shot((360, 294), links={"prior": _PRIOR, "label_image": _LABELS}),
    "SCP_PartialDenoiseKSampler": Shot((360, 286), {"cfg": 4.0}),
    "SCP_PartialDenoiseScheduler": Shot((360, 150)),
    "SCP_PreviewPrior": Shot(
        (520, 640),
        links={"prior": _PRIOR, "vae": _VAE, "label_image": _LABELS},
        pictures=4,
    ),
    "SCP_ImportPrior": Shot(
        (480, 560),
        {"joint": "published/streets_spatial_class_mean_std.npy", "filename": "streets_imported"},
        pictures=1,
    ),
    "SCP_MergePriors": Shot(
        (360, 160), {"filename": "all_streets"}, {"prior_a": _PRIOR, "prior_b": _PRIOR}
    ),
    "SCP_LoadLabelMap": Shot((360, 620), {"image": _FILE, "palette": "cityscapes"}, pictures=1),
    "SCP_ConvertLabelMap": Shot(
        (360, 180), {"changes": "rider = person, 17 = none"}, {"label_image": _LABELS}
    ),
    "SCP_MasksToLabelMap": Shot(
        (360, 230),
        {"classes": "road\nsky\ncar\ncar\nperson", "background": "building"},
        {"masks": ("SolidMask", 0)},
    ),
    "SCP_LoadDemoModel": Shot((360, 138)),
    "SCP_DemoLabelMap": Shot((360, 280), {"index": 4}, pictures=1, sink="PreviewImage"),
}

# Puts a node at a place that nothing of the page covers, and its feeders out of sight.
_PLACE = """([id, shot]) => {
    app.clean();  // also what earlier runs showed on nodes of the same number
    const add = (type, x, y) => {
        const node = LiteGraph.createNode(type);
        node.pos = [x, y];
        app.graph.add(node);
        return node;
    };
    const node = add(id, 250, 200);
    if (shot.sink) node.connect(0, add(shot.sink, 4000, 0), 0);
    node.setSize(shot.size);
    const feeders = {};
    for (const [input, [type, output]] of Object.entries(shot.links)) {
        feeders[type] ??= add(type, -4000, 0);
        const slot = node.inputs.findIndex(given => given.name === input);
        feeders[type].connect(output, node, slot);
    }
    for (const [name, value] of Object.entries(shot.values)) {
        const widget = node.widgets.find(given => given.name === name);
        widget.value = value;
        widget.callback?.(value);
    }
    app.canvas.ds.scale = 1;
    app.canvas.ds.offset = [0, 0];
    app.canvas.deselectAll();
    app.canvas.setDirty(true, true);
}"""

_SHOWN = """count => {
    const images = app.graph.nodes[0].imgs ?? [];
    app.canvas.setDirty(true, true);
    return images.length === count && images.every(image => image.naturalWidth > 0);
}"""

_LOADED = """selector => [...document.querySelectorAll(selector)].every(
    image => image.complete && image.naturalWidth > 0)"""

_BOX = """() => {
    const node = app.graph.nodes[0];
    const [x, y] = app.canvasPosToClientPos(node.pos);
    return [x, y, ...node.size];
}"""


def take(page: Page, node_id: str) -> Image.Image:
    """The picture of a node, RGB."""
    shot = SHOTS[node_id]
    page.evaluate(_PLACE, [node_id, asdict(shot)])
    if shot.pictures:
        run_workflow(page)
        page.wait_for_function(_SHOWN, arg=shot.pictures)
    if shot.awaits:
        page.locator(shot.awaits).first.wait_for()
        page.wait_for_function(_LOADED, arg=shot.awaits)
    # What is there is drawn with the next frames.
    page.wait_for_timeout(1000)
    x, y, width, height = page.evaluate(_BOX)
    clip = {
        "x": x - _MARGIN,
        "y": y - _TITLE - _MARGIN,
        "width": width + 2 * _MARGIN,
        "height": height + _TITLE + 2 * _MARGIN,
    }
    return Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")


def compact(picture: Image.Image) -> Image.Image:
    """The picture with a palette, where that does not show."""
    return picture if picture.getcolors(_FEW_COLORS) is None else picture.quantize(256)


def write_published(prior: Prior, path: Path) -> None:
    """A joint statistics file in the layout of those that the paper published."""
    shape = (256, prior.latent_channels, *prior.grid)
    content = {"mean": np.zeros(shape, np.float32), "std": np.zeros(shape, np.float32)}
    content["count"] = np.zeros((256, 1, *prior.grid), np.float32)
    ids = prior.class_ids.numpy()
    content["mean"][ids] = prior.joint_mean.numpy() * _SD15_SCALE
    content["std"][ids] = prior.joint_std.numpy() * _SD15_SCALE
    content["count"][ids, 0] = prior.joint_count.numpy()
    holder = np.empty((), dtype=object)
    holder[()] = content
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, holder)


def main() -> None:
    """Write the pictures of the nodes that are named, or of all."""
    parser = argparse.ArgumentParser(prog="python -m dev.help_pictures", description=__doc__)
    parser.add_argument("nodes", nargs="*", metavar="NODE_ID", help="default: all")
    nodes = parser.parse_args().nodes or list(SHOTS)
    if unknown := set(nodes) - set(SHOTS):
        parser.error(f"there is no node {', '.join(sorted(unknown))}")
    program = shutil.which("chromium")
    if program is None:
        sys.exit("the program 'chromium' is not installed")
    with tempfile.TemporaryDirectory() as folder:
        base = make_workspace(Path(folder), REPOSITORY)
        write_dataset(base / "input" / "streets", _SCENES, *_SIZE)
        label = sorted((base / "input" / "streets" / "labels").iterdir())[_SHOWN_SCENE]
        shutil.copy(label, base / "input" / _FILE)
        demo = REPOSITORY / "weights" / "priors" / "scp_diff_demo.safetensors"
        joint = SHOTS["SCP_ImportPrior"].values["joint"]
        write_published(load_prior(demo), base / "input" / joint)
        with (
            ComfyServer(ensure_comfyui(), base) as server,
            open_browser(
                program,
                viewport={"width": 1400, "height": 1400},
                device_scale_factor=_SHARPNESS,
            ) as browser,
        ):
            # Without links to feeders that are out of sight, and badges that stick out.
            settings = {"Comfy.LinkRenderMode": -1, "Comfy.NodeBadge.NodeSourceBadgeMode": "None"}
            page = open_comfyui(browser, server, settings)
            for node_id in nodes:
                path = DOCS / node_id / PICTURE
                picture = compact(take(page, node_id))
                picture.save(path, optimize=True)
                print(
                    f"{path.relative_to(REPOSITORY)}: {picture.width} x {picture.height}, "
                    f"{path.stat().st_size / 1000:.0f} kB"
                )


if __name__ == "__main__":
    main()
