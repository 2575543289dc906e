"""Laws of label images: every class color decodes to its class, and what is near to it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.fuzz.limits import memory_limit
from prior_tools import PALETTES, Palette, PriorError, decode_label_image, get_palette
from prior_tools.labels.geometry import resize_labels
from prior_tools.labels.palette_colors import free_colors, own_colors
from prior_tools.labels.reading import LabelRules, read_label_images

ROOT = Path(__file__).parents[2]


def test_importing_makes_no_palette():
    """Each start of ComfyUI would wait for all of them."""
    code = (
        "import gc; from prior_tools import PALETTES, Palette; assert 'camvid' in PALETTES; "
        "print(list(PALETTES), [o for o in gc.get_objects() if isinstance(o, Palette)])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout == f"{list(PALETTES)} []\n"


COLORED = [p for p in PALETTES.values() if not p.is_grey]


EVERY = pytest.mark.parametrize("palette", PALETTES.values(), ids=lambda p: p.name)


def held(palette):
    return sorted(palette.colors) or list(range(256))


@EVERY
def test_every_id_is_painted_and_decodes_to_itself(palette):
    """The ignored and the unknown come back as ignored or unknown."""
    none = {-1, *palette.ignore_ids}
    ids = torch.tensor([[*held(palette), *none]])
    decoded, unmatched = decode_label_image(palette.paint(ids), palette)
    assert unmatched == 0
    for was, now in zip(ids[0].tolist(), decoded[0].tolist(), strict=True):
        assert now in none if was in none else now == was


@EVERY
def test_each_class_that_is_not_ignored_has_a_color_of_its_own(palette):
    own = [c for i, c in palette.colors.items() if i not in palette.ignore_ids]
    others = {c for i, c in palette.colors.items() if i in palette.ignore_ids}
    assert len(set(own)) == len(own)
    assert not set(own) & (others | set(palette.void))


COLORS = st.tuples(*[st.integers(0, 255)] * 3)


@given(
    st.dictionaries(st.integers(0, 300), st.none() | COLORS, min_size=1, max_size=12),
    st.sets(st.integers(0, 300), max_size=3),
    st.sets(COLORS, max_size=2),
)
def test_any_table_of_colors_becomes_a_palette_that_paints_every_id(colors, ignored, void):
    void -= set(colors.values())
    found = own_colors(colors, ignored, void)
    palette = Palette("any", found, void=tuple(void), ignore_ids=tuple(ignored))
    none = {-1, *ignored}
    ids = torch.tensor([[*colors, *none]])
    decoded = decode_label_image(palette.paint(ids), palette)[0]
    for was, now in zip(ids[0].tolist(), decoded[0].tolist(), strict=True):
        assert now in none if was in none else now == was
    for color in colors.values():
        # A file of the dataset's own colors is read as the first class of each.
        theirs = [i for i, c in colors.items() if c == color and i not in ignored]
        assert color is None or not theirs or found[min(theirs)] == color


@EVERY
@given(st.sets(st.integers(-3, 70_000), max_size=5))
def test_an_id_that_has_no_color_is_painted_only_if_it_is_ignored(palette, ids):
    wrong = [i for i in sorted(ids) if i != -1 and i not in (*held(palette), *palette.ignore_ids)]
    if wrong:
        with pytest.raises(PriorError, match=rf"no color for class ids {wrong[0]}\b"):
            palette.paint(torch.tensor(sorted(ids)))
    else:
        palette.paint(torch.tensor(sorted(ids), dtype=torch.int64))


def test_ids_without_a_level_of_grey_are_refused():
    grey = PALETTES["grey_ids"]
    assert grey.paint(torch.tensor([-1, 255, 0])).tolist() == [[255] * 3, [255] * 3, [0] * 3]
    with pytest.raises(PriorError, match=r"class ids 256; expected 0\.\.255 for grey levels"):
        grey.paint(torch.tensor([256]))
    with pytest.raises(PriorError, match="ignores none, so that unknown pixels cannot be painted"):
        Palette("plain", {}).paint(torch.tensor([-1]))
    assert Palette("plain", {}).paint(torch.tensor([255])).tolist() == [[255] * 3]


def test_ids_of_bytes_are_painted_as_those_of_integers():
    ids = torch.tensor([0, 3, 18])
    for dtype in (torch.uint8, torch.int16, torch.int32):
        painted = PALETTES["cityscapes"].paint(ids.to(dtype))
        assert torch.equal(painted, PALETTES["cityscapes"].paint(ids))
    with pytest.raises(PriorError, match="class ids 99"):
        PALETTES["cityscapes"].paint(torch.tensor([99, 255], dtype=torch.uint8))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"colors": {3: (1, 2, 3), 7: (1, 2, 3)}}, "classes 3 and 7 of palette 'x' have one color"),
        (
            {"colors": {3: (1, 2, 3), 7: (1, 2, 3)}, "ignore_ids": (7,)},
            "classes 3 and 7 of palette 'x' have one color",
        ),
        ({"colors": {3: (1, 2, 3)}, "void": ((1, 2, 3),)}, "class 3 of palette 'x' has the color"),
    ],
)
def test_classes_that_cannot_be_told_apart_are_no_palette(given, says):
    with pytest.raises(PriorError, match=says):
        Palette("x", **given)


def test_free_colors_are_far_from_all_others():
    for palette in COLORED:
        colors, _ = palette._table
        color = torch.tensor(next(free_colors(palette.colors.values())))
        assert (colors - color).double().norm(dim=1).min() >= 2 * palette._tolerance


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
        "cityscapes_label_ids": 34,
        "bdd100k": 19,
        "mapillary_vistas": 66,
        "coco_stuff": 171,
        "pascal_voc": 21,
        "camvid": 12,
        "camvid32": 32,
        "grey_ids": 0,
    }
    for name, class_id, class_name, color in [
        ("ade20k", 1, "wall", (120, 120, 120)),
        ("ade20k", 150, "flag", (92, 0, 255)),
        ("cityscapes", 13, "car", (0, 0, 142)),
        ("coco_stuff", 0, "person", (128, 0, 0)),
        ("coco_stuff", 181, "wood", (0, 224, 192)),
        ("camvid", 3, "road", (128, 64, 128)),
        ("cityscapes_label_ids", 33, "bicycle", (119, 11, 32)),
        ("bdd100k", 18, "bicycle", (119, 11, 32)),
        ("mapillary_vistas", 0, "bird", (165, 42, 42)),
        ("mapillary_vistas", 13, "road", (128, 64, 128)),
        ("mapillary_vistas", 65, "unlabeled", (0, 0, 0)),
        ("pascal_voc", 0, "background", (0, 0, 0)),
        ("pascal_voc", 15, "person", (192, 128, 128)),
        ("pascal_voc", 20, "tvmonitor", (0, 64, 128)),
        ("camvid32", 0, "animal", (64, 128, 64)),
        ("camvid32", 30, "void", (0, 0, 0)),
    ]:
        assert PALETTES[name].colors[class_id] == color
        assert PALETTES[name].names[class_id] == class_name


def test_the_base7_code_writes_the_id_in_base_7():
    for class_id, (r, g, b) in PALETTES["ade20k_base7"].colors.items():
        assert (r // 30) * 49 + (g // 30) * 7 + b // 30 == class_id


def test_where_a_dataset_has_one_color_for_two_classes_files_are_read_as_the_first():
    for name, color, first, second, painted in (
        ("ade20k", (140, 140, 140), 7, 49, (170, 119, 255)),
        ("cityscapes_label_ids", (153, 153, 153), 17, 18, (0, 255, 85)),
    ):
        palette = PALETTES[name]
        assert decode_label_image(torch.tensor([[color]]), palette)[0].item() == first
        assert palette.colors[first] == color and palette.colors[second] == painted


def test_what_a_dataset_does_not_evaluate_is_ignored():
    ignored = {name: palette.ignore_ids for name, palette in PALETTES.items()}
    official = {*range(7), 9, 10, 14, 15, 16, 18, 29, 30, 255}
    assert {*ignored["cityscapes_label_ids"]} == official
    assert ignored["bdd100k"] == ignored["cityscapes"] == ignored["pascal_voc"] == (255,)
    assert ignored["mapillary_vistas"] == (65,) and ignored["camvid32"] == (30,)
    border = torch.tensor([[[224, 224, 192]]])
    assert decode_label_image(border, "pascal_voc") == (torch.tensor([[-1]]), 0)


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
    coco = PALETTES["coco_stuff"]
    image = coco.paint(torch.tensor([*coco.colors][:60]).view(1, 6, 10))
    with pytest.raises(PriorError, match=r"in \d+\.\d% of its pixels.*palette coco_stuff has 100%"):
        read_label_images(image[None][0], LabelRules(PALETTES["ade20k"]), "the label image")


def test_a_photograph_fits_no_palette():
    image = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(PriorError, match="no built-in palette has them"):
        read_label_images(image, LabelRules(PALETTES["camvid"]), "the label image")


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
