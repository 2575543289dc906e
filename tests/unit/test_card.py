"""Laws of a prior's card: it says what the prior holds, in a few kilobytes of plain data."""

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from prior_tools import PALETTES, HeldOut, ModeFit, Palette, PriorAccumulator
from prior_tools.held_out import HELD_OUT_MODES
from prior_tools.picture import describe_prior, prior_card, small_pictures

CITYSCAPES = PALETTES["cityscapes"]


def make(labels, channels=4, **metadata):
    generator = torch.Generator().manual_seed(0)
    state = PriorAccumulator(channels, labels.shape[1:], ())
    state.update(torch.randn(len(labels), channels, *labels.shape[1:], generator=generator), labels)
    return state.finalize(**metadata)


def opened(url):
    kind, _, data = url.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def halves(images=3, grid=(4, 6)):
    """Sky (10) above road (0); a car (13) in the first image's lower left corner."""
    labels = torch.zeros(images, *grid, dtype=torch.int64)
    labels[:, : grid[0] // 2] = 10
    labels[0, -1, 0] = 13
    return labels


def test_it_says_what_the_prior_holds():
    card = prior_card(
        make(
            halves(),
            palette=CITYSCAPES,
            class_names=dict(CITYSCAPES.names),
            dataset_name="streets",
            latent_format="sd15",
            source_size=(50, 33),
        )
    )
    assert json.loads(json.dumps(card)) == card
    told = ("dataset", "images", "grid", "pixels", "channels", "latent_format")
    assert [card[key] for key in told] == ["streets", 3, [4, 6], [50, 33], 4, "sd15"]
    sky, road, car = card["classes"]
    assert sky == {"id": 10, "name": "sky", "color": "#4682b4", "images": 3, "share": 0.5}
    assert (road["name"], road["color"], road["images"]) == ("road", "#804080", 3)
    assert (car["name"], car["images"]) == ("car", 1)
    assert sum(row["share"] for row in card["classes"]) == pytest.approx(1)
    assert card["grain"] is False


def test_what_is_not_known_has_a_stand_in():
    card = prior_card(make(halves(), downscale_factor=4))
    assert card["dataset"] == "" and card["latent_format"] == "unknown"
    assert card["pixels"] == [24, 16]
    assert [row["name"] for row in card["classes"]] == ["class 10", "class 0", "class 13"]
    assert len({row["color"] for row in card["classes"]}) == 3


def test_it_tells_what_images_that_were_held_out_say():
    assert prior_card(make(halves()))["held_out"] is None
    fits = {mode: ModeFit(1.0, None, 0.25, None, 1.0) for mode in HELD_OUT_MODES}
    fits["joint"] = ModeFit(0.5, (0.4, 0.6), 0.75, (0.7, 0.8), 1.0)
    card = prior_card(make(halves(), held_out=HeldOut(12, fits)))
    assert card["held_out"] == {"images": 12, "best": "joint", "explained": 0.75}


def test_the_pictures_have_a_pixel_a_cell_and_the_classes_colors():
    card = prior_card(make(halves(), palette=CITYSCAPES))
    classes, mean = opened(card["class_picture"]), opened(card["mean_picture"])
    assert classes.shape == mean.shape == (4, 6, 3)
    assert np.array_equal(classes, CITYSCAPES.paint(halves()[1]).numpy())


@pytest.mark.parametrize("channels", [1, 3, 4, 16])
def test_every_number_of_channels_has_a_picture(channels):
    mean = opened(prior_card(make(halves(), channels))["mean_picture"])
    assert mean.shape == (4, 6, 3) and mean.std() > 1


def test_a_large_grid_is_made_smaller_without_new_colors():
    colors = {i: (3 * i, 255 - 5 * i, 7 * i) for i in range(20)}
    labels = torch.randint(0, 20, (1, 256, 128), generator=torch.Generator().manual_seed(1))
    classes, mean = small_pictures(make(labels, palette=Palette("twenty", colors)))
    assert classes.size == mean.size == (48, 96)
    assert {color for _, color in classes.getcolors()} <= set(colors.values())


def test_a_prior_without_classes_has_a_card():
    card = prior_card(make(torch.full((2, 3, 3), -1)))
    assert card["classes"] == [] and card["images"] == 2
    assert opened(card["class_picture"]).shape == (3, 3, 3)


def test_a_card_of_images_alone_has_no_classes_but_a_mean():
    card = prior_card(make(torch.full((2, 3, 3), -1), label_method=None))
    assert card["classes"] is None and card["class_picture"] is None
    assert opened(card["mean_picture"]).shape == (3, 3, 3)


def test_a_picture_of_images_alone_shows_where_they_differ():
    prior = make(torch.full((3, 4, 6), -1), label_method=None)
    spread = prior.spatial_std.clone()
    spread[:, :, 3:] *= 2
    other = dataclasses.replace(prior, spatial_std=spread)
    pictures = [describe_prior(each) for each in (prior, other)]
    assert pictures[0].shape == pictures[1].shape
    changed = (pictures[0] != pictures[1]).any(-1).any(0).nonzero()
    # In the second of three panels, not in the mean's.
    assert changed.min() > 320 and changed.max() < 640


def test_a_picture_stays_small_whatever_a_file_holds():
    """A grid that is all height, and a name without end."""
    labels = torch.full((1, 2000, 1), 3)
    prior = make(labels, class_names={3: "x" * 10**6})
    height, width, _ = describe_prior(prior, title="x" * 10**6).shape
    assert height < 3000 and width < 1000


def test_the_card_of_a_large_prior_is_small():
    """171 classes on 64x64 cells."""
    palette = PALETTES["coco_stuff"]
    ids = torch.tensor(list(palette.colors))
    blocks = torch.randint(0, len(ids), (4, 16, 16), generator=torch.Generator().manual_seed(2))
    labels = ids[blocks].repeat_interleave(4, 1).repeat_interleave(4, 2)
    card = prior_card(make(labels, palette=palette, class_names=dict(palette.names)))
    assert len(json.dumps(card)) < 60_000
