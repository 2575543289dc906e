"""Makes the images of a plan's rows with `generate`, a folder for each way to sample."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import count, product
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import save_file

from demo.ablation.learned import Learned, latent_file
from demo.ablation.plan import LEARNED, Row
from demo.start_graph import StartGraph
from dev.graph import Graph
from dev.server import ComfyServer, execution_seconds
from prior_tools.atomic import write_bytes
from prior_tools.cli import main as command_line
from prior_tools.evaluation.files import read_generated
from prior_tools.generating.animated_png import animated_png
from prior_tools.generating.jobs import image_seed
from prior_tools.generating.workflow_file import Prompt

# Label maps a prompt; what tables have is a multiple of it, or they would not share images.
BATCH = 10


@dataclass(frozen=True)
class ImageSet:
    """The images of all rows that sample alike.

    row: one of them. maps, per_map: as many as the largest of them takes.
    """

    row: Row
    maps: int
    per_map: int


def image_sets(rows: Sequence[Row]) -> list[ImageSet]:
    """What is to be made for the rows; those of several tables share what is equal."""
    alike: dict[str, list[Row]] = {}
    for row in rows:
        alike.setdefault(row.key, []).append(row)
    return [
        ImageSet(same[0], max(row.maps for row in same), max(row.per_map for row in same))
        for same in alike.values()
    ]


def workflow(row: Row, weights: str, prior: str, labels: str = "", seed: int = 0) -> Prompt:
    """A row's workflow, its label maps and seed in nodes of the titles that `generate` looks for.

    weights, prior: files' names, as the loader nodes list them. labels: a file in the server's
    input folder; for a learned start one of latents is beside it.
    """
    graph = Graph()
    label_maps = graph.add("LoadImage", title="Label map", image=labels)
    settings = replace(row.settings, seed=graph.add("PrimitiveInt", title="Seed", value=seed))
    streets = StartGraph(graph, label_maps, prior, weights)
    if row.start.prior == LEARNED:
        latents = graph.add("LoadLatent", latent=str(Path(labels).with_suffix(".latent")))
    else:
        latents = streets.drawn(row.start, settings)
    sampled = streets.sampled(latents, row.start, settings)
    # A preview is gone with the server; the images are kept by `generate`.
    graph.add("PreviewImage", images=streets.decoded(sampled))
    return graph.prompt


def make(
    wanted: ImageSet,
    prompt: Prompt,
    colors: np.ndarray,
    servers: Sequence[str],
    folder: Path,
) -> None:
    """Make the images of a set that are missing.

    Args:
        prompt: its `workflow`.
        colors: images uint8 [N, H, W, 3] of the label maps.
        servers: their addresses.
        folder: of all sets.

    Raises SystemExit where `generate` does not make all; it has said why.
    """
    file = folder / "workflows" / f"{wanted.row.key}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, json.dumps(prompt).encode())
    arguments = {
        "--workflow": file,
        "--labels": write_label_maps(colors[: wanted.maps], folder),
        "--out": images_folder(wanted.row, folder),
        "--per-map": wanted.per_map,
        "--batch": BATCH,
    }
    options = [str(part) for option in arguments.items() for part in option]
    if code := command_line(["generate", *options, "--server", *servers]):
        raise SystemExit(code)


def make_learned(
    wanted: ImageSet,
    prompt_of: Callable[[Row, str, int], Prompt],
    colors: np.ndarray,
    learned: Learned,
    server: ComfyServer,
    folder: Path,
) -> None:
    """Make the images of a set of learned starts that are missing, at the seeds of `generate`.

    Args as for `make` and `time_rows`.
    """
    row, images = wanted.row, images_folder(wanted.row, folder)
    images.mkdir(parents=True, exist_ok=True)
    inputs = server.base / "input"
    for k, at in product(range(wanted.per_map), range(0, wanted.maps, BATCH)):
        stems = [_stem(i) for i in range(at, min(at + BATCH, wanted.maps))]
        files = [images / f"{stem}_{k:02d}.png" for stem in stems]
        if all(file.exists() for file in files):
            continue
        seed = image_seed(0, stems[0], k)
        latents = learned.draw(row.start, wanted.maps, seed)[at : at + len(stems)]
        (inputs / "learned.png").write_bytes(animated_png(list(colors[at : at + len(stems)])))
        save_file(latent_file(latents), inputs / "learned.latent")
        shown = server.images(server.run(prompt_of(row, "learned.png", seed), timeout=1800))
        for file, image in zip(files, *shown.values(), strict=True):
            Image.fromarray(image[..., :3]).save(file)


def images_folder(row: Row, folder: Path) -> Path:
    """Where `generate` puts the images of all rows that sample like this one."""
    return folder / "images" / row.key


def write_label_maps(colors: np.ndarray, folder: Path) -> Path:
    """Label maps uint8 [N, H, W, 3] as the files of a folder, which is returned.

    Each is whole at any moment: another run may be reading them.
    """
    label_maps = folder / "label_maps" / str(len(colors))
    label_maps.mkdir(parents=True, exist_ok=True)
    for index, color in enumerate(colors):
        file = BytesIO()
        Image.fromarray(color).save(file, "PNG")
        write_bytes(label_maps / f"{_stem(index)}.png", file.getvalue())
    return label_maps


def made(row: Row, k: int, folder: Path) -> np.ndarray:
    """Image `k` of each of a row's label maps, uint8 [maps, H, W, 3].

    Raises PriorError if one is missing.
    """
    images = images_folder(row, folder)
    return np.stack(
        [read_generated(images / f"{_stem(i)}_{k:02d}.png").numpy() for i in range(row.maps)]
    )


def _stem(index: int) -> str:
    return f"{index:04d}"


def time_rows(
    server: ComfyServer,
    rows: Sequence[Row],
    prompt_of: Callable[[Row, str, int], Prompt],
    colors: np.ndarray,
    rounds: int,
) -> dict[str, float]:
    """Seconds an image by `Row.cost`, median of prompts of a batch, taken in turns.

    For figures that mean something nothing else may run.

    Args:
        prompt_of: gives the `workflow` of a row for a file of label maps and a seed.
        colors: of the label maps, as for `make`.
    """
    batch = list(colors[:BATCH])
    write_bytes(server.base / "input" / "timed.png", animated_png(batch))
    costs = {row.cost: row for row in rows}
    taken: dict[str, list[float]] = {cost: [] for cost in costs}
    # Of one seed the server would only remember the images.
    seeds = count()
    for number in range(-1, rounds):
        for cost, row in costs.items() if number >= 0 else list(costs.items())[:1]:
            history = server.run(prompt_of(row, "timed.png", next(seeds)), timeout=1800)
            if number >= 0:
                taken[cost].append(execution_seconds(history) / len(batch))
    return {cost: float(np.median(times)) for cost, times in taken.items()}
