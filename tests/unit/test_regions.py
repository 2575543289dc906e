"""Laws of connected regions."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from prior_tools.labels.regions import connected_regions


def flooded(ids):
    """The same by walking from cell to cell."""
    numbers = torch.full(ids.shape, -1)
    found = 0
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            if numbers[y, x] >= 0:
                continue
            todo = [(y, x)]
            while todo:
                v, u = todo.pop()
                inside = 0 <= v < ids.shape[0] and 0 <= u < ids.shape[1]
                if inside and numbers[v, u] < 0 and ids[v, u] == ids[y, x]:
                    numbers[v, u] = found
                    todo += [(v + 1, u), (v - 1, u), (v, u + 1), (v, u - 1)]
            found += 1
    return numbers


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32))
def test_they_are_what_walking_from_cell_to_cell_finds(height, width, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(-1, classes, (height, width), generator=generator)
    assert torch.equal(connected_regions(ids), flooded(ids))


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32))
def test_no_region_goes_on_in_the_next_map(maps, height, width, seed):
    ids = torch.randint(0, 2, (maps, height, width), generator=torch.Generator().manual_seed(seed))
    begun = 0
    for numbers, own in zip(connected_regions(ids), ids, strict=True):
        assert torch.equal(numbers, begun + connected_regions(own))
        begun = int(numbers.max()) + 1


def test_long_winding_regions_are_one():
    """A comb, and two spirals in each other."""
    comb = torch.zeros(21, 40, dtype=torch.int64)
    comb[1:, 1::2] = 1
    assert connected_regions(comb).max() == flooded(comb).max() == 20
    spiral = torch.zeros(23, 23, dtype=torch.int64)
    y = x = 11
    for step in range(22):
        dy, dx = ((0, 1), (1, 0), (0, -1), (-1, 0))[step % 4]
        for _ in range(step // 2 * 2 + 2):
            if 0 <= y < 23 and 0 <= x < 23:
                spiral[y, x] = 1
            y, x = y + dy, x + dx
    assert torch.equal(connected_regions(spiral), flooded(spiral))
