"""Laws of a label map's picture: what it shows, and that it stays small."""

import numpy as np
import pytest
import torch

from prior_tools import PALETTES, Palette
from prior_tools.labels.label_picture import describe_labels, without_class
from prior_tools.labels.reading import LabelReading
from prior_tools.labels.tally import LabelTally


def picture(ids, palette, title="a.png"):
    """uint8 [H, W, 3] of label maps [N, H, W]."""
    tally = sum((LabelTally.of_ids(each) for each in ids), LabelTally())
    shown = describe_labels(LabelReading(ids, tally, "ids"), palette, title)
    return (shown * 255).round().to(torch.uint8).numpy()


def colors_in(shown):
    return {tuple(color) for color in shown.reshape(-1, 3).tolist()}


def count(shown, color):
    return int((shown == np.array(color)).all(-1).sum())


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "pascal_voc", "camvid"])
def test_every_class_has_its_color_in_the_map_and_in_the_legend(name):
    palette = PALETTES[name]
    ids = [i for i in palette.colors if i not in palette.ignore_ids][:12]
    labels = torch.tensor(ids).repeat_interleave(40).expand(1, 200, -1)
    shown = picture(labels, palette)
    assert {palette.colors[i] for i in ids} <= colors_in(shown)
    only = picture(labels[..., :40], palette)
    assert count(only, palette.colors[ids[1]]) == 0


def test_small_ids_can_be_told_apart_though_their_grey_levels_cannot():
    labels = torch.arange(6).repeat_interleave(10).expand(1, 60, -1)
    panel = picture(labels, PALETTES["grey_ids"])[80:480, 20:460]
    found = {tuple(panel[200, x].tolist()) for x in range(30, 440, 74)}
    assert len(found) == 6
    assert max(max(color) - min(color) for color in found) > 50


@pytest.mark.parametrize("value", [-1, 255])
def test_what_has_no_class_is_hatched_and_stands_in_the_legend(value):
    palette = PALETTES["cityscapes"]
    labels = torch.zeros(1, 60, 60, dtype=torch.int64)
    bare, whole = labels.clone(), picture(labels, palette)
    bare[:, :, 30:] = value
    shown = picture(bare, palette)
    assert without_class(bare, palette).sum() == 60 * 30
    assert len(shown) == len(whole) + 26  # a row more
    white = (255, 255, 255)
    half = 448 * 224
    assert abs(count(shown, white) - half / 2) < half / 20
    assert count(whole, white) == 0


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1), (3000, 4000)])
def test_it_is_of_one_width_and_never_high_whatever_is_shown(shape):
    palette = PALETTES["grey_ids"]
    labels = (torch.arange(shape[0] * shape[1]) % 256).view(1, *shape)
    shown = picture(labels, palette, "x" * 5000)
    assert shown.shape[1] == 480 and 100 < shown.shape[0] <= 1000


def test_names_without_end_and_ignored_ids_without_end_are_cut():
    names = {i: f"class {i} " + "and so on " * 50 for i in range(200)}
    palette = Palette("p" * 500, {i: (i, 0, 9) for i in range(200)}, names, (), range(100, 200))
    shown = picture(torch.arange(200).view(1, 10, 20), palette)
    assert shown.shape[1] == 480 and shown.shape[0] <= 1000
