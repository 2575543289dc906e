"""The registry's artwork is what its script draws, in the registry's shapes and small."""

import numpy as np
import pytest
from PIL import Image

from dev.artwork import DOCS, draw_banner, draw_icon

ADDRESS = "https://raw.githubusercontent.com/scp-diff/ComfyUI-SCP-Diff/main/docs"


@pytest.mark.parametrize(("name", "draw"), [("icon", draw_icon), ("banner", draw_banner)])
def test_the_committed_file_is_what_the_script_draws(name, draw):
    committed, drawn = Image.open(DOCS / f"{name}.png"), draw()
    assert committed.mode == drawn.mode
    assert committed.size == drawn.size
    apart = np.abs(np.asarray(committed, int) - np.asarray(drawn, int)).max(-1)
    # Other releases of Pillow may draw an edge of a shape or a letter a little differently.
    assert (apart > 2).mean() < 0.005


def test_shapes_and_bytes_suit_the_registry():
    with Image.open(DOCS / "icon.png") as icon, Image.open(DOCS / "banner.png") as banner:
        assert icon.size == (400, 400)  # at most 400 x 400, square
        assert banner.width * 9 == banner.height * 21
    assert (DOCS / "icon.png").stat().st_size < 150_000
    assert (DOCS / "banner.png").stat().st_size < 600_000


def test_the_icon_has_clear_corners_and_a_solid_middle():
    alpha = np.asarray(Image.open(DOCS / "icon.png"))[..., 3]
    assert alpha[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
    assert (alpha[100:-100] == 255).all()


def test_pyproject_names_the_files():
    lines = (DOCS.parent / "pyproject.toml").read_text("utf-8").splitlines()
    assert f'Icon = "{ADDRESS}/icon.png"' in lines
    assert f'Banner = "{ADDRESS}/banner.png"' in lines
