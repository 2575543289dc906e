"""Scenes to train on, drawn once and kept, and as a model takes them."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from demo.scenes import generate_scene
from demo.scenes.looks import LOOKS

_CHUNK = 50


@dataclass(frozen=True)
class Scenes:
    """Images uint8 [N, H, W, 3] and labels uint8 [N, H, W] of scenes, read from disk as used."""

    images: np.ndarray
    labels: np.ndarray

    def first(self, count: int) -> Scenes:
        """The first ones."""
        return Scenes(self.images[:count], self.labels[:count])


def draw_scenes(
    cache: Path, look: str, first_seed: int, count: int, width: int, height: int
) -> Scenes:
    """Draw `count` scenes of a look from `first_seed` on; goes on where it was stopped."""
    folder = cache / f"scenes-{look}-{first_seed}-{count}-{width}x{height}"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "done.json"
    done = json.loads(log.read_text()) if log.exists() else 0
    if done < count:
        mode = "r+" if done else "w+"
        stores = [
            np.lib.format.open_memmap(folder / f"{name}.npy", mode, np.uint8, shape)
            for name, shape in (
                ("images", (count, height, width, 3)),
                ("labels", (count, height, width)),
            )
        ]
        seeds = list(islice(LOOKS[look].seeds(first_seed), count))
        tasks = [(seed, width, height) for seed in seeds[done:]]
        with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
            drawn = pool.imap(_draw, tasks, chunksize=4)
            for i, (image, labels) in enumerate(
                tqdm(drawn, f"scenes ({look})", count, initial=done, unit="img"), done
            ):
                stores[0][i], stores[1][i] = image, labels
                if (i + 1) % _CHUNK == 0 or i + 1 == count:
                    for store in stores:
                        store.flush()
                    log.write_text(json.dumps(i + 1))
    return Scenes(
        *(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("images", "labels"))
    )


def as_floats(images: np.ndarray) -> Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(images)).movedim(-1, 1).float() / 255


def _draw(task: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    scene = generate_scene(*task)
    return scene.image, scene.labels
