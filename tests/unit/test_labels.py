"""Laws of bringing labels to the latent grid."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from prior_tools import PriorError, fit_labels, labels_on_grid, resize_labels
from prior_tools.labels.geometry import crop_box
from prior_tools.labels.ids import parse_id_map, parse_ids

maps = st.builds(
    lambda seed, h, w, n: torch.from_numpy(np.random.default_rng(seed).integers(-1, 5, (n, h, w))),
    st.integers(0, 1000),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 2),
)
grids = st.tuples(st.integers(1, 12), st.integers(1, 12))


@settings(max_examples=60, deadline=None)
@given(maps, grids, st.sampled_from(["majority", "nearest"]))
def test_ids_are_picked_never_invented(labels, grid, method):
    resized = resize_labels(labels, grid, method)
    assert resized.shape == (len(labels), *grid)
    assert set(resized.unique().tolist()) <= set(labels.unique().tolist())


@settings(max_examples=60, deadline=None)
@given(maps, st.sampled_from(["majority", "nearest"]))
def test_the_same_grid_changes_nothing(labels, method):
    assert torch.equal(resize_labels(labels, labels.shape[1:], method), labels)


@settings(max_examples=40, deadline=None)
@given(maps, grids)
def test_majority_is_the_most_frequent_id_of_the_cell(labels, grid):
    """Pixels belong to the cell that holds their centre; the lowest known id wins a draw."""
    height, width = grid
    resized = resize_labels(labels, grid)
    _, old_height, old_width = labels.shape
    for n in range(len(labels)):
        for i in range(height):
            for j in range(width):
                votes: dict[int, int] = {}
                for y in range(old_height):
                    for x in range(old_width):
                        row = int((y + 0.5) * height / old_height)
                        column = int((x + 0.5) * width / old_width)
                        if (row, column) == (i, j):
                            label = int(labels[n, y, x])
                            votes[label] = votes.get(label, 0) + 1
                if votes:
                    best = min(votes, key=lambda k: (-votes[k], k < 0, k))
                    assert resized[n, i, j] == best


@pytest.mark.parametrize("size", [(16, 32), (64, 40), (24, 8)])
def test_nearest_is_the_corner_pixel_as_in_the_published_toolkit(size):
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 9, (3, *size)))
    grid = (size[0] // 8, size[1] // 8)
    want = interpolate(labels[:, None].double(), size=grid, mode="nearest")[:, 0].long()
    assert torch.equal(resize_labels(labels, grid, "nearest"), want)
    assert torch.equal(resize_labels(labels, grid, "nearest"), labels[:, ::8, ::8])


def test_a_single_map_needs_no_batch():
    labels = torch.arange(16).view(4, 4)
    assert torch.equal(resize_labels(labels, (2, 2), "nearest"), labels[::2, ::2])


@pytest.mark.parametrize(
    ("labels", "grid", "method", "says"),
    [
        (torch.zeros(4, dtype=torch.int64), (2, 2), "majority", "shape"),
        (torch.zeros(4, 4, dtype=torch.int64), (0, 2), "majority", r"grid is \(0, 2\); expected"),
        (torch.zeros(4, 4, dtype=torch.int64), (2, 2), "bilinear", "expected one of majority"),
        (torch.zeros(4, 4, dtype=torch.int64), (2.5, 2), "majority", r"grid is \(2\.5, 2\)"),
        (torch.zeros(4, 4, dtype=torch.int64), 2, "majority", "grid is 2; expected"),
        (torch.full((4, 4), 3.7), (2, 2), "nearest", "float32; expected integer class ids"),
        # A table with an entry for each id would take gigabytes.
        (torch.tensor([[0, 200_000_000]]), (1, 1), "majority", "from 0 to 200000000"),
        (torch.tensor([[0, -200_000_000]]), (1, 1), "majority", "from -200000000 to 0"),
    ],
)
def test_wrong_input_is_named(labels, grid, method, says):
    with pytest.raises(PriorError, match=says):
        resize_labels(labels, grid, method)


@pytest.mark.parametrize("factor", [0, -8, 8.0, 129])
def test_a_factor_that_is_none_is_refused(factor):
    with pytest.raises(PriorError, match=f"downscale_factor is {factor}; expected"):
        labels_on_grid(torch.zeros(1, 16, 16, 3), "camvid", factor)


@pytest.mark.parametrize("size", [(0, 8), (8, -1), (8.5, 8), 8, (8, 8, 8)])
def test_labels_are_fitted_to_whole_pixels_only(size):
    with pytest.raises(PriorError, match=r"size is .*width, height"):
        fit_labels(torch.zeros(8, 8, dtype=torch.int64), size)


@pytest.mark.parametrize("parse", [parse_ids, lambda text, what: parse_id_map(f"{text}=1", what)])
def test_ids_beyond_the_largest_are_none(parse):
    assert 65535 in parse("65535", "--ids")
    with pytest.raises(PriorError, match=r"--ids names class id 65536; expected 0\.\.65535"):
        parse("65536", "--ids")


def test_ids_are_not_renamed_beyond_the_largest():
    for text in ("0=65536", "0-2=65534"):
        with pytest.raises(PriorError, match="names class id 65536"):
            parse_id_map(text, "--map")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 900), st.integers(1, 900))
def test_the_crop_box_is_centred_and_inside(width, height, target_width, target_height):
    left, top, right, bottom = crop_box((width, height), (target_width, target_height))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert (left, right) == (0, width) or (top, bottom) == (0, height)
    assert left == width - right and top == height - bottom
    # Of the target's shape, to within half a pixel on either side, if that leaves any.
    wanted_width = min(width, height * target_width / target_height)
    wanted_height = min(height, width * target_height / target_width)
    assert abs(right - left - wanted_width) < 2 and abs(bottom - top - wanted_height) < 2


def test_fitting_to_the_same_size_changes_nothing():
    labels = torch.arange(24).view(1, 4, 6)
    assert fit_labels(labels, (6, 4)) is labels
