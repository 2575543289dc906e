"""The demo's picture: which label maps it shows, and which part it enlarges."""

import numpy as np
import pytest
import torch
from PIL import Image

from demo.judge import SEGMENTER, Judge, largest_and_middle, most_gained
from demo.scenes import CLASS_COLORS, CLASS_NAMES
from dev.comfyui import REPOSITORY
from prior_tools import get_palette
from prior_tools.evaluation.segmentation import predict
from prior_tools.evaluation.segmenters import load_segmenter


def test_the_picture_of_the_graph_shows_label_maps_in_the_colors_of_their_classes():
    """Few pixels have them, and it has few colors."""
    with Image.open(REPOSITORY / "docs" / "graph.png") as picture:
        shown = np.asarray(picture.convert("RGB"), np.int16)
    for name in ("road", "sidewalk", "building", "vegetation", "terrain", "sky", "car"):
        off = np.abs(shown - CLASS_COLORS[CLASS_NAMES.index(name)]).max(-1)
        assert (off <= 2).sum() > 100, name


@pytest.mark.parametrize("count", [1, 2, 11, 12])
def test_the_largest_gain_is_shown_and_the_median(count):
    gains = np.random.default_rng(count).normal(size=count).tolist()
    largest, middle = largest_and_middle(gains)
    assert gains[largest] == max(gains)
    less, more = (sum(sign * (gain - gains[middle]) > 0 for gain in gains) for sign in (-1, 1))
    assert more - less == (count + 1) % 2


@pytest.mark.parametrize("seed", range(5))
def test_no_other_window_gains_more_right_pixels(seed):
    before, after = torch.rand(2, 20, 31, generator=torch.Generator().manual_seed(seed)) < 0.5
    width, height = 9, 6
    gained = after.int() - before.int()
    left, top = most_gained(before, after, (width, height))
    sums = gained.unfold(0, height, 1).unfold(1, width, 1).sum((-1, -2))
    assert sums[top, left] == sums.max()


def test_a_picture_agrees_with_the_label_map_that_the_net_sees_in_it(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (48, 96, 3), np.uint8)
    scores = load_segmenter(SEGMENTER, trust=True)(torch.from_numpy(picture)[None])
    painted = get_palette("cityscapes").paint(predict(scores, (48, 96))[0]).numpy()
    file = tmp_path / "label_map.png"
    Image.fromarray(painted).save(file)
    score, right = Judge().agreement(picture, file)
    assert score == 1 and right.all()
    # The class of one half is wrong.
    painted[:, :48] = get_palette("cityscapes").paint(torch.tensor([[18]])).numpy()
    Image.fromarray(painted).save(file)
    score, right = Judge().agreement(picture, file)
    assert score < 1 and right[:, 48:].all() and not right[:, :48].all()
