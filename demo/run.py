"""The demo: streets from label maps that the model never saw, with the stock start and the prior's.

Runs the pack's own small model in a real ComfyUI server on the CPU on all label maps of the pack,
at equal seeds, and writes a picture of the one that gains most in mIoU and of the median one:

    label map     where the prior starts     stock start's result     prior's start's result

Below each picture is a part of it, enlarged: where the prior's result has most pixels more right
than the stock start's, as the demo's segmentation net sees them.

    python -m demo.run [--out FILE] [--seed N]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from demo.judge import Judge, largest_and_middle, most_gained
from demo.panels import compose
from demo.start_graph import Settings, Start, StartGraph
from dev.comfyui import CACHE, REPOSITORY, ensure_comfyui
from dev.graph import Graph
from dev.server import ComfyServer
from dev.workspace import make_workspace

STOCK, PRIOR = Start("normal", mu=1.0), Start("joint", mu=0.8)
LABEL_MAPS = sorted((REPOSITORY / "weights" / "label_maps").glob("*.png"))
# In the sheet: of each picture; of captions; of the frame.
WIDTH, TEXT, LINE = 430, 27, 2
ENLARGED = 3
CAPTIONS = (
    "label map",
    "where the prior starts",
    "result of the stock start",
    "result of the prior's start",
)


@dataclass(frozen=True)
class Street:
    """What was made of a label map.

    pictures: uint8 [H, W, 3], in the order of CAPTIONS. framed: (left, top, right, bottom) of the
    part to enlarge. stock, prior: mIoU of the results.
    """

    pictures: list[np.ndarray]
    framed: tuple[int, int, int, int]
    stock: float
    prior: float


def sample(server: ComfyServer, index: int, settings: Settings) -> list[np.ndarray]:
    """The pictures of a label map, uint8 [H, W, 3], in the order of CAPTIONS."""
    graph = Graph()
    labels = graph.add("SCP_DemoLabelMap", index=index)
    streets = StartGraph(graph, labels)
    wanted = [labels, streets.decoded(streets.drawn(replace(PRIOR, deviation=0.0), settings))]
    for start in (STOCK, PRIOR):
        drawn = streets.drawn(start, settings)
        wanted.append(streets.decoded(streets.sampled(drawn, start, settings)))
    saved = [graph.add("PreviewImage", images=node) for node in wanted]
    images = server.images(server.run(graph.prompt, timeout=900))
    return [images[node.id][0][..., :3] for node in saved]


def judged(pictures: list[np.ndarray], label_map: Path, judge: Judge) -> Street:
    """Pictures with how well the results follow the label map, and where they differ most."""
    stock, right_before = judge.agreement(pictures[2], label_map)
    prior, right_after = judge.agreement(pictures[3], label_map)
    height, width = pictures[0].shape[:2]
    size = width // ENLARGED, height // ENLARGED
    left, top = most_gained(right_before, right_after, size)
    return Street(pictures, (left, top, left + size[0], top + size[1]), stock, prior)


def main(argv: list[str] | None = None) -> None:
    """Run the demo and write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "demo_output" / "scp_diff_demo.png"
    )
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {text}", flush=True)

    settings, judge = Settings(seed=args.seed), Judge()
    base = make_workspace(CACHE / "demo", REPOSITORY)
    say("starting ComfyUI")
    streets = []
    with ComfyServer(ensure_comfyui(), base) as server:
        for index, label_map in enumerate(LABEL_MAPS):
            street = judged(sample(server, index, settings), label_map, judge)
            streets.append(street)
            say(
                f"label map {index}: mIoU {street.stock:.3f} with the stock start, "
                f"{street.prior:.3f} with the prior's"
            )
    shown = largest_and_middle([street.prior - street.stock for street in streets])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    sheet = compose(_rows([streets[i] for i in shown]), _footer(shown, settings), TEXT)
    Image.fromarray(sheet).save(args.out, quality=90)
    say(f"wrote {args.out}")


def _rows(streets: list[Street]) -> list[list[tuple[str, np.ndarray, str]]]:
    """Two for each: the pictures, and what their frames hold."""
    rows = []
    for street in streets:
        notes = ("", "", f"mIoU {street.stock:.2f}", f"mIoU {street.prior:.2f}")
        captions = ("",) * len(CAPTIONS) if rows else CAPTIONS
        framed = [_framed(picture, street.framed) for picture in street.pictures]
        rows.append(list(zip(captions, framed, notes, strict=True)))
        parts = [Image.fromarray(picture).crop(street.framed) for picture in street.pictures]
        rows.append([("", _large(part), "") for part in parts])
    return rows


def _footer(shown: list[int], settings: Settings) -> str:
    first, second = shown
    return (
        "mIoU: how well a segmentation net finds the label map in the result, at best 1. Framed, "
        "and enlarged below: where the prior gains most pixels.\n"
        f"Of {len(LABEL_MAPS)} label maps that neither model nor prior has seen, the one that "
        f"gains most in mIoU ({first}) and the median one ({second}). Equal seeds "
        f"({settings.seed}), {settings.sampler}, {settings.steps} steps, guidance {settings.cfg:g}."
    )


def _large(picture: Image.Image) -> np.ndarray:
    """At the width that pictures have in the sheet."""
    height = round(WIDTH * picture.height / picture.width)
    return np.asarray(picture.resize((WIDTH, height), Image.Resampling.LANCZOS))


def _framed(picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """Large, with a thin frame around a part of it."""
    large = Image.fromarray(_large(Image.fromarray(picture)))
    scale = WIDTH / picture.shape[1]
    left, top, right, bottom = (round(scale * edge) for edge in box)
    draw = ImageDraw.Draw(large)
    for inset, color in ((0, "black"), (1, "white"), (1 + LINE, "black")):
        corners = (left + inset, top + inset, right - 1 - inset, bottom - 1 - inset)
        draw.rectangle(corners, outline=color, width=LINE if color == "white" else 1)
    return np.asarray(large)


if __name__ == "__main__":
    main()
