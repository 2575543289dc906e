"""Draws of large pictures from a prior of another size: their time and memory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from bench.figure import Figure
from bench.one_draw import GRID, PATCH
from bench.options import Options
from dev.comfyui import REPOSITORY

TITLE = "draws of large pictures"
SIZES = ((1024, 512), (2048, 1024), (4096, 2048))
CHANNELS = 16
FEW, MANY = 18, 182
# Of 1024x1024 pixels: what grain takes more than white noise.
GRAIN_SIZE, GRAIN_CHANNELS, MOST_MS = (1024, 1024), (4, 16), 50.0
# What else a process takes for the first time moves by some MB; all maps would take ten times.
MOST_GROWTH = 1.25


_TOLD = ("draw_ms", "peak_mb")


def measure(options: Options) -> list[Figure]:
    """Of each size, with few and many classes; medians over fresh processes."""
    processes = 1 if options.quick else 3
    figures = []
    for width, height in SIZES:
        few, many = (_medians(classes, width, height, processes) for classes in (FEW, MANY))
        samples = (
            f"{MANY} classes of {CHANNELS} channels on {GRID[1]}x{GRID[0]} cells, label map in "
            f"patches of {PATCH}x{PATCH} cells; median of {processes} fresh processes"
        )
        details = {name: round(value, 1) for name, value in many.items()}
        what = f"at {width}x{height}"
        figures += [
            Figure(f"time of a draw {what}", many["draw_ms"], "ms", samples=samples),
            Figure(f"peak memory of a draw {what}", many["peak_mb"], "MB", details=details),
        ]
    figures.append(
        Figure(
            f"memory {what}, {MANY} classes against {FEW}",
            many["peak_mb"] / few["peak_mb"],
            "x",
            MOST_GROWTH,
            "at most",
        )
    )
    figures += [_grain(channels, processes) for channels in GRAIN_CHANNELS]
    return figures


def _grain(channels: int, processes: int) -> Figure:
    width, height = GRAIN_SIZE
    found = {
        noise: _medians(MANY, width, height, processes, channels, noise)
        for noise in ("grain", "white")
    }
    return Figure(
        f"grain beside white noise at {width}x{height}, {channels} channels",
        found["grain"]["draw_ms"] - found["white"]["draw_ms"],
        "ms",
        MOST_MS,
        "at most",
        f"one draw; median of {processes} fresh processes each",
        {f"{noise}_{name}": round(found[noise][name], 1) for noise in found for name in _TOLD},
    )


def _medians(
    classes: int,
    width: int,
    height: int,
    processes: int,
    channels: int = CHANNELS,
    noise: str = "grain",
) -> dict[str, float]:
    sizes = [str(number) for number in (classes, width, height, channels)]
    command = [sys.executable, "-m", "bench.one_draw", *sizes, noise]
    runs = [
        json.loads(
            subprocess.run(
                command, cwd=REPOSITORY, capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(processes)
    ]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}
