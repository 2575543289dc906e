"""Makes the images of a plan's rows in a running ComfyUI, eight label maps at a time; resumes."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from demo.ablation.plan import Row
from demo.start_graph import StartGraph
from dev.graph import Graph
from dev.server import ComfyServer
from prior_tools.atomic import write_bytes
from prior_tools.cli.generating.animated_png import animated_png

BATCH = 8


@dataclass(frozen=True)
class Task:
    """One prompt: label maps first .. first + count - 1 of a row, at one seed."""

    row: Row
    seed: int
    first: int
    count: int

    def file(self, folder: Path) -> Path:
        """Where its images uint8 [count, H, W, 3] and the seconds that they took lie."""
        return folder / self.row.key / f"seed{self.seed}" / f"{self.first:04d}-{self.count}.npz"


def tasks(rows: Sequence[Row]) -> list[Task]:
    """All prompts of the rows, in order; rows of several tables share what is equal."""
    found = {}
    for row in rows:
        for seed in row.seeds:
            for first in range(0, row.maps, BATCH):
                task = Task(row, seed, first, min(BATCH, row.maps - first))
                found.setdefault((row.key, seed, first, task.count), task)
    return list(found.values())


class Sampler:
    """Runs tasks on a server.

    labels: colour images uint8 [N, H, W, 3] of the label maps.
    weights, prior: give the file's name for a row, as the loader nodes list it.
    folder: where images are kept.
    """

    def __init__(
        self,
        server: ComfyServer,
        labels: np.ndarray,
        weights: Callable[[Row], str],
        prior: Callable[[Row], str],
        folder: Path,
    ) -> None:
        self.server, self.labels, self.folder = server, labels, folder
        self.weights, self.prior = weights, prior

    def run(self, task: Task) -> None:
        """Make the images of a task, unless they are there."""
        file = task.file(self.folder)
        if file.exists():
            return
        graph = Graph()
        label_file = self._label_file(task.first, task.count)
        labels = graph.add("LoadImage", image=label_file, title="Label map")
        row, settings = task.row, replace(task.row.settings, seed=task.seed)
        streets = StartGraph(graph, labels, self.prior(row), self.weights(row))
        drawn = streets.drawn(row.start, settings)
        images = streets.decoded(streets.sampled(drawn, row.start, settings))
        saved = graph.add("SaveImage", images=images, filename_prefix="ablation/image")
        started = time.monotonic()
        history = self.server.run(graph.prompt, timeout=1800)
        seconds = time.monotonic() - started
        images_made = np.stack(self.server.images(history)[saved.id])
        if len(images_made) != task.count:
            raise RuntimeError(f"{len(images_made)} images came back for {task.count} label maps")
        file.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez(buffer, images=np.ascontiguousarray(images_made[..., :3]), seconds=seconds)
        write_bytes(file, buffer.getvalue())
        for path in (self.server.base / "output" / "ablation").glob("image_*.png"):
            path.unlink()

    def _label_file(self, first: int, count: int) -> str:
        """Several label maps as the frames of one file, which Load Image reads as a batch."""
        name = f"labels_{first:04d}-{count}.png"
        frames = list(self.labels[first : first + count])
        write_bytes(self.server.base / "input" / name, animated_png(frames))
        return name


@dataclass(frozen=True)
class Made:
    """What was made for a row at one seed: images uint8 [maps, H, W, 3] and seconds an image."""

    images: np.ndarray
    seconds: float


def made(row: Row, seed: int, folder: Path) -> Made:
    """Read what `Sampler.run` has written."""
    parts = [
        np.load(task.file(folder), allow_pickle=False)
        for task in tasks([replace(row, seeds=(seed,))])
    ]
    images = np.concatenate([part["images"] for part in parts])
    # The median leaves out prompts that loaded a model.
    per_image = [float(part["seconds"]) / len(part["images"]) for part in parts]
    return Made(images, float(np.median(per_image)))
