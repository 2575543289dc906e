"""Laws of id maps: one meaning in every form that they are written in."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from prior_tools import PriorError, find_dataset
from prior_tools.labels.id_maps import ID_MAPS, get_id_map
from prior_tools.labels.ids import MAX_CLASS_ID

MAPS = st.dictionaries(
    st.integers(0, MAX_CLASS_ID), st.integers(-1, MAX_CLASS_ID), min_size=1, max_size=20
)


@given(MAPS)
def test_a_map_is_the_same_in_every_form(tmp_path_factory, id_map):
    folder = tmp_path_factory.mktemp("maps")
    forms = {
        "lines.txt": "\n".join(f"{old} {new}" for old, new in id_map.items()),
        "tabs.tsv": "# from\tto\n" + "\n".join(f"{old}\t{new}" for old, new in id_map.items()),
        "arrows.txt": "\r\n".join(f"{old} -> {new}  # why" for old, new in id_map.items()),
        "entries.txt": ", ".join(f"{old}={new}" for old, new in id_map.items()),
        "spaced.txt": "\n\n".join(f"{old} = {new}," for old, new in id_map.items()),
        "table.csv": "id,trainId\n" + "\n".join(f"{old},{new}" for old, new in id_map.items()),
        "semicolons.csv": "\n".join(f"{old}; {new}" for old, new in id_map.items()),
        "object.json": json.dumps(id_map),
        "pairs.json": json.dumps(list(id_map.items())),
        "object named otherwise": " \n" + json.dumps(id_map),
    }
    for name, text in forms.items():
        for data in (text.encode(), b"\xef\xbb\xbf" + text.encode()):
            (folder / name).write_bytes(data)
            assert get_id_map(str(folder / name)) == id_map, name
    assert get_id_map(forms["entries.txt"]) == id_map


def test_ranges_are_shifted_in_every_form(tmp_path):
    want = {0: -1} | {i: i - 1 for i in range(1, 151)}
    forms = ("0=-1,1-150=0", "0 -1\n1-150 0", "0,-1\n1-150,0", '{"0": -1, "1-150": 0}')
    for text in forms:
        (tmp_path / "map").write_text(text)
        assert get_id_map(str(tmp_path / "map")) == want


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "map.txt holds no entries"),
        ("{}", "map.txt holds no entries"),
        ("0 1\n\n# x\n0 2", r"map.txt, line 4 names class id 0 twice"),
        ('{"0": 1, "0": 2}', "'0' twice"),
        ('{"0-3": 1, "2": 2}', "names class id 2 twice"),
        ("0 1\nroad 3", "line 2 holds 'road'"),
        ("id,train\nid,train", "line 2 holds 'id'"),
        ("0 1 2", "line 1 holds '0'"),
        ("3-1 0", "line 1 holds '3-1=0', a range that ends before it starts"),
        ("0 65536", "line 1 names class id 65536"),
        ("-2 0", "line 1 holds '-2=0'"),
        ("0 -2", "line 1 holds '0=-2'"),
        ('{"0": 1.0}', "it holds '0': 1.0"),
        ('{"0": true}', "it holds '0': True"),
        ('{"0": "1"}', "it holds '0': '1'"),
        ("[0, 1]", "it holds 0"),
        ('{"0": 1', "no JSON of ids"),
        ("[" * 5000, "nested too deeply"),
    ],
)
def test_what_is_no_map_is_refused_with_its_place(tmp_path, text, says):
    path = tmp_path / "map.txt"
    path.write_text(text)
    with pytest.raises(PriorError, match=says) as told:
        get_id_map(str(path))
    assert "--id-map" in str(told.value)


def test_what_is_neither_map_nor_file_lists_the_names():
    with pytest.raises(PriorError, match=r"--id-map is 'shifted_by_two'.*shifted_down_by_one"):
        get_id_map("shifted_by_two")
    with pytest.raises(PriorError, match="--map is"):
        get_id_map("a\0b", "--map")


def test_a_book_is_no_map(tmp_path):
    path = tmp_path / "map.txt"
    path.write_bytes(b"0 1\n" * 1_000_001)
    with pytest.raises(PriorError, match="more than 4 MB"):
        get_id_map(str(path))


def test_the_shifts_undo_each_other_and_keep_the_ignored():
    down, up = ID_MAPS["shifted_down_by_one"], ID_MAPS["shifted_up_by_one"]
    assert down[0] == -1 and 255 not in down and up[255] == 0
    assert all(down[up[i]] == i and up[down[i + 1]] == i + 1 for i in range(254))


def test_names_of_maps_are_those_of_the_datasets():
    trained = get_id_map("cityscapes_labelids_to_trainids")
    assert trained[7] == 0 and trained[33] == 18 and trained[18] == 255 and 34 not in trained


def test_pairs_are_read_through_the_map(tmp_path):
    ids = np.array([[0, 7], [33, 26]], np.uint8)
    for folder, pixels in (("images", np.zeros((2, 2, 3), np.uint8)), ("labels", ids)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    layout = find_dataset("pairs", tmp_path, "").with_palette("cityscapes")
    layout = layout.with_id_map(get_id_map("cityscapes_labelids_to_trainids"))
    assert layout.dataset((2, 2))[0].labels.tolist() == [[255, 0], [18, 13]]
