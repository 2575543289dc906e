"""Makes the images of a plan's rows in a running ComfyUI, eight label maps at a time; resumes."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from demo.ablation.plan import Row
from demo.start_graph import StartGraph
from dev.graph import Graph
from dev.server import ComfyServer, execution_seconds
from prior_tools.atomic import write_bytes
from prior_tools.generating.animated_png import animated_png

BATCH = 8


@dataclass(frozen=True)
class Task:
    """One prompt: label maps first .. first + count - 1 of a row, at one seed."""

    row: Row
    seed: int
    first: int
    count: int

    def file(self, folder: Path) -> Path:
        """Where its images uint8 [count, H, W, 3] lie."""
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

    labels: color images uint8 [N, H, W, 3] of the label maps.
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
        """Make the images of a task and keep them."""
        images, _ = self.sample(task)
        buffer = io.BytesIO()
        np.savez(buffer, images=images)
        file = task.file(self.folder)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, buffer.getvalue())

    def sample(self, task: Task) -> tuple[np.ndarray, float]:
        """The images of a task, uint8 [count, H, W, 3], and the seconds that the server took."""
        graph = Graph()
        label_file = self._label_file(task.first, task.count)
        labels = graph.add("LoadImage", image=label_file, title="Label map")
        row, settings = task.row, replace(task.row.settings, seed=task.seed)
        streets = StartGraph(graph, labels, self.prior(row), self.weights(row))
        drawn = streets.drawn(row.start, settings)
        images = streets.decoded(streets.sampled(drawn, row.start, settings))
        saved = graph.add("SaveImage", images=images, filename_prefix="ablation/image")
        history = self.server.run(graph.prompt, timeout=1800)
        images_made = np.stack(self.server.images(history)[saved.id])
        if len(images_made) != task.count:
            raise RuntimeError(f"{len(images_made)} images came back for {task.count} label maps")
        for path in (self.server.base / "output" / "ablation").glob("image_*.png"):
            path.unlink()
        return np.ascontiguousarray(images_made[..., :3]), execution_seconds(history)

    def _label_file(self, first: int, count: int) -> str:
        """Several label maps as the frames of one file, which Load Image reads as a batch."""
        name = f"labels_{first:04d}-{count}.png"
        frames = list(self.labels[first : first + count])
        write_bytes(self.server.base / "input" / name, animated_png(frames))
        return name


def sample_all(samplers: Sequence[Sampler], waiting: Sequence[Task]) -> Iterator[Task]:
    """Run tasks on several servers at once; gives each when it is done.

    The first error ends it, when the tasks at work are done.
    """
    left, done = deque(waiting), SimpleQueue()

    def work(sampler: Sampler) -> None:
        try:
            while (task := _next(left)) is not None:
                sampler.run(task)
                done.put(task)
        except BaseException as error:
            done.put(error)

    with ThreadPoolExecutor(len(samplers)) as pool:
        try:
            for sampler in samplers:
                pool.submit(work, sampler)
            for _ in waiting:
                task = done.get()
                if isinstance(task, BaseException):
                    raise task
                yield task
        finally:
            left.clear()


def _next(left: deque[Task]) -> Task | None:
    try:
        return left.popleft()
    except IndexError:
        return None


def time_rows(sampler: Sampler, rows: Sequence[Row], rounds: int) -> dict[str, float]:
    """Seconds an image by `Row.cost`, median of prompts of eight, taken in turns.

    For figures that mean something nothing else may run.
    """
    costs = {row.cost: row for row in rows}
    taken: dict[str, list[float]] = {cost: [] for cost in costs}
    # Seeds that nothing was sampled with, or the server would only remember.
    seeds = count(1_000_000)
    for number in range(-1, rounds):
        for cost, row in costs.items() if number >= 0 else list(costs.items())[:1]:
            _, seconds = sampler.sample(Task(row, next(seeds), 0, min(BATCH, row.maps)))
            if number >= 0:
                taken[cost].append(seconds / min(BATCH, row.maps))
    return {cost: float(np.median(times)) for cost, times in taken.items()}


def made(row: Row, seed: int, folder: Path) -> np.ndarray:
    """The images of a row at one seed, uint8 [maps, H, W, 3], as `Sampler.run` has kept them."""
    parts = [
        np.load(task.file(folder), allow_pickle=False)["images"]
        for task in tasks([replace(row, seeds=(seed,))])
    ]
    return np.concatenate(parts)
