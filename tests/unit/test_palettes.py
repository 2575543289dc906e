"""Laws of label images: every class color decodes to its class, and what is near to it."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.fuzz.limits import memory_limit
from prior_tools import PALETTES, Palette, PriorError, decode_label_image, get_palette
from prior_tools.labels.colors import check_matched, likely_palettes
from prior_tools.labels.geometry import resize_labels

COLORED = [p for p in PALETTES.values() if not p.is_grey]


@pytest.mark.parametrize("palette", COLORED, ids=lambda p: p.name)
def test_painted_ids_decode_to_themselves(palette):
    ids = torch.tensor(sorted(palette.colors))[None]
    decoded, unmatched = decode_label_image(palette.paint(ids), palette)
    assert unmatched == 0
    first_of_color = {}
    for class_id in ids[0].tolist():
        first_of_color.setdefault(palette.colors[class_id], class_id)
    assert decoded[0].tolist() == [first_of_color[palette.colors[i]] for i in ids[0].tolist()]


def test_grey_ids_are_the_grey_values():
    ids = torch.arange(256).view(16, 16)
    decoded, unmatched = decode_label_image(PALETTES["grey_ids"].paint(ids), "grey_ids")
    assert torch.equal(decoded, ids) and unmatched == 0
    decoded, unmatched = decode_label_image(torch.tensor([[[0.2, 0.5, 0.9]]]), "grey_ids")
    assert decoded.item() == -1 and unmatched == 1


@pytest.mark.parametrize("class_id", [-1, 65536, 2_000_000_000])
def test_a_palette_of_ids_that_would_take_a_table_of_gigabytes_is_refused(class_id):
    data = PALETTES["camvid"].to_json()
    for field, entry in (("colors", (1, 2, 3)), ("names", "moon")):
        given = {"colors": {0: (0, 0, 0)}, field: {class_id: entry}}
        with pytest.raises(
            PriorError, match=f"id of palette 'moons' is {class_id}; expected 0..65535"
        ):
            Palette("moons", **given)
        with pytest.raises(ValueError, match="class id"):
            Palette.from_json({**data, field: {**data[field], str(class_id): entry}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"colors": {0: (0, 0, 300)}},
        {"colors": {0: (0, 0, -1)}},
        {"colors": {0: (0, 0)}},
        {"colors": {0: (0, 0, 0.5)}},
        {"colors": {i: (i // 256, i % 256, 0) for i in range(4097)}},
        {"void": ((0, 0, 256),)},
        {"names": {0: 7}},
        {"name": 7},
        {"ignore_ids": (-1,)},
        {"ignore_ids": (0.5,)},
    ],
)
def test_what_a_file_cannot_hold_is_no_palette_in_a_script(wrong):
    given = {"name": "x", "colors": {0: (1, 2, 3)}, **wrong}
    with pytest.raises(PriorError, match=r"palette ('x'|7)"):
        Palette(**given)
    data = json.loads(json.dumps({**Palette("x", {0: (1, 2, 3)}).to_json(), **wrong}))
    with pytest.raises(ValueError):
        Palette.from_json(data)


def test_a_palette_of_lists_and_other_numbers_is_that_of_ints():
    ours = Palette("x", {0: (1, 2, 3)}, {0: "moon"}, ((4, 5, 6),), (255,))
    row = torch.tensor([[1, 2, 3]]).numpy()[0]
    theirs = Palette("x", {row[0] - 1: row}, {0: "moon"}, [[4, 5, 6]], [row[0] + 254])
    assert theirs == ours == Palette.from_json(theirs.to_json())
    assert torch.equal(theirs.paint(torch.tensor([0])), ours.paint(torch.tensor([0])))


def test_floats_are_not_painted_as_ids():
    with pytest.raises(PriorError, match="float32; expected integer class ids"):
        PALETTES["grey_ids"].paint(torch.tensor([3.7]))


def test_class_counts_and_well_known_colors():
    counts = {name: len(p.colors) for name, p in PALETTES.items()}
    assert counts == {
        "ade20k": 151,
        "ade20k_base7": 151,
        "cityscapes": 19,
        "coco_stuff": 171,
        "camvid": 12,
        "grey_ids": 0,
    }
    for name, class_id, class_name, color in [
        ("ade20k", 1, "wall", (120, 120, 120)),
        ("ade20k", 150, "flag", (92, 0, 255)),
        ("cityscapes", 13, "car", (0, 0, 142)),
        ("coco_stuff", 0, "person", (128, 0, 0)),
        ("coco_stuff", 181, "wood", (0, 224, 192)),
        ("camvid", 3, "road", (128, 64, 128)),
    ]:
        assert PALETTES[name].colors[class_id] == color
        assert PALETTES[name].names[class_id] == class_name


def test_the_base7_code_writes_the_id_in_base_7():
    for class_id, (r, g, b) in PALETTES["ade20k_base7"].colors.items():
        assert (r // 30) * 49 + (g // 30) * 7 + b // 30 == class_id


def test_two_ade20k_classes_share_a_color_and_the_first_wins():
    ade = PALETTES["ade20k"]
    assert ade.colors[7] == ade.colors[49] == (140, 140, 140)
    assert decode_label_image(torch.tensor([[[140, 140, 140]]]), ade)[0].item() == 7


def test_void_colors_are_unknown_but_not_unmatched():
    ids, unmatched = decode_label_image(torch.tensor([[[0, 0, 0], [81, 0, 81]]]), "cityscapes")
    assert ids.tolist() == [[-1, -1]] and unmatched == 0


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(COLORED), st.integers(0, 10**6), st.tuples(*[st.integers(-9, 9)] * 3))
def test_a_color_matches_within_half_the_smallest_distance(palette, pick, off):
    colors, ids = palette._table
    at = pick % len(colors)
    moved = (colors[at] + torch.tensor(off)).clamp(0, 255)
    distance = (moved - colors[at]).double().norm()
    decoded, unmatched = decode_label_image(moved.view(1, 1, 3), palette)
    if distance > 0 and ids[at] < 0 and distance < palette._tolerance:
        # Void colors match exactly or not at all.
        assert decoded.item() == -1 and unmatched == 1
    elif distance < palette._tolerance:
        assert decoded.item() == ids[at] and unmatched == 0
    nearest = (colors - moved).double().norm(dim=1)
    if nearest.min() >= palette._tolerance:
        assert decoded.item() == -1 and unmatched == 1


@given(st.integers(0, 255))
def test_floats_bytes_and_alpha_decode_alike(level):
    image = torch.full((2, 3, 4, 3), level, dtype=torch.uint8)
    image[0, 0, 0] = torch.tensor([120, 120, 120])
    alpha = torch.cat([image, torch.full_like(image[..., :1], 77)], -1)
    want = decode_label_image(image, "ade20k")
    for same in (image / 255, image.numpy(), alpha, image.to(torch.int32)):
        ids, unmatched = decode_label_image(same, "ade20k")
        assert torch.equal(ids, want[0]) and unmatched == want[1]


def test_the_unmatched_fraction_is_that_of_the_pixels():
    image = torch.tensor([128, 64, 128]).expand(10, 10, 3).clone()
    image[:3] = torch.tensor([13, 211, 77])
    ids, unmatched = decode_label_image(image, "camvid")
    assert unmatched == pytest.approx(0.3)
    assert (ids[:3] == -1).all() and (ids[3:] == 3).all()


def test_a_foreign_label_map_is_refused_with_its_likely_palette():
    image = PALETTES["coco_stuff"].paint(torch.arange(60).view(1, 6, 10))
    _, unmatched = decode_label_image(image, "ade20k")
    assert likely_palettes(image)[0][0] == "coco_stuff"
    with pytest.raises(PriorError, match=r"in \d+\.\d% of its pixels; it may be coco_stuff"):
        check_matched(image, unmatched, PALETTES["ade20k"], "the label image")


def test_a_photograph_fits_no_palette():
    image = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(0))
    _, unmatched = decode_label_image(image, "camvid")
    with pytest.raises(PriorError, match="no known palette fits"):
        check_matched(image, unmatched, PALETTES["camvid"], "the label image")


def test_palettes_survive_json():
    for palette in PALETTES.values():
        assert Palette.from_json(palette.to_json()) == palette


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(PriorError, match="expected one of ade20k, ade20k_base7"):
        get_palette("ade")


@pytest.mark.parametrize("palette", ["camvid", "grey_ids"])
def test_a_large_label_map_takes_little_more_memory_than_its_ids(palette):
    """Of three million pixels, 24 MB of ids."""
    ids = torch.arange(12).repeat_interleave(125).repeat(2000, 1)
    image = PALETTES[palette].paint(ids).contiguous()
    with memory_limit(120):
        decoded, unmatched = decode_label_image(image, palette)
        on_grid = resize_labels(decoded, (2, 12))
    assert unmatched == 0 and torch.equal(decoded, ids)
    assert on_grid.tolist() == [list(range(12))] * 2
