"""Looks: priors of images without label maps give their light and color to what is sampled.

Draws scenes at noon, at dusk and by night, builds a prior of each folder from its images alone and,
to compare with, one with their label maps, and samples the demo's label maps from both at equal
seeds, mu from 0.5 to 1, all in a real ComfyUI server on the CPU. Writes

    looks.png                 a label map a column; the stock start's results and each look's
    spatial.png, joint.png    all of them by mu
    figures.md                how far brightness and mean color move towards the folder's

    python -m demo.looks [--out DIR] [--images N] [--seed N] [--maps 2 5 9] [--mus 0.5 1] [--ship]

--ship also writes the priors of images alone into the pack, as
weights/priors/scp_diff_demo_<look>.safetensors.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from demo.panels import BACKGROUND, compose
from demo.start_graph import WEIGHTS, Settings, Start, StartGraph
from demo.training.images import Scenes, draw_scenes
from demo.training.sources import Streets
from dev.comfyui import CACHE, REPOSITORY, ensure_comfyui
from dev.graph import Graph, Node
from dev.server import ComfyServer
from dev.workspace import make_workspace
from prior_tools import load_prior, save_prior

LOOKS = ("noon", "dusk", "night")
# No scene of these is in a set that the models are trained on.
FIRST_SEED = 600_000
MUS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHOWN_MU = 0.8
STOCK = Start("normal", mu=1.0)
# Levels of 255: where the folder's mean color is no further from the stock start's, there is no
# way of which to tell a share.
LEAST_WAY = 10.0
# By the mode of the draw: what Build SCP Prior is told of the label maps.
PALETTE_OF = {"spatial": "none (images alone)", "joint": "cityscapes"}


@dataclass(frozen=True)
class Moved:
    """How far results lie between the stock start's and the folder's images.

    Attributes:
        brightness: mean level of the results, 0..255.
        share: of the way from the stock start's mean color to the folder's, 1 where it is reached;
            None where they are nearly the same.
    """

    brightness: float
    share: float | None

    @staticmethod
    def of(results: np.ndarray, stock: np.ndarray, folder: np.ndarray) -> Moved:
        """Of images uint8 [N, H, W, 3]."""
        color, start, goal = (mean_color(images) for images in (results, stock, folder))
        way = goal - start
        far = float(np.linalg.norm(way)) >= LEAST_WAY
        return Moved(
            float(color.mean()), float((color - start) @ way / (way @ way)) if far else None
        )

    def __str__(self) -> str:
        share = "-" if self.share is None else f"{self.share:.0%}"
        return f"{self.brightness:.0f} ({share})"


def mean_color(images: np.ndarray) -> np.ndarray:
    """Mean levels of R, G and B, 0..255, of images uint8 [N, H, W, 3]."""
    return images.reshape(-1, 3).mean(0)


def write_folder(folder: Path, scenes: Scenes) -> None:
    """Scenes as PNG files in `images` and `labels`."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for old in (folder / name).iterdir():
            old.unlink()
    for number, (image, labels) in enumerate(zip(scenes.images, scenes.labels, strict=True)):
        Image.fromarray(image).save(folder / "images" / f"{number:04d}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{number:04d}.png")


def build(server: ComfyServer, look: str, mode: str) -> str:
    """The prior of a folder in the server's input folder; its name for Load SCP Prior."""
    graph = Graph()
    vae = graph.add("SCP_LoadDemoModel", weights=WEIGHTS).out(2)
    width, height = Streets.size
    graph.add(
        "SCP_BuildPrior",
        vae=vae,
        images=f"looks/{look}/images",
        labels="" if mode == "spatial" else f"looks/{look}/labels",
        palette=PALETTE_OF[mode],
        width=width,
        height=height,
        batch_size=8,
        max_images=0,
        seed=0,
        latent_format="sd15",
        filename=f"{look}_{mode}",
        overwrite=True,
    )
    server.run(graph.prompt, timeout=3600)
    return f"{look}_{mode}.safetensors"


def sample(
    server: ComfyServer, maps: Sequence[int], prior: str, start: Start, settings: Settings
) -> np.ndarray:
    """Results of the demo's label maps, uint8 [N, H, W, 3]."""
    graph = Graph()
    streets = StartGraph(graph, _label_maps(graph, maps), prior)
    latent = streets.sampled(streets.drawn(start, settings), start, settings)
    saved = graph.add("SaveImage", images=streets.decoded(latent), filename_prefix="looks/image")
    images = server.images(server.run(graph.prompt, timeout=3600))[saved.id]
    return np.stack(images)[..., :3]


def label_maps(server: ComfyServer, maps: Sequence[int]) -> np.ndarray:
    """The demo's label maps, uint8 [N, H, W, 3]."""
    graph = Graph()
    shown = graph.add("SaveImage", images=_label_maps(graph, maps), filename_prefix="looks/map")
    return np.stack(server.images(server.run(graph.prompt))[shown.id])[..., :3]


def _label_maps(graph: Graph, maps: Sequence[int]) -> Node:
    first, *others = [graph.add("SCP_DemoLabelMap", index=index) for index in maps]
    for other in others:
        first = graph.add("ImageBatch", image1=first, image2=other)
    return first


def ship(look: str, prior: Path, images: int) -> Path:
    """Write a prior of images alone where Load SCP Prior lists the pack's own."""
    made = load_prior(prior)
    told = replace(made.metadata, dataset_name=f"{images} generated streets, {look}")
    path = REPOSITORY / "weights" / "priors" / f"scp_diff_demo_{look}.safetensors"
    return save_prior(replace(made, metadata=told), path)


def figures(
    folders: dict[str, np.ndarray],
    stock: np.ndarray,
    results: dict[tuple[str, str, float], np.ndarray],
) -> str:
    """A table: a row a look and mode, a column a mu. results: by look, mode and mu."""
    mus = sorted({mu for _, _, mu in results})
    lines = [
        "| look | its images | stock start | prior | "
        + " | ".join(f"μ {mu:g}" for mu in mus)
        + " |",
        "| --- " * (4 + len(mus)) + "|",
    ]
    for look, folder in folders.items():
        for mode in PALETTE_OF:
            cells = [str(Moved.of(results[look, mode, mu], stock, folder)) for mu in mus]
            brightness = [f"{images.mean():.0f}" for images in (folder, stock)]
            lines.append("| " + " | ".join([look, *brightness, mode, *cells]) + " |")
    return "\n".join(lines)


def sheet_by_mu(
    mode: str,
    stock: np.ndarray,
    results: dict[tuple[str, str, float], np.ndarray],
    footer: str,
) -> np.ndarray:
    """A row a look and label map: the stock start's result, then those of each mu."""
    looks = list(dict.fromkeys(look for look, _, _ in results))
    mus = sorted({mu for _, _, mu in results})
    rows = []
    for look in looks:
        for number, image in enumerate(stock):
            row = [("stock start" if number == 0 else "", image, "")]
            for mu in mus:
                caption = f"{look}, mu {mu:g}" if number == 0 else ""
                row.append((caption, results[look, mode, mu][number], ""))
            rows.append(row)
    return compose(rows, footer)


def main(argv: list[str] | None = None) -> None:
    """Draw, build, sample, measure."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.looks",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "demo_output" / "looks")
    parser.add_argument("--images", type=int, default=20, help="in each folder; default: 20")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--maps", type=int, nargs="+", default=(2, 5, 9), help="label maps")
    parser.add_argument("--mus", type=float, nargs="+", default=MUS)
    parser.add_argument("--steps", type=int, default=Settings().steps)
    parser.add_argument("--ship", action="store_true", help="the priors go into weights/priors")
    args = parser.parse_args(argv)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)

    args.out.mkdir(parents=True, exist_ok=True)
    settings = Settings(seed=args.seed, steps=args.steps)
    scenes = {
        look: draw_scenes(CACHE / "looks", look, FIRST_SEED, args.images, *Streets.size)
        for look in LOOKS
    }
    base = make_workspace(CACHE / "looks" / "server", REPOSITORY)
    for look, drawn in scenes.items():
        write_folder(base / "input" / "looks" / look, drawn)
    say("starting ComfyUI")
    with ComfyServer(ensure_comfyui(), base) as server:
        maps = label_maps(server, args.maps)
        stock = sample(server, args.maps, WEIGHTS, STOCK, settings)
        results = _results(server, args, settings, say)
    if args.ship:
        for look in LOOKS:
            prior = base / "models" / "scp_priors" / f"{look}_spatial.safetensors"
            say(f"wrote {ship(look, prior, args.images)}")

    footer = (
        f"Equal seeds ({settings.seed}), {settings.sampler}, {settings.steps} steps, guidance "
        f"{settings.cfg:g}; priors of {args.images} images each."
    )
    folders = {look: np.asarray(drawn.images) for look, drawn in scenes.items()}
    table = figures(folders, stock, results)
    (args.out / "figures.md").write_text(f"{table}\n\n{footer}\n", encoding="utf-8")
    for mode in PALETTE_OF:
        sheet = sheet_by_mu(mode, stock, results, f"{mode} priors.\n{footer}")
        Image.fromarray(sheet).save(args.out / f"{mode}.png")
    shown = min(args.mus, key=lambda mu: abs(mu - SHOWN_MU))
    blank = np.broadcast_to(np.array(BACKGROUND, np.uint8), maps[0].shape)
    rows = [
        [("", blank, ""), *(("label map", image, "") for image in maps)],
        [("", blank, ""), *(("stock start", image, "") for image in stock)],
    ]
    for look, images in folders.items():
        made = results[look, "spatial", shown]
        rows.append(
            [(f"one of {len(images)} images", images[0], ""), *((look, i, "") for i in made)]
        )
    sheet = compose(rows, f"Priors of images alone, spatial, mu {shown:g}.\n{footer}")
    Image.fromarray(sheet).save(args.out / "looks.png")
    say(f"wrote {args.out}")
    print(
        "\nMean level, 0 to 255 (share of the way from the stock start's mean color to the "
        f"folder's; - where these are nearly the same):\n\n{table}"
    )


def _results(
    server: ComfyServer,
    args: argparse.Namespace,
    settings: Settings,
    say: Callable[[str], None],
) -> dict[tuple[str, str, float], np.ndarray]:
    """Results by look, mode and mu, each uint8 [N, H, W, 3]."""
    results = {}
    for look in LOOKS:
        for mode in PALETTE_OF:
            prior = build(server, look, mode)
            say(f"{look}: built the {mode} prior")
            for mu in args.mus:
                start = Start(mode, mu)
                results[look, mode, mu] = sample(server, args.maps, prior, start, settings)
            say(f"{look}: sampled {len(args.mus)} times from it")
    return results


if __name__ == "__main__":
    main()
