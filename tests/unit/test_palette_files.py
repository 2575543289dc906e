"""Laws of palette files: read as their tool means them, or refused with the place."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from prior_tools import PALETTES, PriorError, decode_label_image, load_palette
from prior_tools.cli import main
from prior_tools.cli.palettes import read_palette
from prior_tools.datasets.label_files import read_label_file
from prior_tools.labels.palette_colors import bit_color
from prior_tools.labels.palette_files import palette_text, read_palette_file
from prior_tools.labels.palette_formats import Row
from prior_tools.labels.reading import LabelRules

OURS = {
    "name": "yard",
    "classes": [
        {"id": 0, "name": "ground", "color": [0, 0, 0]},
        {"id": 2, "name": "Roof", "color": "#FF0010"},
        {"id": 255, "name": "unsure", "ignored": True},
    ],
    "void": [[9, 9, 9]],
}
CVAT = """# label:color_rgb:parts:actions
background:0,0,0::
car:61,61,245::
road: left:128, 64, 128::
sky:::
"""
ROBOFLOW = "Pixel Value, Class\n0, background\n1, car\n300, a, b\n"
MAPILLARY = {
    "version": 1.2,
    "folder_structure": "{split}/labels/{image_id:s}.png",
    "mapping": "public",
    "labels": [
        {
            "color": [165, 42, 42],
            "instances": True,
            "readable": "Bird",
            "name": "animal--bird",
            "evaluate": True,
        },
        {
            "color": [0, 0, 0],
            "instances": False,
            "readable": "Unlabeled",
            "name": "void--unlabeled",
            "evaluate": False,
        },
    ],
}
COCO = [
    {"supercategory": "person", "color": [220, 20, 60], "isthing": 1, "id": 1, "name": "person"},
    {"supercategory": "wall", "color": [102, 102, 156], "isthing": 0, "id": 199, "name": "wall"},
]


def read(tmp_path, data, name="palette"):
    path = tmp_path / name
    path.write_bytes((data if isinstance(data, str) else json.dumps(data)).encode())
    return load_palette(path)


def test_ones_own_json(tmp_path):
    palette = read(tmp_path, OURS, "file.json")
    assert palette.name == "yard" and palette.names == {0: "ground", 2: "Roof", 255: "unsure"}
    assert palette.colors == {0: (0, 0, 0), 2: (255, 0, 16)}
    assert palette.ignore_ids == (255,) and palette.void == ((9, 9, 9),)
    assert palette.paint(torch.tensor([-1, 255, 2])).tolist() == [[9] * 3, [9] * 3, [255, 0, 16]]
    assert read(tmp_path, {"classes": OURS["classes"]}, "file.json").name == "file"


def test_cvats_labels_are_numbered_by_their_lines(tmp_path):
    for data in (CVAT, "\ufeff" + CVAT.replace("\n", "\r\n")):
        palette = read(tmp_path, data, "labelmap.txt")
        assert palette.names == {0: "background", 1: "car", 2: "road: left", 3: "sky"}
        colors = {0: (0, 0, 0), 1: (61, 61, 245), 2: (128, 64, 128), 3: bit_color(3)}
        assert palette.colors == colors and palette.ignore_ids == ()


def test_roboflows_values_get_colors_of_their_own(tmp_path):
    palette = read(tmp_path, ROBOFLOW, "_classes.csv")
    assert palette.names == {0: "background", 1: "car", 300: "a, b"}
    assert palette.colors[0] == (0, 0, 0) and palette.colors[1] == bit_color(1)
    assert len(set(palette.colors.values())) == 3


def test_mapillarys_labels_are_ids_and_those_that_are_not_evaluated_are_ignored(tmp_path):
    palette = read(tmp_path, MAPILLARY, "config_v1.2.json")
    assert palette.names == {0: "Bird", 1: "Unlabeled"} and palette.ignore_ids == (1,)
    assert palette.colors == {0: (165, 42, 42), 1: (0, 0, 0)}


def test_cocos_categories_alone_and_in_a_file_of_annotations(tmp_path):
    for data in (COCO, {"images": [], "annotations": [], "categories": COCO}):
        palette = read(tmp_path, data)
        assert palette.names == {1: "person", 199: "wall"}
        assert palette.colors == {1: (220, 20, 60), 199: (102, 102, 156)}


def test_a_built_in_palette_in_the_form_of_each_tool_is_the_same(tmp_path):
    vistas = PALETTES["mapillary_vistas"]
    rows = [(i, vistas.names[i], vistas.colors[i]) for i in sorted(vistas.colors)]
    config = [
        {"readable": name, "color": list(color), "evaluate": i != 65} for i, name, color in rows
    ]
    assert read(tmp_path, {"labels": config}, "mapillary_vistas.json") == vistas
    voc = PALETTES["pascal_voc"]
    lines = [f"{voc.names[i]}:{','.join(map(str, voc.colors[i]))}::" for i in range(21)]
    found = read(tmp_path, "\n".join(lines), "pascal_voc.txt")
    assert (found.colors, found.names) == (voc.colors, voc.names)


@pytest.mark.parametrize("name", ["x.json", "labelmap.txt", "_classes.csv", "none"])
@pytest.mark.parametrize("data", [OURS, CVAT, ROBOFLOW, MAPILLARY, COCO])
def test_a_file_is_what_it_holds_whatever_its_name(tmp_path, data, name):
    assert read(tmp_path, data, name).names == read(tmp_path, data).names


def test_classes_of_one_color_are_read_as_the_first_and_said(tmp_path):
    path = tmp_path / "twins.txt"
    path.write_text("a:1,2,3::\nb:9,9,9::\nc:1,2,3::\n")
    palette, (note,) = read_palette_file(path)
    assert decode_label_image(torch.tensor([[[1, 2, 3]]]), palette)[0].item() == 0
    assert palette.colors[2] != (1, 2, 3)
    assert "classes 0 a and 2 c have one color, (1, 2, 3)" in note
    assert str(palette.colors[2]) in note


NAMES = st.text(st.characters(exclude_categories=["C"]), max_size=9)
ROWS = st.lists(
    st.builds(
        Row,
        st.just(""),
        st.integers(0, 65535),
        NAMES,
        st.none() | st.tuples(*[st.integers(0, 255)] * 3),
        st.booleans(),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda row: row.class_id,
)


@given(ROWS.filter(lambda rows: not all(row.ignored for row in rows)), NAMES)
def test_what_is_written_is_read(tmp_path_factory, rows, name):
    path = tmp_path_factory.getbasetemp() / "written.json"
    path.write_text(palette_text(name, rows), encoding="utf-8")
    palette = load_palette(path)
    assert palette.name == (name or "written")
    assert palette.names == {row.class_id: row.name for row in rows if row.name}
    assert set(palette.ignore_ids) == {row.class_id for row in rows if row.ignored}
    for row in rows:
        theirs = [r.class_id for r in rows if r.color == row.color and not r.ignored]
        if row.color and (not theirs or row.class_id == min(theirs)):
            assert palette.colors[row.class_id] == row.color


def classes(*entries):
    return {"classes": list(entries)}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "not one that can be read; expected JSON such as"),
        ("road\nsky\n", "not one that can be read; expected JSON such as"),
        ({"a": 1}, "not one that can be read; expected JSON such as"),
        ("[]", "not one that can be read"),
        ("{", "palette file p: "),
        ("[" * 9999, "nested too deeply"),
        ("Pixel Value, Class\n", "holds no classes"),
        (classes(), "holds no classes"),
        ("Pixel Value, Class\n0, a\nb, 1\n", r"line 3 is 'b, 1', expected ID, NAME"),
        ("Pixel Value, Class\n0, a\n0, b\n", r"line 3 has the id 0, as line 2 has"),
        ("Pixel Value, Class\n70000, a\n", r"line 2 has the id 70000, expected 0\.\.65535"),
        ("a:1,2,3::\nb\n", r"line 2 is 'b', expected NAME:R,G,B:PARTS:ACTIONS"),
        ("a:1,2,3::\nb:1,2::\n", r"line 2 is 'b:1,2::'"),
        ("a:1,2,3::\n\na:4,5,6::\n", r"line 3 names 'a' again, as line 1 does"),
        ("a:1,2,256::\n", r"the color of line 1 is \[1, 2, 256\]"),
        ("a:1,2," + "9" * 5000 + "::\n", r"the color of line 1 is \[1, 2, 999999999\]"),
        ('{"classes": [], "classes": []}', "'classes' twice"),
        (classes({"name": "a"}), r"classes\[0\] has no id"),
        (classes({"id": 1.0}), r"the id of classes\[0\] is 1.0"),
        (classes({"id": True}), r"the id of classes\[0\] is True"),
        (classes({"id": -1}), r"the id of classes\[0\] is -1"),
        (classes({"id": 1}, {"id": 1}), r"classes\[1\] has the id 1, as classes\[0\] has"),
        (
            classes({"id": 1, "colour": [1, 2, 3]}),
            r"classes\[0\] holds 'colour', expected id, name",
        ),
        ({**classes({"id": 1}), "ignore": [1]}, "the palette holds 'ignore', expected name"),
        (classes({"id": 1, "color": [1, 2]}), r"the color of classes\[0\] is \[1, 2\]"),
        (classes({"id": 1, "color": [1, 2, 0.5]}), r"the color of classes\[0\]"),
        (classes({"id": 1, "color": "#12345"}), r"the color of classes\[0\] is '#12345'"),
        (classes({"id": 1, "name": 7}), r"the name of classes\[0\] is 7"),
        (classes({"id": 1, "ignored": 1}), r"ignored of classes\[0\] is 1"),
        (classes({"id": 1, "ignored": True}), "all of its classes are ignored"),
        (classes(7), r"classes\[0\] is 7, expected a table"),
        ({"classes": 7}, "classes is 7, expected a list"),
        ({**classes({"id": 1}), "void": 7}, "void is 7, expected a list"),
        ({**classes({"id": 1}), "void": [[0, 0]]}, r"the color of void\[0\] is \[0, 0\]"),
        (
            {**classes({"id": 1, "color": [7, 7, 7]}), "void": [[7, 7, 7]]},
            "class 1 of palette 'p' has the color .7, 7, 7., which is also a void one",
        ),
        (classes(*({"id": i} for i in range(4097))), "holds 4097 classes; expected at most 4096"),
        ({"labels": [{"readable": "a", "color": "red"}]}, r"the color of labels\[0\] is 'red'"),
        ([{"name": "a"}], "category 0 has no id"),
        ("#" * 4_000_001, "more than 4 MB"),
        ("Pixel Value, Class\n0, \udce4\n", "not text in UTF-8"),
    ],
)
def test_what_is_no_palette_is_refused_with_its_place(tmp_path, data, says):
    text = data if isinstance(data, str) else json.dumps(data)
    (tmp_path / "p").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(PriorError, match=says) as told:
        load_palette(tmp_path / "p")
    assert "palette" in str(told.value) and len(str(told.value)) < 500


def test_an_option_takes_a_name_or_a_file(tmp_path, capsys):
    assert read_palette("camvid") is PALETTES["camvid"]
    path = tmp_path / "mine.txt"
    path.write_text("a:1,2,3::\nb:1,2,3::\n")
    assert read_palette(str(path)).name == "mine"
    assert "warning: --palette mine.txt: classes 0 a and 1 b" in capsys.readouterr().err
    for wrong in ("camvit", "a\0b", str(tmp_path), "x" * 5000):
        with pytest.raises(PriorError, match="expected a palette file or one of ade20k"):
            read_palette(wrong)


# the command that finds the palette of a folder


def save(path, values, mode=None):
    path.parent.mkdir(exist_ok=True)
    picture = Image.fromarray(np.asarray(values))
    (picture if mode is None else picture.convert(mode)).save(path)


def listed(path):
    return {entry["id"]: entry for entry in json.loads(path.read_text())["classes"]}


def test_colors_of_a_folder_become_a_palette_that_reads_it(tmp_path, capsys):
    labels, out = tmp_path / "yard", tmp_path / "yard.json"
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:3], pixels[3:5, :5] = (200, 0, 0), (0, 0, 90)
    save(labels / "a.png", pixels)
    save(labels / "b.png", np.zeros((10, 10), np.uint8), "RGB")
    assert main(["palette", str(labels), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "2 label files hold colors" in printed
    lines = [line.split() for line in printed.splitlines()]
    assert [line for line in lines if len(line) == 3 and line[1].startswith("#")] == [
        ["0", "#000000", "80.00%"],
        ["1", "#c80000", "15.00%"],
        ["2", "#00005a", "5.00%"],
    ]
    palette = load_palette(out)
    assert palette.name == "yard" and palette.names == {i: f"class {i}" for i in range(3)}
    ids, unmatched = decode_label_image(pixels, palette)
    assert unmatched == 0 and ids.unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("form", ["L", "RGB", "RGBA", "LA", "P", "voc", "16 bit", "1"])
def test_ids_of_a_folder_keep_their_numbers(tmp_path, capsys, form):
    values = np.array([[0, 1, 1, 1]] if form == "1" else [[7, 7, 7, 3], [255, 7, 3, 7]], np.uint8)
    path, out = tmp_path / "labels" / "a.png", tmp_path / "ids.json"
    path.parent.mkdir()
    picture = Image.fromarray(values)
    if form == "voc":
        picture.putpalette([level for i in range(256) for level in bit_color(i)])
    elif form == "P":
        picture.putpalette([level for i in range(256) for level in (i, i, i)])
    elif form == "16 bit":
        picture = Image.fromarray(values.astype(np.uint16) * 257)
    elif form == "1":
        picture = Image.fromarray(values.astype(bool))
    else:
        picture = picture.convert(form)
    picture.save(path)
    assert main(["palette", str(path.parent), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "1 label file holds ids" in printed
    scale = 257 if form == "16 bit" else 1
    assert list(listed(out)) == ([1, 0] if form == "1" else [7 * scale, 3 * scale, 255 * scale])
    ignored = [i for i, entry in listed(out).items() if entry["ignored"]]
    assert ignored == ([] if form in ("1", "16 bit") else [255])
    assert ("255 is ignored" in printed) == bool(ignored)


def test_of_two_values_255_is_no_ignored_one(tmp_path, capsys):
    save(tmp_path / "labels" / "a.png", np.array([[0, 255]], np.uint8))
    out = tmp_path / "masks.json"
    assert main(["palette", str(tmp_path / "labels"), "--out", str(out)]) == 0
    assert not any(entry["ignored"] for entry in listed(out).values())


def test_a_known_dataset_is_recognised(tmp_path, capsys):
    labels = tmp_path / "labels"
    save(labels / "a.png", PALETTES["camvid32"].paint(torch.arange(32)[None]).numpy())
    assert main(["palette", str(labels), "--out", str(tmp_path / "x.json")]) == 0
    assert "share of the pixels: camvid32 100.0%" in " ".join(capsys.readouterr().out.split())


def test_smooth_edges_are_told_and_cut_off(tmp_path, capsys):
    labels, out = tmp_path / "labels", tmp_path / "x.json"
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[20:] = (200, 30, 0)
    pixels[18:22, :, 2] = np.arange(160).reshape(4, 40)
    pixels[18:22, :, 1] = np.arange(160).reshape(4, 40) // 2
    pixels[0, :, 1], pixels[1, :, 2] = np.arange(40) + 100, np.arange(40) + 100
    pixels[2, :, 0], pixels[3, :, 0] = np.arange(40) + 100, np.arange(40) + 60
    save(labels / "a.png", pixels)
    assert main(["palette", str(labels), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "different colors; their edges may be smooth" in said and "(200, 30, 0) 45.0%" in said
    assert not out.exists()
    assert main(["palette", str(labels), "--out", str(out), "--most", "2"]) == 0
    assert [e["color"] for e in listed(out).values()] == [[200, 30, 0], [0, 0, 0]]
    assert "of the pixels are of values that are not in the file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--most", "0"], "--most is 0; expected a number of classes"),
        (["--limit", "-1"], "--limit is -1; expected a number of files"),
        ([], "hold 300 different ids; they may be numbers of instances"),
    ],
)
def test_what_is_no_folder_of_classes_ends_in_one_line(tmp_path, capsys, options, says):
    save(tmp_path / "labels" / "a.png", np.arange(300, dtype=np.uint16)[None])
    argv = ["palette", str(tmp_path / "labels"), "--out", str(tmp_path / "x.json"), *options]
    assert main(argv) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("form", ["L", "RGB", "red", "blue", "own table", "16 bit", "LA", "P"])
@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.integers(0, 255), min_size=1, max_size=12))
def test_the_palette_that_is_found_reads_the_folder_as_it_was_found(tmp_path_factory, form, values):
    """Whether its files hold ids or colors is one decision."""
    folder = tmp_path_factory.mktemp("found")
    plane = np.array([values], np.uint8)
    none = np.zeros_like(plane)
    picture = Image.fromarray(plane)
    if form in ("red", "blue"):
        channels = [plane, none, none] if form == "red" else [none, none, plane]
        picture = Image.fromarray(np.stack(channels, -1))
    elif form == "own table":
        picture.putpalette([x for i in range(256) for x in (i, 255 - i, i * 7 % 256)])
    elif form == "16 bit":
        picture = Image.fromarray(plane.astype(np.uint16) * 257)
    elif form == "P":
        picture.putpalette([x for i in range(256) for x in (i, i, i)])
    else:
        picture = picture.convert(form)
    path = folder / "labels" / "a.png"
    path.parent.mkdir()
    picture.save(path)
    assert main(["palette", str(path.parent), "--out", str(folder / "x.json")]) == 0
    palette = load_palette(folder / "x.json")
    reading = read_label_file(path, LabelRules(palette, palette.ignore_ids))
    assert reading.tally.unknown == 0
    ids = reading.ids[0].tolist()
    assert len(set(zip(ids, values, strict=True))) == len(set(ids)) == len(set(values))
    assert set(ids) == set(listed(folder / "x.json"))


@pytest.mark.parametrize(
    ("levels", "ids"),
    [
        ([0, 255], [0, 1]),
        ([0, 85, 170, 255], [0, 1, 2, 3]),
        ([7, 0, 2], [0, 2, 7]),
        ([0, 1], [0, 1]),
    ],
)
def test_ids_behind_tables_of_greys_are_those_that_a_build_reads(tmp_path, levels, ids):
    picture = Image.fromarray(np.arange(len(levels), dtype=np.uint8)[None])
    picture.putpalette([level for level in levels for _ in range(3)])
    (tmp_path / "labels").mkdir()
    picture.save(tmp_path / "labels/a.png")
    out = tmp_path / "x.json"
    assert main(["palette", str(tmp_path / "labels"), "--out", str(out)]) == 0
    palette = load_palette(out)
    assert sorted(palette.colors) == ids
    reading = read_label_file(tmp_path / "labels/a.png", LabelRules(palette, palette.ignore_ids))
    assert sorted(reading.tally.classes) == ids


@pytest.mark.parametrize("values", [[0, 255], [0, 7, 22]])
def test_ids_in_one_channel_keep_their_numbers_and_a_mask_its_colors(tmp_path, values):
    levels = np.zeros((1, len(values), 3), np.uint8)
    levels[..., 0] = values
    save(tmp_path / "labels/a.png", levels)
    assert main(["palette", str(tmp_path / "labels"), "--out", str(tmp_path / "x.json")]) == 0
    palette = load_palette(tmp_path / "x.json")
    ids = read_label_file(tmp_path / "labels/a.png", LabelRules(palette, palette.ignore_ids)).ids
    assert sorted(palette.colors) == sorted(ids[0].tolist()) == (values if 7 in values else [0, 1])


def test_a_black_picture_among_colored_ones_is_of_colors(tmp_path):
    for name, color in (("a", (0, 0, 0)), ("b", (9, 200, 7))):
        picture = Image.new("P", (4, 4))
        picture.putpalette(color)
        (tmp_path / "labels").mkdir(exist_ok=True)
        picture.save(tmp_path / "labels" / f"{name}.png")
    assert main(["palette", str(tmp_path / "labels"), "--out", str(tmp_path / "x.json")]) == 0
    assert set(load_palette(tmp_path / "x.json").colors.values()) == {(0, 0, 0), (9, 200, 7)}


@pytest.mark.parametrize("form", ["L", "RGB"])
def test_lossy_files_are_told_of(tmp_path, capsys, form):
    labels = tmp_path / "labels"
    labels.mkdir()
    flat = Image.new(form, (16, 16), 60 if form == "L" else (200, 0, 0))
    flat.save(labels / "a.jpg", quality=100)
    code = main(["palette", str(labels), "--out", str(tmp_path / "x.json")])
    said = capsys.readouterr().err
    assert code == (2 if form == "L" else 0) and "a.jpg is" in said and "as PNG" in said


@pytest.mark.parametrize("kind", ["mixed", "float", "photograph", "white is 0"])
def test_files_that_are_no_label_maps_are_named(tmp_path, capsys, kind):
    labels = tmp_path / "labels"
    if kind == "photograph":
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
        save(labels / "a.png", noise)
        says = "up to label map a.png the files hold more than 65536 different values"
    elif kind == "white is 0":
        labels.mkdir()
        Image.new("1", (8, 8), 1).save(labels / "a.tif", tiffinfo={262: 0})
        says = "label map a.tif cannot be read: it is grey of 2 or 4 bits, or with 0 for white"
    elif kind == "float":
        save(labels / "a.tif", np.array([[0.5, 1, np.nan, np.inf, -1]], np.float32))
        says = "label map a.tif holds -1, 0.5, inf, nan; expected class ids"
    else:
        save(labels / "a.png", np.array([[1, 2]], np.uint8))
        save(labels / "b.png", np.array([[[1, 2, 3]]], np.uint8))
        says = "label map a.png holds ids and b.png colors"
    assert main(["palette", str(labels), "--out", str(tmp_path / "x.json")]) == 2
    assert says in capsys.readouterr().err


def test_a_palette_file_is_not_replaced_unasked(tmp_path, capsys):
    save(tmp_path / "labels" / "a.png", np.array([[1, 2]], np.uint8))
    out = tmp_path / "x.json"
    out.write_text("mine")
    argv = ["palette", str(tmp_path / "labels"), "--out", str(out)]
    assert main(argv) == 2 and out.read_text() == "mine"
    assert main([*argv, "--overwrite"]) == 0 and load_palette(out).names[2] == "class 2"
