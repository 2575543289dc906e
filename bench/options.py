"""What a run is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dev.comfyui import CACHE

FOLDER = CACHE / "bench"


@dataclass(frozen=True)
class Options:
    """The choices of the command line.

    Attributes:
        quick: few samples; the figures then only show that everything runs.
        camvid: folder of CamVid with images/train and labels/train; None takes generated scenes.
        cache: folder for files that are made once.
    """

    quick: bool = False
    camvid: Path | None = None
    cache: Path = FOLDER
