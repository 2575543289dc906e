"""Label images of one palette in another's colors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prior_tools import PALETTES, Palette, PriorError, decode_label_image
from prior_tools.labels.class_matching import (
    class_named,
    convert_label_image,
    matching_classes,
    parse_changes,
)
from prior_tools.labels.id_maps import CITYSCAPES_TRAIN_IDS

NAMED = [name for name, palette in PALETTES.items() if not palette.is_grey]
CITY, ADE, CAMVID, GREY = (PALETTES[n] for n in ("cityscapes", "ade20k", "camvid", "grey_ids"))


def names(source, target):
    found = matching_classes(source, target)
    return {source.names[a]: target.names[b] for a, b in found.items()}


@pytest.mark.parametrize("source", NAMED)
@pytest.mark.parametrize("target", NAMED)
def test_every_partner_is_a_class_of_the_target_and_equal_names_meet(source, target):
    source, target = PALETTES[source], PALETTES[target]
    there = {name: i for i, name in target.names.items()}
    for a, b in matching_classes(source, target).items():
        assert target.holds(b)
        assert source.names[a] not in there or there[source.names[a]] == b


def test_streets_find_their_partners():
    assert names(CITY, ADE) == {
        **{n: n for n in ("road", "sidewalk", "building", "wall", "fence", "pole", "sky")},
        **{n: n for n in ("traffic light", "person", "car", "truck", "bus", "bicycle")},
        "traffic sign": "signboard",
        "vegetation": "tree",
        "terrain": "grass",
        "rider": "person",
        "motorcycle": "minibike",
    }
    assert names(CAMVID, CITY) == {
        **{n: n for n in ("sky", "building", "pole", "road", "fence", "car")},
        "pavement": "sidewalk",
        "tree": "vegetation",
        "sign": "traffic sign",
        "pedestrian": "person",
        "bicyclist": "rider",
    }


def test_plain_ids_keep_their_number():
    assert matching_classes(GREY, CITY) == {i: i for i in CITY.colors}
    assert matching_classes(CITY, GREY) == {i: i for i in CITY.colors}


@given(st.lists(st.sampled_from(sorted(CITY.colors)), min_size=1, max_size=12))
def test_every_pixel_gets_its_partners_color_or_that_of_the_unknown(ids):
    labels = torch.tensor(ids)[None, None]
    image, found = convert_label_image(CITY.paint(labels).float() / 255, CITY, ADE)
    partners = matching_classes(CITY, ADE)
    decoded, _ = decode_label_image(image, ADE)
    for was, now in zip(ids, decoded[0, 0].tolist(), strict=True):
        if was in partners:
            assert now == partners[was] == found.classes[was]
        else:
            assert was in found.lost and now in (-1, *ADE.ignore_ids)
    assert found.lost_share == pytest.approx(sum(i not in partners for i in ids) / len(ids))


@pytest.mark.parametrize("target", PALETTES.values(), ids=lambda p: p.name)
def test_colors_of_no_class_are_counted_and_are_of_no_class_in_any_palette(target):
    """Black is the road of one palette and the background of another."""
    image = torch.tensor([[[[128, 64, 128], [1, 254, 3]]]]) / 255
    converted, found = convert_label_image(image, CITY, target, {0: None})
    assert found.tally.share(found.tally.unknown) == 0.5 and found.lost == (0,)
    ids, unmatched = decode_label_image(converted, target)
    assert {*ids.flatten().tolist()} <= {-1, *target.ignore_ids} and unmatched == 0


def test_names_are_matched_whatever_their_letters():
    mine = Palette("mine", {0: (1, 2, 3), 1: (200, 0, 0)}, {0: "Road", 1: "CAR"})
    assert matching_classes(mine, CITY) == {0: 0, 1: 13}
    assert matching_classes(CITY, mine)[13] == 1
    assert parse_changes("car = Truck", mine, CITY) == {1: 14}


@pytest.mark.parametrize("spelling", ["traffic_light", "Traffic-Light", "TRAFFIC  LIGHT"])
def test_names_are_matched_however_their_words_are_parted(spelling):
    mine = Palette("mine", {0: (1, 2, 3), 1: (9, 9, 9)}, {0: spelling, 1: "building_other"})
    assert matching_classes(mine, CITY) == {0: 6, 1: 2}
    assert matching_classes(CITY, mine) == {6: 0, 2: 1}
    assert class_named(spelling, CITY) == 6


def test_of_two_classes_whose_names_differ_in_a_hyphen_each_keeps_its_own():
    names = {0: "a-b", 1: "a b", 2: "a_b"}
    mine = Palette("mine", {i: (i, 0, 0) for i in names}, names)
    assert matching_classes(mine, mine) == {i: i for i in names}


def test_a_name_of_another_dataset_does_where_one_asks_for_it():
    assert class_named("pedestrian", CITY, same_thing=True) == 11
    with pytest.raises(PriorError, match="no class 'pedestrian'"):
        class_named("pedestrian", CITY)


@pytest.mark.parametrize("palette", PALETTES.values(), ids=lambda p: p.name)
def test_every_class_is_found_by_its_id_and_by_its_name(palette):
    for class_id in palette.colors or range(256):
        assert class_named(str(class_id), palette) == class_id
    for class_id, name in palette.names.items():
        assert class_named(name.upper(), palette) == class_id


def test_a_palette_without_names_lists_its_ids():
    with pytest.raises(PriorError, match=r"no class 'car'; it has no names, and the ids 0\.\.255"):
        class_named("car", GREY)


def test_datasets_of_streets_keep_what_is_ahead_of_a_driver():
    vistas, label_ids = names(PALETTES["mapillary_vistas"], CITY), PALETTES["cityscapes_label_ids"]
    assert vistas["lane marking - general"] == vistas["bike lane"] == "road"
    assert vistas["curb"] == "sidewalk" and vistas["motorcyclist"] == "rider"
    assert vistas["traffic sign (front)"] == "traffic sign" and vistas["on rails"] == "train"
    assert names(label_ids, CITY)["polegroup"] == "pole"
    assert names(PALETTES["camvid32"], CITY)["suv pickup truck"] == "car"
    assert names(PALETTES["pascal_voc"], ADE)["motorbike"] == "minibike"
    trained = {i: j for i, j in CITYSCAPES_TRAIN_IDS.items() if j != 255}
    assert trained.items() <= matching_classes(label_ids, CITY).items()


def test_a_palette_to_itself_changes_nothing():
    labels = torch.tensor(sorted(ADE.colors))[None, None]
    image = ADE.paint(labels).float() / 255
    assert torch.equal(convert_label_image(image, ADE, ADE)[0], image)


def test_changes_take_names_and_ids():
    changes = parse_changes("car = truck, 17=bicycle\nrider = none,", CITY, CITY)
    assert changes == {13: 14, 17: 18, 12: None}
    found = matching_classes(CITY, CITY, changes)
    assert found[13] == 14 and found[17] == 18 and 12 not in found and found[0] == 0


@pytest.mark.parametrize(
    ("text", "say"),
    [
        ("car", "expected CLASS = CLASS"),
        ("car=", "expected CLASS = CLASS"),
        ("cat = car", r"palette 'cityscapes' has no class 'cat'; the nearest are car \(13\)$"),
        ("xyz = car", r"no class 'xyz'; it has road \(0\), sidewalk \(1\)"),
        ("car = 200", "palette 'ade20k' has no class '200'"),
    ],
)
def test_wrong_changes_are_told(text, say):
    with pytest.raises(PriorError, match=say):
        parse_changes(text, CITY, ADE)
