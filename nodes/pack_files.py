"""Files that come with the pack: the demo's weights, its prior and its label maps."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "weights"
DEMO_MODELS = FOLDER / "models"
DEMO_PRIORS = FOLDER / "priors"
DEMO_LABEL_MAPS = FOLDER / "label_maps"


def demo_label_maps() -> list[Path]:
    """The label maps, in order."""
    return sorted(DEMO_LABEL_MAPS.glob("*.png"))
