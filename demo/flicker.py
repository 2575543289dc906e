"""Flicker of a sequence: frames of one street with noise of their own, and with noise they share.

The camera of generated streets moves aside, a frame at a time; Joint Prior Noise draws for the
frames' label maps with `batch_noise` separate and shared, and the pack's own small model samples
from both in a real ComfyUI server. Flicker is the mean absolute difference between neighboring
frames, on a scale of 0 to 255, where neither label map changes: at those pixels, and `MARGIN`
around them, both show the same class. The drawn scenes themselves are the measure of how much has
to change there.

    python -m demo.flicker [--out FILE] [--streets N] [--frames N] [--seed N]
"""

from __future__ import annotations

import argparse
import statistics
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from demo.panels import compose
from demo.run import STOCK
from demo.scenes import generate_scene
from demo.scenes.looks import LOOKS
from demo.start_graph import Settings, Start, StartGraph
from dev.comfyui import CACHE, REPOSITORY, ensure_comfyui
from dev.graph import Graph
from dev.server import ComfyServer
from dev.workspace import make_workspace
from prior_tools.atomic import write_bytes
from prior_tools.generating.animated_png import animated_png

WIDTH, HEIGHT = 288, 144
# Metres a frame; about one pixel in 25 changes its class.
STEP = 0.1
MARGIN = 2
# Of the look that the model was trained on; beyond all seeds of training and of the ablation.
FIRST_SEED = 700_000
SHOWN = 4
LABELS = "flicker_labels.png"
DRAWN = "drawn scenes"
PRIOR = Start("joint", mu=0.8)
WAYS = {
    "prior, separate": (PRIOR, "separate"),
    "prior, shared": (PRIOR, "shared"),
    "stock start, separate": (STOCK, "separate"),
    "stock start, shared": (STOCK, "shared"),
}


def flicker(frames: np.ndarray, labels: np.ndarray) -> float:
    """Mean absolute difference of neighboring frames where no label changes nearby.

    frames: uint8 [N, H, W, 3]; labels: [N, H, W].
    """
    found = []
    for (a, b), (of_a, of_b) in zip(pairwise(frames), pairwise(labels), strict=True):
        still = unchanged(of_a, of_b)
        found.append(np.abs(a.astype(int) - b.astype(int))[still].mean())
    return float(np.mean(found))


def unchanged(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two label maps [H, W] agree at all pixels up to `MARGIN` away; bool [H, W]."""
    side = 2 * MARGIN + 1
    changed = np.pad(a != b, MARGIN, mode="edge")
    return ~np.lib.stride_tricks.sliding_window_view(changed, (side, side)).any((2, 3))


def sample(server: ComfyServer, labels: np.ndarray, settings: Settings) -> dict[str, np.ndarray]:
    """The frames uint8 [N, H, W, 3] of each way for label images uint8 [N, H, W, 3]."""
    graph = Graph()
    # Load Image reads the frames of one file as a batch, as the loader of a video gives them.
    write_bytes(server.base / "input" / LABELS, animated_png(list(labels)))
    streets = StartGraph(graph, graph.add("LoadImage", image=LABELS))
    saved = {}
    for way, (start, batch_noise) in WAYS.items():
        drawn = streets.drawn(start, settings, batch_noise)
        pictures = streets.decoded(streets.sampled(drawn, start, settings))
        node = graph.add("SaveImage", images=pictures, filename_prefix="demo/flicker")
        saved[node.id] = way
    images = server.images(server.run(graph.prompt, timeout=3600))
    return {way: np.stack(images[node_id])[..., :3] for node_id, way in saved.items()}


def main(argv: list[str] | None = None) -> None:
    """Sample the sequences, print their flicker and write some frames as a picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "demo_output" / "flicker.png")
    parser.add_argument("--streets", type=int, default=4, help="number of sequences")
    parser.add_argument("--frames", type=int, default=8, help="of each sequence")
    parser.add_argument("--seed", type=int, default=1, help="of draw and sampler")
    args = parser.parse_args(argv)
    settings = Settings(seed=args.seed)
    found: dict[str, list[float]] = {name: [] for name in (DRAWN, *WAYS)}
    base = make_workspace(CACHE / "flicker", REPOSITORY)
    with ComfyServer(ensure_comfyui(), base) as server:
        for number, seed in enumerate(islice(LOOKS["golden"].seeds(FIRST_SEED), args.streets)):
            scenes = [
                generate_scene(seed, WIDTH, HEIGHT, aside=STEP * i) for i in range(args.frames)
            ]
            labels = np.stack([scene.labels for scene in scenes])
            colors = np.stack([scene.label_colors for scene in scenes])
            frames = {DRAWN: np.stack([scene.image for scene in scenes])}
            frames |= sample(server, colors, settings)
            for name, pictures in frames.items():
                found[name].append(flicker(pictures, labels))
            if number == 0:
                _write_sheet(args.out, colors, frames)
            still = np.mean([unchanged(a, b).mean() for a, b in pairwise(labels)])
            values = ", ".join(f"{name} {values[-1]:.2f}" for name, values in found.items())
            print(f"street {seed}: over {still:.0%} of the pixels: {values}", flush=True)
    print(f"mean of {args.streets} streets of {args.frames} frames each, of 255:")
    for name, values in found.items():
        print(f"  {name:24} {statistics.mean(values):6.2f}")
    print(f"wrote {args.out}")


def _write_sheet(path: Path, colors: np.ndarray, frames: dict[str, np.ndarray]) -> None:
    """The first frames of a sequence, a column each, and how the last two differ."""
    rows = []
    for name, pictures in ({"label map": colors} | frames).items():
        shown = pictures[:SHOWN]
        row = [(name if i == 0 else "", picture, "") for i, picture in enumerate(shown)]
        change = np.abs(shown[-1].astype(int) - shown[-2])
        rows.append([*row, ("", np.clip(change * 2, 0, 255).astype(np.uint8), "change x2")])
    path.parent.mkdir(parents=True, exist_ok=True)
    footer = f"A camera that moves {STEP:g} m aside in each frame; equal seeds."
    Image.fromarray(compose(rows, footer)).save(path)


if __name__ == "__main__":
    main()
