"""Whether time and memory grow with the number of images, through the real command line."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.figure import Figure
from bench.options import Options
from bench.ours import WORKERS
from bench.pictures import draw_scenes
from dev import weights
from dev.comfyui import REPOSITORY, ensure_comfyui
from dev.server import host_environment

TITLE = "growth with the number of images"
MOST_MEMORY = 1.05
SIDE, SCENES = 64, 20

# The bar's last line holds the mean over the whole build: "4000/4000 [01:40<00:00, 39.91img/s]".
_RATE = re.compile(r"([\d.]+)(img/s|s/img)")


@dataclass(frozen=True)
class Run:
    """One build in a process of its own.

    Attributes:
        seconds: per image, from the first one's reading to the last one's moments.
        main_mb: peak resident memory of the process.
        all_mb: peak of the memory of it and of those that read, shared pages counted once.
    """

    seconds: float
    main_mb: float
    all_mb: float


def measure(options: Options) -> list[Figure]:
    """Few images against ten times as many, with the small VAE."""
    few, many = (30, 150) if options.quick else (400, 4000)
    scenes = draw_scenes(options.cache, SCENES, SIDE, SIDE)
    with tempfile.TemporaryDirectory(prefix="scp-bench-") as folder:
        runs = {}
        for count in (few, many):
            root = Path(folder) / str(count)
            _repeat(scenes, root, count)
            runs[count] = _run(root, Path(folder) / f"{count}.safetensors")
    samples = (
        f"{few} and {many} images ({SCENES} generated scenes again and again) at {SIDE}x{SIDE}, "
        f"small VAE, batches of 8, {WORKERS} reading, one run each"
    )
    details = {
        f"{name}_at_{count}": round(getattr(run, name), 4)
        for count, run in runs.items()
        for name in ("seconds", "main_mb", "all_mb")
    }

    def growth(name: str) -> float:
        return getattr(runs[many], name) / getattr(runs[few], name)

    return [
        Figure("time per image", growth("seconds"), "x", None, samples=samples, details=details),
        Figure(
            "peak resident memory, main process", growth("main_mb"), "x", MOST_MEMORY, "at most"
        ),
        Figure("peak memory, all processes", growth("all_mb"), "x", MOST_MEMORY, "at most"),
    ]


def _repeat(scenes: Path, root: Path, count: int) -> None:
    """A folder of `count` pairs that are links to the few scenes."""
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
        files = sorted((scenes / kind).iterdir())
        for i in range(count):
            link = root / kind / f"{i:06}.png"
            try:
                os.link(files[i % len(files)], link)
            except OSError:
                link.write_bytes(files[i % len(files)].read_bytes())


def _run(root: Path, out: Path) -> Run:
    command = [
        *(sys.executable, "-m", "prior_tools", "build", "--dataset", "pairs"),
        *("--root", str(root), "--split", "", "--palette", "cityscapes"),
        *("--vae", str(weights.tiny_vae(4)), "--comfyui", str(ensure_comfyui())),
        *("--latent-format", "sd15"),
        *("--size", f"{SIDE}x{SIDE}", "--batch-size", "8", "--workers", str(WORKERS)),
        *("--device", "cpu", "--out", str(out)),
    ]
    log = out.with_suffix(".log")
    with log.open("wb") as printed:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=host_environment(), stdout=printed, stderr=printed
        )
        main_mb = all_mb = 0.0
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            one, every = _memory(watched)
            main_mb, all_mb = max(main_mb, one), max(all_mb, every)
            time.sleep(0.1)
    text = log.read_text(encoding="utf-8", errors="replace")
    rates = _RATE.findall(text)
    if process.returncode != 0 or not rates:
        raise RuntimeError(f"the build ended with exit code {process.returncode}\n{text[-2000:]}")
    number, unit = rates[-1]
    return Run(float(number) if unit == "s/img" else 1 / float(number), main_mb, all_mb)


def _memory(process: psutil.Process) -> tuple[float, float]:
    """MB (2**20 bytes) of the process, at its peak where the system knows it, and of all now."""
    main = every = 0.0
    # Any of them may end while it is looked at.
    with contextlib.suppress(psutil.Error):
        info = process.memory_info()
        main = getattr(info, "peak_wset", info.rss)
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            # Not there when the process is just ending.
            if peak := re.search(r"VmHWM:\s+(\d+)", status):
                main = 1024 * int(peak.group(1))
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                full = one.memory_full_info()
                every += getattr(full, "pss", full.uss)
    return main / 2**20, every / 2**20
