"""`python -m dev.thumbnails` makes the pictures by which the template browser shows our workflows.

Every picture is of a real run, at the seeds and settings of the workflow's file. A run shows:

- the demo: one of the stock start's four images above, one of the prior start's below, at equal
  seed, and their label map
- inpainting: the image above and the one with its trees made anew below, and the label map
- without a dataset: a label map, what was painted from it, and of the prior of all that was painted
  the mean image and the most frequent class of each place
- the mu sweep, the priors compared, looks: the same square of four results, and of the label map
- SamplerCustomAdvanced: the label map above, the result below

Three workflows need models and datasets that do not come with the pack, so what they do is done
with the demo's, and the picture says so where it could mislead:

- the side by side with Stable Diffusion 1.5 and XL: the same two starts with the demo's model and
  prior, and the family's name
- building a prior: the demo's VAE and generated streets; an image and its labels above, the mean
  image and the most frequent class of each place below
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from demo.panels import font
from demo.scenes import write_dataset
from demo.start_graph import Settings, Start, StartGraph
from dev.comfyui import REPOSITORY, ensure_comfyui
from dev.graph import Graph
from dev.server import ComfyServer
from dev.templates import template_names, template_prompt, thumbnail_of
from dev.workspace import make_workspace
from prior_tools.atomic import write_bytes

SIDE = 512
MOST_BYTES = 60_000
STREETS, STREET_SIZE = 96, (288, 144)
OWN = "SCP-Diff no dataset (demo)"
PAINT, BUILD_OWN = (
    "1. Paint: batch count 12",
    "2. Build: muted at first",
)
LOOKS = "SCP-Diff looks (demo)"

# What a run shows: the first picture of each node, by the node's title.
Pictures = dict[str, Image.Image]
Maker = Callable[[ComfyServer], Image.Image]


def run_template(server: ComfyServer, name: str) -> Pictures:
    """Run a workflow as it is."""
    return _run(server, template_prompt(name, server.object_info()))


def side_by_side(server: ComfyServer, index: int) -> Pictures:
    """The stock start and the prior's, of another label map than in the demo."""
    graph, settings = Graph(), Settings(seed=1)
    labels = graph.add("SCP_DemoLabelMap", title="Label map", index=index)
    streets = StartGraph(graph, labels)
    for title, start in (("Stock", Start("normal", 1.0)), ("Prior", Start())):
        latent = streets.sampled(streets.drawn(start, settings), start, settings)
        graph.add("PreviewImage", title=title, images=streets.decoded(latent))
    return _run(server, graph.prompt)


def build(server: ComfyServer) -> Pictures:
    """Generated streets, and what Preview SCP Prior shows of the prior that is built of them."""
    folder = write_dataset(server.base / "input" / "streets", STREETS, *STREET_SIZE)
    graph = Graph()
    vae = graph.add("SCP_LoadDemoModel", weights="scp_diff_demo.safetensors").out(2)
    prior = graph.add(
        "SCP_BuildPrior",
        vae=vae,
        images="streets/images",
        labels="streets/labels",
        palette="cityscapes",
        width=STREET_SIZE[0],
        height=STREET_SIZE[1],
        batch_size=8,
        max_images=0,
        seed=0,
        latent_format="sd15",
        filename="streets",
    )
    preview = graph.add("SCP_PreviewPrior", prior=prior, vae=vae)
    for number, title in enumerate(("overview", "mean", "labels", "draw")):
        graph.add("PreviewImage", title=title, images=preview.out(number))
    found = _run(server, graph.prompt)
    for title, kind in (("an image", "images"), ("its labels", "labels")):
        found[title] = Image.open(folder / kind / "scene_00000.png").convert("RGB")
    return found


def own_images(server: ComfyServer) -> Pictures:
    """One picture, its label map, and what Preview SCP Prior shows of the prior of all of them."""
    nodes = server.object_info()
    shown: Pictures = {}
    last = nodes["SCP_DemoLabelMap"]["input"]["required"]["index"][1]["max"]
    for index in range(last + 1):
        prompt = template_prompt(OWN, nodes, PAINT)
        _input_of(prompt, "PrimitiveInt")["value"] = index
        _input_of(prompt, "KSampler")["seed"] += index
        # The first one is the one of the file.
        shown = shown or _run(server, prompt)
        if index:
            server.run(prompt, timeout=900)
    prompt = template_prompt(OWN, nodes, BUILD_OWN)
    (build,) = [i for i, node in prompt.items() if node["class_type"] == "SCP_BuildPrior"]
    preview = {"prior": [build, 0], "vae": prompt[build]["inputs"]["vae"]}
    prompt["preview"] = {"class_type": "SCP_PreviewPrior", "inputs": preview}
    for number, title in enumerate(("overview", "mean", "labels", "draw")):
        shown_by = {"class_type": "PreviewImage", "inputs": {"images": ["preview", number]}}
        prompt[title] = shown_by
    return {**shown, **_run(server, prompt)}


def _input_of(prompt: dict, class_type: str) -> dict:
    (inputs,) = [node["inputs"] for node in prompt.values() if node["class_type"] == class_type]
    return inputs


def stacked(above: tuple[str, Image.Image], below: tuple[str, Image.Image]) -> Image.Image:
    """Two pictures of twice their height in width, one above the other."""
    sheet = Image.new("RGB", (SIDE, SIDE))
    for row, (caption, picture) in enumerate((above, below)):
        sheet.paste(_captioned(picture, caption, (SIDE, SIDE // 2)), (0, row * SIDE // 2))
    return sheet


def with_inset(sheet: Image.Image, inset: Image.Image) -> Image.Image:
    """A small picture, the label map, over the middle of the right edge."""
    framed = _framed(inset, (168, 84))
    sheet.paste(framed, (SIDE - framed.width - 10, (SIDE - framed.height) // 2))
    return sheet


def quarters(
    pictures: list[tuple[str, Image.Image]], left: float, inset: Image.Image | None = None
) -> Image.Image:
    """The same square of four pictures, two by two, and of a small one in the middle.

    left: where the square begins, as a fraction of the pictures' width.
    """
    sheet = Image.new("RGB", (SIDE, SIDE))
    for number, (caption, picture) in enumerate(pictures):
        column, row = number % 2, number // 2
        # At the outer edges, for the middle is taken.
        quarter = _captioned(_square(picture, left), caption, (SIDE // 2, SIDE // 2), bool(column))
        sheet.paste(quarter, (column * SIDE // 2, row * SIDE // 2))
    if inset is not None:
        framed = _framed(_square(inset, left), (112, 112))
        sheet.paste(framed, ((SIDE - framed.width) // 2, (SIDE - framed.height) // 2))
    return sheet


def _demo(server: ComfyServer) -> Image.Image:
    shown = run_template(server, "SCP-Diff demo (no downloads)")
    sheet = stacked(("stock start", shown["Stock start"]), ("prior start", shown["Prior start"]))
    return with_inset(sheet, shown["Label map"])


def _inpainting(server: ComfyServer) -> Image.Image:
    shown = run_template(server, "SCP-Diff inpainting (demo)")
    sheet = stacked(
        ("an image", shown["The image"]), ("its trees anew", shown["The trees made anew"])
    )
    return with_inset(sheet, shown["Label map"])


def _mu_sweep(server: ComfyServer) -> Image.Image:
    shown = run_template(server, "SCP-Diff mu sweep (demo)")
    titles = ("mu 0.2", "mu 0.5", "mu 0.8", "mu 1")
    return quarters([(title, shown[title]) for title in titles], 0.5, shown["Label map"])


def _priors(server: ComfyServer) -> Image.Image:
    shown = run_template(server, "SCP-Diff priors compared (demo)")
    titles = ("Stock start", "Spatial", "Categorical", "Joint")
    pictures = [(title.lower(), shown[title]) for title in titles]
    return quarters(pictures, 0.35, shown["Label map"])


def _looks(server: ComfyServer) -> Image.Image:
    shown = run_template(server, LOOKS)
    titles = ("Stock start", "Noon", "Dusk", "Night")
    pictures = [(title.lower(), shown[title]) for title in titles]
    return quarters(pictures, 0.35, shown["Label map"])


def _custom_sampler(server: ComfyServer) -> Image.Image:
    shown = run_template(server, "SCP-Diff custom sampler (demo)")
    return stacked(("label map", shown["Label map"]), ("SamplerCustomAdvanced", shown["Result"]))


def _with_own_models(server: ComfyServer, family: str, index: int) -> Image.Image:
    shown = side_by_side(server, index)
    sheet = stacked(
        ("stock start, demo model", shown["Stock"]), ("prior start, demo model", shown["Prior"])
    )
    # By their pictures alone the templates of the two families look alike.
    named = _with_strip(sheet.convert("RGBA"), family, 56, right=True, bottom=False)
    return with_inset(named.convert("RGB"), shown["Label map"])


def _build(server: ComfyServer) -> Image.Image:
    shown = build(server)
    pair = [(title, shown[title]) for title in ("an image", "its labels")]
    return quarters([*pair, ("mean image", shown["mean"]), ("usual class", shown["labels"])], 0.25)


def _own_images(server: ComfyServer) -> Image.Image:
    shown = own_images(server)
    titles = {"Label map": "a label map", "Picture": "painted from it"}
    pictures = [(caption, shown[title]) for title, caption in titles.items()]
    of_all = [("mean image", shown["mean"]), ("usual class", shown["labels"])]
    return quarters([*pictures, *of_all], 0.25)


MAKERS: dict[str, Maker] = {
    "Build an SCP prior from a folder": _build,
    "SCP-Diff demo (no downloads)": _demo,
    "SCP-Diff inpainting (demo)": _inpainting,
    LOOKS: _looks,
    "SCP-Diff mu sweep (demo)": _mu_sweep,
    "SCP-Diff priors compared (demo)": _priors,
    "SCP-Diff custom sampler (demo)": _custom_sampler,
    "SCP-Diff for SD1.5 (ADE20K)": partial(_with_own_models, family="SD1.5", index=6),
    "SCP-Diff for SDXL (ADE20K)": partial(_with_own_models, family="SDXL", index=2),
    OWN: _own_images,
}


def main(argv: list[str] | None = None) -> None:
    """Make all, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m dev.thumbnails", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of workflows; default: all")
    names = parser.parse_args(argv).names or template_names()
    with tempfile.TemporaryDirectory() as folder:
        base = make_workspace(Path(folder), REPOSITORY)
        with ComfyServer(ensure_comfyui(), base, threads=1) as server:
            for name in names:
                data = _jpeg(MAKERS[name](server))
                write_bytes(thumbnail_of(name), data)
                print(f"{thumbnail_of(name).name}: {len(data) / 1e3:.0f} kB")


def _run(server: ComfyServer, prompt: dict) -> Pictures:
    # A node that the server remembers shows nothing, unless it is an output.
    server.free()
    time.sleep(1)
    found = server.images(server.run(prompt, timeout=900))
    titles = {node: prompt[node].get("_meta", {}).get("title", node) for node in found}
    return {titles[node]: _picture(images[0]) for node, images in found.items()}


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels).convert("RGB")


def _captioned(
    picture: Image.Image,
    caption: str,
    size: tuple[int, int],
    right: bool = False,
) -> Image.Image:
    """Enlarged, with the caption on a dark strip in the lower left or right corner.

    Newer hosts put a badge over the upper left corner of the whole.
    """
    large = picture.resize(size, Image.Resampling.BICUBIC).convert("RGBA")
    return _with_strip(large, caption, 24, right, bottom=True).convert("RGB")


def _with_strip(
    picture: Image.Image, words: str, points: int, right: bool, bottom: bool
) -> Image.Image:
    """The words on a dark strip in a corner of the picture, RGBA."""
    strip = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(strip)
    letters = font(points)
    width, height = draw.textlength(words, letters) + 20, 1.5 * points
    x = picture.width - 8 - width if right else 8
    y = picture.height - 8 - height if bottom else 8
    draw.rounded_rectangle((x, y, x + width, y + height), 8, (16, 17, 20, 190))
    draw.text((x + 10, y + height / 2), words, (245, 245, 245, 255), letters, anchor="lm")
    return Image.alpha_composite(picture, strip)


def _square(picture: Image.Image, left: float) -> Image.Image:
    start = round(left * picture.width)
    return picture.crop((start, 0, start + picture.height, picture.height))


def _framed(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    border = 3
    framed = Image.new("RGB", (size[0] + 2 * border, size[1] + 2 * border), (240, 240, 240))
    framed.paste(picture.resize(size, Image.Resampling.NEAREST), (border, border))
    return framed


def _jpeg(picture: Image.Image) -> bytes:
    """As good as the size allows."""
    for quality in range(92, 50, -4):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= MOST_BYTES:
            break
    return buffer.getvalue()


if __name__ == "__main__":
    main()
