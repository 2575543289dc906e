"""The demo: streets from label maps that the model never saw, with the stock start and the prior's.

Runs the pack's own small model in a real ComfyUI server on the CPU and writes one picture, a row a
label map, at equal seeds:

    label map     what sampling starts from     stock result     prior start     prior result

    python -m demo.run [--out FILE] [--seed N] [--maps 0 1 2 3]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from demo.panels import compose
from demo.start_graph import Settings, Start, StartGraph
from demo.training.setting import alpha_bar
from dev.comfyui import CACHE, REPOSITORY, ensure_comfyui
from dev.graph import Graph
from dev.server import ComfyServer
from dev.workspace import make_workspace

STOCK, PRIOR = Start("normal", mu=1.0), Start("joint", mu=0.8)
MAPS = (0, 1, 2, 3)
ENLARGED = 1.25


def sample(server: ComfyServer, index: int, settings: Settings) -> dict[str, np.ndarray]:
    """The pictures of one row, uint8 [H, W, 3] by name."""
    graph = Graph()
    labels = graph.add("SCP_DemoLabelMap", index=index)
    streets = StartGraph(graph, labels)
    wanted = {"label map": labels}
    for name, start in (("stock", STOCK), ("prior", PRIOR)):
        drawn = streets.drawn(start, settings)
        scaled = graph.add(
            "LatentMultiply",
            samples=streets.noised(drawn, start, settings),
            multiplier=signal_share(start.mu),
        )
        wanted[f"{name} start"] = streets.decoded(scaled)
        wanted[f"{name} result"] = streets.decoded(streets.sampled(drawn, start, settings))
    saved = {
        graph.add("SaveImage", images=node, filename_prefix="demo/street").id: name
        for name, node in wanted.items()
    }
    images = server.images(server.run(graph.prompt, timeout=900))
    return {name: images[node_id][0] for node_id, name in saved.items()}


def signal_share(mu: float) -> float:
    """sqrt(alpha_bar) at mu T in the demo's schedule: what is left of the data there."""
    return float(alpha_bar()[round(mu * 999)] ** 0.5)


def main(argv: list[str] | None = None) -> None:
    """Run the demo and write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "demo_output" / "scp_diff_demo.png"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--maps", type=int, nargs="+", default=MAPS, help="label maps, from 0 on")
    args = parser.parse_args(argv)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {text}", flush=True)

    settings = Settings(seed=args.seed)
    base = make_workspace(CACHE / "demo", REPOSITORY)
    say("starting ComfyUI")
    rows = []
    with ComfyServer(ensure_comfyui(), base) as server:
        for index in args.maps:
            panels = sample(server, index, settings)
            rows.append([("", larger(panel), "") for panel in panels.values()])
            say(f"label map {index}: sampled with the stock start and with the prior's")
    captions = (
        "label map",
        "stock start: N(0, 1)",
        "stock result",
        f"prior start at step {PRIOR.mu:g} T",
        "prior result",
    )
    rows[0] = [(text, panel, "") for text, (_, panel, _) in zip(captions, rows[0], strict=True)]
    footer = (
        f"Equal seeds ({settings.seed}), {settings.sampler}, {settings.steps} steps, guidance "
        f"{settings.cfg:g}. Label maps that neither model nor prior has seen."
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(compose(rows, footer)).save(args.out)
    say(f"wrote {args.out}")


def larger(panel: np.ndarray) -> np.ndarray:
    """Enlarged for the sheet."""
    image = Image.fromarray(panel[..., :3])
    size = tuple(round(side * ENLARGED) for side in image.size)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main()
