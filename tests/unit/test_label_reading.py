"""Laws of reading label pictures: one file, one meaning; nothing is dropped unsaid."""

import json
import struct
import zlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from prior_tools import PALETTES, Palette, PriorError, find_pairs
from prior_tools.datasets.dataset import PairDataset
from prior_tools.datasets.label_files import (
    differs,
    read_label_file,
    read_label_frames,
    survey,
)
from prior_tools.generating.animated_png import animated_png
from prior_tools.labels.findings import check_any_class, findings
from prior_tools.labels.palette_colors import bit_color
from prior_tools.labels.reading import LabelRules, read_label_images, read_levels
from prior_tools.labels.tally import (
    EITHER,
    IDS_IN_CHANNEL,
    IDS_IN_GREY,
    LOSSY,
    SHIFTED,
    LabelTally,
)

CAMVID = PALETTES["camvid"]
ALL = np.arange(256).reshape(16, 16)


def rules_of(name: str, **changes) -> LabelRules:
    return LabelRules(PALETTES[name], PALETTES[name].ignore_ids, **changes)


def tabled(ids: np.ndarray, color_of) -> Image.Image:
    picture = Image.fromarray(ids.astype(np.uint8))
    picture.putpalette([level for i in range(256) for level in color_of(i)])
    return picture


def with_alpha(ids: np.ndarray) -> Image.Image:
    grey = Image.fromarray(ids.astype(np.uint8))
    return Image.merge("LA", (grey, Image.new("L", grey.size, 200)))


def levels_of(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids.astype(np.uint8)] * 3, -1)


def in_channel(ids: np.ndarray, channel: int, channels: int = 3) -> np.ndarray:
    levels = np.zeros((*ids.shape, channels), np.uint8)
    levels[..., 3:] = 255
    levels[..., channel] = ids
    return levels


FORMS = {
    "grey": lambda ids: Image.fromarray(ids.astype(np.uint8)),
    "grey and alpha": with_alpha,
    "16 bits": lambda ids: Image.fromarray(ids.astype(np.uint16)),
    "table of greys": lambda ids: tabled(ids, lambda i: (i, i, i)),
    "VOC's table": lambda ids: tabled(ids, bit_color),
    "three equal channels": lambda ids: Image.fromarray(levels_of(ids)),
    "four channels": lambda ids: Image.fromarray(
        np.dstack([levels_of(ids), levels_of(ids)[..., 0]])
    ),
    "red": lambda ids: Image.fromarray(in_channel(ids, 0)),
    "red and alpha": lambda ids: Image.fromarray(in_channel(ids, 0, 4)),
    "blue": lambda ids: Image.fromarray(in_channel(ids, 2)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_all_ids_arrive_exactly_whatever_form_they_are_saved_in(tmp_path, form, suffix):
    if suffix == "webp" and (form in ("16 bits", "four channels") or "table" in form):
        pytest.skip("WebP has no such form, or drops colors where alpha is 0")
    path = tmp_path / f"a.{suffix}"
    FORMS[form](ALL).save(path, **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    assert np.array_equal(read_label_file(path, rules_of("grey_ids")).ids, ALL)


def test_one_bit_is_two_ids(tmp_path):
    Image.fromarray(ALL > 100).save(tmp_path / "a.png")
    reading = read_label_file(tmp_path / "a.png", rules_of("grey_ids"))
    assert np.array_equal(reading.ids, ALL > 100)


@pytest.mark.parametrize("color", [(7, 6, 7), (1, 0, 1), (0, 200, 201)])
def test_channels_that_differ_by_one_are_no_id(color):
    levels = np.array([[color, (9, 9, 9), (9, 9, 9)]], np.uint8)
    reading = read_levels(levels, "a", rules_of("grey_ids"))
    assert reading.ids.tolist() == [[-1, 9, 9]]
    assert reading.tally.unknown == 1 and reading.tally.colors == {color: 1}


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(PALETTES)),
    st.lists(st.integers(0, 255), min_size=1, max_size=6),
    st.booleans(),
)
def test_grey_pictures_are_colors_if_all_levels_are_else_ids_if_all_are(name, values, ids_here):
    """By the wording of the law, from the palette's own colors and ids."""
    rules = rules_of(name, grey_is_ids=ids_here)
    palette = rules.palette
    colors = {color: i for i, color in sorted(palette.colors.items(), reverse=True)}
    colors = (
        dict.fromkeys((*palette.void, *([] if palette.is_grey else [palette.unknown_color])), -1)
        | colors
    )
    shown = [(value,) * 3 for value in values]
    are_colors = not palette.is_grey and all(color in colors for color in shown)
    are_ids = all(palette.holds(value) or value in rules.ignore_ids for value in values)
    if not are_colors and not are_ids:
        return
    as_colors = [colors.get(color) for color in shown]
    both = are_colors and are_ids and as_colors != values
    reading = read_levels(np.array([shown], np.uint8), "a", rules)
    expected = as_colors if are_colors and not (both and ids_here) else values
    assert reading.ids[0].tolist() == expected
    assert (EITHER in reading.tally.notes) == both
    assert (IDS_IN_GREY in reading.tally.notes) == (not are_colors)


@pytest.mark.parametrize(
    ("name", "class_id"), [("ade20k", 1), ("cityscapes", 5), ("camvid", 0)], ids=lambda v: str(v)
)
def test_a_color_map_of_one_grey_class_is_that_class(name, class_id):
    levels = PALETTES[name].paint(torch.full((4, 4), class_id)).numpy()
    assert len(set(levels[0, 0].tolist())) == 1
    assert (read_levels(levels, "a", rules_of(name)).ids == class_id).all()


@pytest.mark.parametrize("name", ["camvid", "ade20k_base7"])
@pytest.mark.parametrize("form", ["grey and alpha", "three equal channels"])
def test_small_ids_do_not_pass_for_the_ignored_black(tmp_path, name, form):
    ids = np.array([[0, 1, 3], [8, 10, 4]])
    FORMS[form](ids).save(tmp_path / "a.png")
    assert np.array_equal(read_label_file(tmp_path / "a.png", rules_of(name)).ids, ids)


def write(folder, files):
    folder.mkdir()
    for name, levels in files.items():
        Image.fromarray(np.asarray(levels, np.uint8)).save(folder / f"{name}.png")
    return [(path.name, path) for path in sorted(folder.iterdir())]


BLACK = np.zeros((2, 2, 3))
IDS_ONLY = np.full((2, 2, 3), 3)
COLORED = np.full((2, 2, 3), (128, 64, 128))
SKY = np.full((2, 2, 3), 128)


@pytest.mark.parametrize(
    ("files", "class_id"),
    [
        ({"a": BLACK}, 11),
        ({"a": BLACK, "b": SKY}, 11),
        ({"a": BLACK, "b": IDS_ONLY}, 0),
        ({"a": BLACK, "b": IDS_ONLY, "c": COLORED}, 11),
        ({"a": BLACK, "b": np.full((2, 2), 3)}, 0),
    ],
    ids=["alone", "grey colors", "ids", "ids and colors", "ids of one channel"],
)
def test_of_a_grey_file_that_can_be_both_the_other_files_decide(tmp_path, files, class_id):
    """Black is CamVid's unlabelled, and level 0 its sky."""
    found = write(tmp_path / "maps", files)
    rules, tally = survey(found, rules_of("camvid"))
    reading = read_label_file(tmp_path / "maps" / "a.png", rules)
    assert (reading.ids == class_id).all() and reading.tally.notes == {EITHER: 1}
    assert tally.files == len(files) and tally.classes[class_id] >= 4


def test_the_one_colored_file_is_found_beyond_those_that_are_surveyed(tmp_path):
    files = {f"{i:02}": BLACK if i % 5 == 0 else IDS_ONLY for i in range(15)}
    found = write(tmp_path / "ids", files)
    assert survey(found, rules_of("camvid"), most=3)[0].grey_is_ids
    found = write(tmp_path / "colors", files | {"07": COLORED})
    assert not survey(found, rules_of("camvid"), most=3)[0].grey_is_ids
    # None of the surveyed can be both, but one of the others.
    files = {f"{i:02}": IDS_ONLY for i in range(15)} | {"01": BLACK}
    found = write(tmp_path / "one", files)
    assert survey(found, rules_of("camvid"), most=3)[0].grey_is_ids
    found = write(tmp_path / "late", files | {"07": COLORED})
    assert not survey(found, rules_of("camvid"), most=3)[0].grey_is_ids


def test_files_of_one_channel_settle_what_they_are_without_all_being_read(tmp_path):
    found = write(tmp_path / "maps", {f"{i:02}": np.full((2, 2), 3) for i in range(15)})
    (tmp_path / "maps" / "07.png").write_bytes(b"no picture")
    assert survey(found, rules_of("camvid"), most=3)[1].files == 3


@pytest.mark.parametrize("colors", [[(0, 0, 0)], [(0, 0, 0), (128, 0, 0)]])
@pytest.mark.parametrize(("other", "is_color"), [(None, True), (COLORED, True), (IDS_ONLY, False)])
def test_of_a_small_table_that_can_be_both_the_other_files_decide(
    tmp_path, colors, other, is_color
):
    """A color image made small may have a table that is also the start of PASCAL VOC's."""
    found = write(tmp_path / "maps", {} if other is None else {"b": other})
    path = tmp_path / "maps" / "a.png"
    values = np.arange(len(colors), dtype=np.uint8)[None]
    picture = Image.fromarray(values)
    picture.putpalette([level for color in colors for level in color])
    picture.save(path)
    rules, _ = survey([("a.png", path), *found], rules_of("camvid"))
    reading = read_label_file(path, rules)
    want = [[11, 1][: len(colors)]] if is_color else values.tolist()
    assert reading.ids.tolist() == want and reading.tally.notes == {EITHER: 1}


def test_a_survey_ends_at_the_first_fault_and_when_it_is_told_to(tmp_path):
    """Files that are read faster than they are waited for were once read to the last."""
    found = write(tmp_path / "ids", {f"{i:03}": BLACK for i in range(100)})
    looked = []
    survey(found, rules_of("camvid"), look=lambda: looked.append(1))
    assert len(looked) >= 100
    found.insert(2, ("none.png", tmp_path / "none.png"))
    looked.clear()
    with pytest.raises(PriorError, match=r"label map none\.png cannot be read.*; leave it out"):
        survey(found, rules_of("camvid"), look=lambda: looked.append(1), hint="; leave it out")
    assert len(looked) < 50
    assert survey(found, rules_of("camvid"), skip_errors=True)[1].files == 100


def test_images_of_a_batch_decide_for_each_other():
    batch = torch.from_numpy(np.stack([BLACK, IDS_ONLY])).float() / 255
    assert read_label_images(batch, rules_of("camvid"), "it").ids[0].tolist() == [[0, 0], [0, 0]]
    batch = torch.from_numpy(np.stack([BLACK, IDS_ONLY, COLORED])).float() / 255
    assert read_label_images(batch, rules_of("camvid"), "it").ids[0].tolist() == [[11, 11]] * 2


def test_frames_of_a_file_decide_for_each_other(tmp_path):
    """In ade20k grey of level 120 is wall as a color, and another class as an id."""
    path, rules = tmp_path / "frames.png", rules_of("ade20k")
    frames = [np.full((4, 6, 3), level, np.uint8) for level in (120, 7, 120)]
    path.write_bytes(animated_png(frames))
    assert read_label_frames(path, rules).ids[:, 0, 0].tolist() == [120, 7, 120]
    path.write_bytes(animated_png([frames[0], rules.palette.paint(torch.full((4, 6), 7)).numpy()]))
    assert read_label_frames(path, rules).ids[:, 0, 0].tolist() == [1, 7]


def test_frames_that_are_turned_differently_are_refused(tmp_path):
    """EXIF data behind the last frame are read with that one."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = exif.tobytes()[6:]
    chunk = b"eXIf" + data
    chunk = struct.pack(">I", len(data)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    file = animated_png([np.zeros((4, 6, 3), np.uint8)] * 2)
    (tmp_path / "turned.png").write_bytes(file[:-12] + chunk + file[-12:])
    with pytest.raises(PriorError, match=r"turned\.png holds pictures that its EXIF data turn"):
        read_label_frames(tmp_path / "turned.png", rules_of("camvid"))


def test_a_file_of_one_picture_is_a_batch_of_one(tmp_path):
    tabled(ALL, bit_color).save(tmp_path / "one.png")
    reading = read_label_frames(tmp_path / "one.png", rules_of("grey_ids"))
    assert torch.equal(reading.ids, torch.from_numpy(ALL)[None])
    with pytest.raises(PriorError, match=r"label map gone\.png cannot be read"):
        read_label_frames(tmp_path / "gone.png", rules_of("grey_ids"))


def test_a_color_image_with_a_table_may_hold_colors_that_the_palette_lacks(tmp_path):
    colors = [*CAMVID.colors.values(), (1, 250, 3)]
    picture = Image.new("P", (13, 1))
    picture.putdata(range(13))
    picture.putpalette([level for color in colors for level in color])
    picture.save(tmp_path / "a.png")
    reading = read_label_file(tmp_path / "a.png", rules_of("camvid"))
    assert reading.ids.tolist() == [[*range(12), -1]] and reading.tally.unknown == 1


def test_a_table_of_the_datasets_own_colors_shows_ids(tmp_path):
    """Where two classes share a color, only the values tell them apart."""
    vistas = PALETTES["mapillary_vistas"]
    ids = np.array([sorted(vistas.colors)])
    tabled(ids, lambda i: vistas.colors.get(i, (0, 0, 0))).save(tmp_path / "a.png")
    assert np.array_equal(
        read_label_file(tmp_path / "a.png", rules_of("mapillary_vistas")).ids, ids
    )


@pytest.mark.parametrize("name", ["grey_ids", "cityscapes"])
def test_grey_that_was_made_smaller_keeps_its_numbers(tmp_path, name):
    """Programs that do so write the levels that occur as a table in an order of its own."""
    ids = np.array([[7, 0, 18, 18, 3, 7]])
    for levels in ([18, 7, 0, 3], [0, 3, 7, 18]):
        picture = Image.fromarray(np.vectorize(levels.index)(ids).astype(np.uint8))
        picture.putpalette([level for level in levels for _ in range(3)])
        picture.save(tmp_path / "a.png")
        for id_map, want in ((None, ids), ({7: 2}, np.where(ids == 7, 2, ids))):
            reading = read_label_file(tmp_path / "a.png", rules_of(name, id_map=id_map))
            assert np.array_equal(reading.ids, want)


@pytest.mark.parametrize("levels", [[0, 1], [0, 85, 170, 255], [0, 20, 40, 60], [0, 255], [0] * 4])
def test_numbers_that_greys_make_visible_are_ids(tmp_path, levels):
    ids = np.arange(len(levels))[None]
    picture = Image.fromarray(ids.astype(np.uint8))
    picture.putpalette([level for level in levels for _ in range(3)])
    picture.save(tmp_path / "a.png")
    assert np.array_equal(read_label_file(tmp_path / "a.png", rules_of("grey_ids")).ids, ids)


def scene() -> np.ndarray:
    """Ids of CamVid with borders at every angle."""
    picture = Image.new("L", (96, 64), 0)
    draw = ImageDraw.Draw(picture)
    draw.polygon([(0, 64), (40, 20), (96, 64)], 3)
    draw.ellipse((50, 30, 80, 60), 8)
    return np.array(picture)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("jpg", {"quality": 95}), ("webp", {"quality": 80}), ("tif", {"compression": "jpeg"})],
)
def test_lossy_ids_are_refused_and_lossy_colors_matched_with_a_word(tmp_path, suffix, options):
    path = tmp_path / f"a.{suffix}"
    for form in ("grey", "three equal channels"):
        FORMS[form](scene()).save(path, **options)
        with pytest.raises(PriorError, match=rf"a\.{suffix} is a lossy picture.*save .* as PNG"):
            read_label_file(path, rules_of("grey_ids"))
    Image.fromarray(CAMVID.paint(torch.from_numpy(scene())).numpy()).save(path, **options)
    reading = read_label_file(path, rules_of("camvid"))
    assert (reading.ids.numpy() == scene()).mean() > 0.95
    assert set(reading.ids.unique().tolist()) - {-1} <= set(CAMVID.colors)
    assert reading.tally.notes == {LOSSY: 1}
    assert "lossy label maps" in dict(findings(reading.tally, CAMVID))


def test_a_lossless_webp_is_not_lossy(tmp_path):
    for options in ({"lossless": True}, {"lossless": True, "exif": b"Exif\0\0"}):
        Image.fromarray(levels_of(ALL)).save(tmp_path / "a.webp", **options)
        reading = read_label_file(tmp_path / "a.webp", rules_of("grey_ids"))
        assert not reading.tally.notes[LOSSY] and np.array_equal(reading.ids, ALL)


@pytest.mark.parametrize("name", ["cityscapes", "bdd100k"])
def test_label_ids_are_told_from_train_ids_by_their_numbers(tmp_path, name):
    Image.fromarray(np.array([[7, 26, 33]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(PriorError, match="--id-map cityscapes_labelids_to_trainids") as refused:
        read_label_file(tmp_path / "a.png", rules_of(name))
    assert "ignore" not in str(refused.value)


@pytest.mark.parametrize("channels", [levels_of, lambda ids: in_channel(ids, 0)])
def test_ids_in_three_channels_that_the_palette_lacks_are_told_as_ids(channels):
    for name, renamed in (("cityscapes", True), ("camvid", False)):
        with pytest.raises(
            PriorError, match=r"could be class ids of .*cityscapes_label_ids"
        ) as said:
            read_levels(channels(np.array([[7, 26, 33, 24]])), "a", rules_of(name))
        assert ("--id-map cityscapes_labelids_to_trainids" in str(said.value)) == renamed


def test_label_ids_are_told_from_train_ids_by_their_names(tmp_path):
    for ending, wrong, right in (
        ("_gtFine_labelIds", "cityscapes", "cityscapes_label_ids"),
        ("_gtFine_labelTrainIds", "cityscapes_label_ids", "cityscapes"),
    ):
        path = tmp_path / f"bonn_0{ending}.png"
        Image.fromarray(np.array([[7, 11]], np.uint8)).save(path)
        with pytest.raises(PriorError, match=f"choose palette {right}"):
            read_label_file(path, rules_of(wrong))
        assert read_label_file(path, rules_of(right)).ids.tolist() == [[7, 11]]
        assert read_label_file(path, rules_of(wrong, id_map={7: 0})).ids.tolist() == [[0, 11]]


def test_a_map_of_ids_is_not_for_colors():
    with pytest.raises(PriorError, match="holds colors, but an id map was given"):
        read_levels(COLORED.astype(np.uint8), "a", rules_of("camvid", id_map={1: 2}))


@pytest.mark.parametrize(
    ("size", "image", "says"),
    [
        ((100, 50), (200, 100), None),
        ((100, 50), (200, 102), None),
        ((125, 42), (1000, 333), None),
        ((31, 15), (1000, 500), None),
        ((50, 100), (200, 100), "turned by 90 degrees"),
        ((100, 60), (200, 100), "not of one shape"),
        ((100, 100), (200, 100), "not of one shape"),
    ],
)
def test_a_label_of_another_shape_is_refused_not_stretched(tmp_path, size, image, says):
    for side, pixels in (("images", image), ("labels", size)):
        (tmp_path / side).mkdir()
        Image.new("L" if side == "labels" else "RGB", pixels).save(tmp_path / side / "a.png")
    pairs, _ = find_pairs(tmp_path / "images", tmp_path / "labels")
    dataset = PairDataset(pairs, (64, 32), "grey_ids")
    assert differs(size, image) == bool(says)
    if says:
        with pytest.raises(PriorError, match=rf"label map a\.png has .*{says}"):
            dataset[0]
    else:
        assert dataset[0].labels.shape == size[::-1]


def painted(palette: Palette, shares: dict[int, int]) -> np.ndarray:
    """A color image of so many pixels of each id in a row."""
    ids = torch.tensor([[i for i, n in shares.items() for _ in range(n)]])
    return palette.paint(ids).numpy()


def test_black_does_not_hide_that_all_else_is_unknown():
    """78% black with two colors of one's own were once a prior of one class."""
    levels = np.zeros((1, 100, 3), np.uint8)
    levels[0, :12], levels[0, 12:22] = (1, 254, 250), (250, 1, 120)
    for name in ("cityscapes", "ade20k", "camvid", "coco_stuff"):
        with pytest.raises(PriorError, match=r"22\.0% of its pixels.*\(1, 254, 250\) 12\.0%"):
            read_levels(levels, "a", rules_of(name))


def test_a_white_foreground_that_the_palette_lacks_is_unknown_not_unlabelled():
    palette = Palette("mask", {0: (0, 0, 0), 1: (128, 0, 0)})
    levels = levels_of(np.array([[0] * 60 + [255] * 40]))
    tally = read_levels(levels, "a", LabelRules(palette)).tally
    assert (tally.classes, tally.unknown, tally.void) == ({0: 60}, 40, 0)
    assert [kind for kind, _ in findings(tally, palette)] == ["unknown colors"]


def test_half_zero_ids_in_three_channels_are_classes():
    """Once a prior of no classes."""
    ids = np.array([[0, 0, 0, 4, 7, 130]])
    reading = read_levels(levels_of(ids), "a", rules_of("ade20k"))
    assert np.array_equal(reading.ids, ids) and reading.tally.labelled((0,)) == 0.5


def test_the_32_colors_of_camvid_are_named_when_eleven_are_asked_for():
    old = PALETTES["camvid32"]
    common = [i for i, color in old.colors.items() if color in set(CAMVID.colors.values())]
    others = [i for i in old.colors if i not in common]
    levels = painted(old, dict.fromkeys(common, 10) | dict.fromkeys(others[:8], 3))
    reading = read_levels(levels, "a", rules_of("camvid"))
    ((kind, text), *_) = findings(reading.tally, CAMVID)
    assert kind == "unknown colors" and "camvid32 has 100% of them" in text
    assert f"{24 / levels.shape[1]:.1%} of the label pixels" in text


def test_below_one_percent_nothing_is_said():
    tally = LabelTally(1, 1000, unknown=9, colors=Counter({(1, 2, 3): 9}))
    assert findings(tally, CAMVID) == []
    tally = LabelTally(1, 1000, unknown=11, colors=Counter({(1, 2, 3): 11}))
    assert findings(tally, CAMVID)[0][0] == "unknown colors"


@pytest.mark.parametrize("values", [[0, 255], [0, 0, 0, 3, 255, 255, 255]])
def test_a_mask_that_loses_its_foreground_to_the_ignored_is_told_of(values):
    reading = read_levels(levels_of(np.array([values])), "a", rules_of("grey_ids"))
    (_, (kind, text)) = sorted(
        findings(reading.tally, PALETTES["grey_ids"], (255,), "--ignore-ids")
    )
    assert kind == "ignored labels" and "--ignore-ids" in text and "(255)" in text


def test_colors_that_are_only_near_are_counted():
    levels = painted(CAMVID, {3: 97, 8: 3})
    levels[0, 97:] += 1
    reading = read_levels(levels, "a", rules_of("camvid"))
    assert reading.tally.classes == {3: 97, 8: 3} and reading.tally.near == 3
    assert [kind for kind, _ in findings(reading.tally, CAMVID)] == ["inexact colors"]


def test_labels_without_any_class_are_refused():
    tally = LabelTally.of_ids(torch.tensor([255, -1]))
    with pytest.raises(
        PriorError, match=r"50\.0% say no class, 50\.0% are of the ignored class 255"
    ):
        check_any_class(tally, PALETTES["grey_ids"], (255,), "--ignore-ids")
    check_any_class(tally, PALETTES["grey_ids"], (), "--ignore-ids")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_levels_that_a_host_shifts_are_mended_and_told_of(dtype):
    """Newer hosts give id/256 where id/255 is meant."""
    image = torch.arange(256).view(1, 16, 16, 1).expand(-1, -1, -1, 3) / 256
    reading = read_label_images(image.to(dtype), rules_of("grey_ids"), "the label image")
    assert np.array_equal(reading.ids[0], ALL) and reading.tally.notes[SHIFTED] == 1
    exact = torch.arange(256).view(1, 16, 16, 1).expand(-1, -1, -1, 3) / 255
    reading = read_label_images(exact.to(dtype), rules_of("grey_ids"), "the label image")
    assert np.array_equal(reading.ids[0], ALL) and not reading.tally.notes[SHIFTED]


def test_ids_in_one_channel_are_told_of(tmp_path):
    reading = read_levels(in_channel(np.array([[4, 7, 0]]), 0), "a", rules_of("cityscapes"))
    assert reading.ids.tolist() == [[4, 7, 0]] and reading.tally.notes == {IDS_IN_CHANNEL: 1}


@pytest.mark.parametrize(("name", "reason"), [("cityscapes", True), ("grey_ids", False)])
def test_why_grey_is_ids_is_said_of_palettes_with_colors(name, reason):
    tally = read_levels(levels_of(np.array([[4, 7, 0]])), "a", rules_of(name)).tally
    ((_, text),) = findings(tally, PALETTES[name])
    assert "read as class ids" in text and ("colors of palette" in text) == reason


def test_tallies_add_up_and_survive_json():
    first = read_levels(painted(CAMVID, {3: 5, 11: 2}), "a", rules_of("camvid")).tally
    second = replace(first, colors=Counter({(9, 9, 9): 4}), unknown=4, pixels=11)
    both = first + second
    assert (both.files, both.pixels, both.classes[3], both.unknown) == (2, 18, 10, 4)
    assert LabelTally.from_json(json.loads(json.dumps(both.to_json()))) == both
