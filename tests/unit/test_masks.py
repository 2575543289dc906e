"""A label map of masks, each of one class."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prior_tools import PALETTES, PriorError, decode_label_image
from prior_tools.labels.masks import classes_of_masks, label_image_of_masks, mask_findings

CITY, ADE, GREY = (PALETTES[name] for name in ("cityscapes", "ade20k", "grey_ids"))
INSIDE, OUTSIDE = (0.5, 0.75, 1.0), (0.0, 0.25, math.nextafter(0.5, 0), math.nan)

_counts = st.shared(st.integers(1, 6), key="masks")
_pixel = st.sampled_from((*INSIDE, *OUTSIDE))


def ids_of(image, palette=CITY):
    """What the label image means to all that reads it; nothing in it may be unknown."""
    ids, unmatched = decode_label_image(image, palette)
    assert unmatched == 0
    return ids[0].tolist()


def masks(*rows):
    """[N, 1, W] masks of one row each."""
    return torch.tensor(rows, dtype=torch.float64)[:, None]


def kinds(*args, palette=CITY, background="none"):
    _, layers = label_image_of_masks(*args, palette, background)
    return dict(mask_findings(layers, palette))


@given(
    _counts.flatmap(
        lambda n: st.lists(
            st.tuples(*[_pixel] * n),
            min_size=1,
            max_size=12,
        )
    ),
    _counts.flatmap(
        lambda n: st.lists(st.sampled_from([-1, *CITY.colors]), min_size=n, max_size=n)
    ),
    st.sampled_from([-1, *CITY.colors]),
)
def test_every_pixel_is_of_the_last_mask_that_covers_it_else_of_the_background(
    pixels, classes, background
):
    text = "\n".join(map(str, classes))
    image, layers = label_image_of_masks(
        masks(*zip(*pixels, strict=True)), text, CITY, str(background)
    )
    uppermost = [max((i for i, v in enumerate(p) if v in INSIDE), default=None) for p in pixels]
    wanted = [background if i is None else classes[i] for i in uppermost]
    assert image.shape == (1, 1, len(pixels), 3) and image.dtype == torch.float32
    assert ids_of(image) == [wanted]
    assert layers.visible == tuple(uppermost.count(i) for i in range(len(classes)))
    assert layers.covered == tuple(sum(p[i] in INSIDE for p in pixels) for i in range(len(classes)))
    unknown = uppermost.count(None) / len(pixels) if background == -1 else 0
    assert layers.rest == pytest.approx(unknown)


@pytest.mark.parametrize("palette", PALETTES.values(), ids=lambda p: p.name)
def test_every_class_of_every_palette_comes_back_and_none_as_one_that_does_not_count(palette):
    counting = [i for i in palette.colors or range(256) if i not in palette.ignore_ids]
    classes = [-1, *counting]
    text = "\n".join(map(str, classes))
    image, _ = label_image_of_masks(torch.eye(len(classes))[:, None], text, palette)
    (found,) = ids_of(image, palette)
    assert found[1:] == classes[1:] and (found[0] == -1 or found[0] in palette.ignore_ids)


@pytest.mark.parametrize("kind", [torch.bool, torch.uint8, torch.float16])
@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 1, 2, 3), (2, 3)])
def test_what_else_passes_for_a_mask_means_the_same(kind, shape):
    mask = torch.tensor([[1, 0, 0], [0, 1, 1]]).to(kind).reshape(shape)
    image, _ = label_image_of_masks(mask, "car", CITY, "road")
    assert ids_of(image) == [[13, 0, 0], [0, 13, 13]]


def test_lines_name_classes_in_any_spelling_and_empty_ones_and_remarks_none():
    text = "\n  Traffic-Light\r\n# people\n11\n\n none \nVEGETATION"
    found = [(each.line, each.class_id) for each in classes_of_masks(text, CITY)]
    assert found == [(2, 6), (4, 11), (6, -1), (7, 8)]


def test_the_background_may_be_left_empty():
    image, _ = label_image_of_masks(masks([1, 0]), "car", CITY, " ")
    assert ids_of(image) == [[13, -1]]


ONE = masks([1, 0])


@pytest.mark.parametrize(
    ("given_masks", "text", "background", "says"),
    [
        (
            ONE,
            "road\ncra",
            "none",
            r"^line 2 of classes: .*no class 'cra'; the nearest are car \(13",
        ),
        (ONE, "#\n\n19", "none", "line 3 of classes: palette 'cityscapes' has no class '19'"),
        (ONE, "car, road", "none", "no class 'car, road'.*Name one class a line"),
        (ONE, "car", "raod", r"^background: .*no class 'raod'; the nearest are road \(0\)"),
        (ONE, "", "none", "1 masks are given and 0 classes; expected one line"),
        (
            ONE,
            "car\n\nroad",
            "none",
            r"2 classes: car \(line 1\), road \(line 3\).*joined to a batch",
        ),
        (masks([1], [1], [1], [1]), "car\nroad", "none", r"^4 masks .* for each mask$"),
        (torch.zeros(0, 4, 4), "car", "none", "^0 masks are given and 1 classes"),
        (torch.zeros(2, 4, 4, 3), "car", "none", r"shape \(2, 4, 4, 3\); expected \[N, H, W\]"),
        (torch.zeros(1, 0, 4), "car", "none", r"shape \(1, 0, 4\)"),
        (torch.zeros(4), "car", "none", r"shape \(4,\)"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(given_masks, text, background, says):
    with pytest.raises(PriorError, match=says):
        label_image_of_masks(given_masks, text, CITY, background)


def test_plain_ids_have_no_names():
    with pytest.raises(PriorError, match=r"it has no names, and the ids 0\.\.255"):
        label_image_of_masks(ONE, "car", GREY)


def test_what_covers_all_says_nothing():
    assert not kinds(masks([1, 0, 0], [0, 1, 0]), "car\nsky", background="road")
    assert not kinds(masks([1, 1, 0], [0, 1, 1]), "car\nsky")


def test_masks_that_show_nothing_are_told():
    rows = masks([0, 127 / 255, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1])
    said = kinds(rows, "sky\n# below the next\ncar\nroad\nperson")
    assert set(said) == {"empty masks", "masks below others"}
    assert "1 of 4 masks have no pixel" in said["empty masks"]
    assert "mask 1 (sky, line 1), at most 0.498" in said["empty masks"]
    assert "mask 2 (car, line 3)" in said["masks below others"]


def test_pixels_in_no_mask_are_told_where_more_than_a_hundredth_is_unknown():
    for left, expected in ((1, set()), (2, {"pixels in no mask"})):
        row = masks([1.0] * (100 - left) + [0.0] * left)
        assert set(kinds(row, "car")) == expected
        assert not kinds(row, "car", background="road")
    assert kinds(ONE, "car")["pixels in no mask"].startswith("50.0% of the pixels")


def test_a_name_of_another_dataset_is_taken_and_told():
    image, _ = label_image_of_masks(masks([1, 0], [0, 1]), "tree\nCar", CITY)
    assert ids_of(image) == [[8, 13]]
    said = kinds(masks([1, 0], [0, 1]), "tree\nCar")
    assert set(said) == {"names of other datasets"}
    assert "'tree' on line 1 is vegetation (8)" in said["names of other datasets"]
