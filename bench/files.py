"""Files of priors: their size against the published layout, and what opening one takes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.figure import Figure
from bench.options import Options
from bench.synthetic import (
    ADE20K,
    CITYSCAPES,
    COCO_STUFF,
    HOW_GENERATED,
    Like,
    coverage,
    synthetic_prior,
)
from dev.comfyui import REPOSITORY
from prior_tools import Prior, save_prior

TITLE = "files: size against the published ones, time and memory of opening one"
QUARTER = 0.25
MOST_MS, MOST_MB = 50.0, 100.0

SCALE = 0.18215


def measure(options: Options) -> list[Figure]:
    """Sizes of three datasets' files; opening the largest and drawing one sample from it."""
    with tempfile.TemporaryDirectory(prefix="scp-bench-") as folder:
        figures = [
            _size(like, full, Path(folder), QUARTER if like is CITYSCAPES else None)
            for like in (CITYSCAPES, ADE20K, COCO_STUFF)
            for full in (False, True)
        ]
        for full in (False, True):
            figures += _opening(full, Path(folder), 3 if options.quick else 9)
    return figures


def write_as_published(prior: Prior, folder: Path, name: str) -> list[Path]:
    """The three files of the published layout; see `prior_tools.published`."""
    height, width = prior.grid
    joint = {
        key: np.zeros((256, channels, height, width), np.float32)
        for key, channels in (("mean", 4), ("std", 4), ("count", 1))
    }
    ids = prior.class_ids.numpy()
    joint["mean"][ids] = prior.joint_mean.numpy() * SCALE
    joint["std"][ids] = prior.joint_std.numpy() * SCALE
    joint["count"][ids] = prior.joint_count.unsqueeze(1).numpy()
    spatial = {
        "mean": prior.spatial_mean.numpy() * np.float32(SCALE),
        "std": prior.spatial_std.numpy() * np.float32(SCALE),
    }
    moments = zip(prior.class_mean.numpy(), prior.class_std.numpy(), strict=True)
    categorical = {
        int(k): {"mean": mean * np.float32(SCALE), "std": std * np.float32(SCALE)}
        for k, (mean, std) in zip(ids, moments, strict=True)
    }
    paths = []
    for part, content in (
        ("spatial_class", joint),
        ("spatial", spatial),
        ("categorical", categorical),
    ):
        paths.append(folder / f"{name}_{part}_mean_std.npy")
        np.save(paths[-1], np.array(content, dtype=object), allow_pickle=True)
    return paths


def _size(like: Like, full: bool, folder: Path, bound: float | None) -> Figure:
    prior = synthetic_prior(like, full)
    ours = save_prior(prior, folder / f"{like.classes}_{full}.safetensors").stat().st_size
    paths = write_as_published(prior, folder, f"{like.classes}_{full}")
    theirs = sum(path.stat().st_size for path in paths)
    for path in paths:
        path.unlink()
    height, width = like.grid
    return Figure(
        f"size, {like.name}, {'all cells occupied' if full else 'as occupied as a dataset'}",
        ours / theirs,
        "x",
        bound,
        "at most",
        f"{like.classes} classes on {width}x{height} cells, {coverage(prior):.0%} of (class, cell) "
        f"pairs occupied" + ("" if full else f" ({HOW_GENERATED})"),
        {"ours_bytes": ours, "published_bytes": theirs},
    )


def _opening(full: bool, folder: Path, processes: int) -> list[Figure]:
    """Medians over fresh processes that import, then load and draw; see `bench.open_file`."""
    path = folder / f"{COCO_STUFF.classes}_{full}.safetensors"
    runs = []
    for _ in range(processes):
        ended = subprocess.run(
            [sys.executable, "-m", "bench.open_file", str(path)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        runs.append(json.loads(ended.stdout))
    medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    what = f"{COCO_STUFF.name}, {'all cells occupied' if full else 'as occupied as a dataset'}"
    samples = f"median of {processes} fresh processes, the file in the system's cache"
    return [
        Figure(
            f"load and draw, {what}",
            medians["load_ms"] + medians["draw_ms"],
            "ms",
            MOST_MS,
            "at most",
            samples,
            {key: round(medians[key], 2) for key in ("load_ms", "draw_ms", "cpu_ms")},
        ),
        Figure(
            f"peak memory above the import, {what}",
            medians["peak_mb"],
            "MB",
            MOST_MB,
            "at most",
            samples,
            {key: round(medians[key], 1) for key in ("import_mb", "after_mb")},
        ),
    ]
