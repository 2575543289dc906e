"""Laws of pairs of images and label files: by name, at one size, ids whatever the form."""

import numpy as np
import pytest
import torch
from PIL import Image

from dev.tiny_pairs import SIZE, dataset_of, write_pairs
from prior_tools import (
    PALETTES,
    PriorError,
)
from prior_tools.datasets.dataset import PairDataset, as_floats
from prior_tools.datasets.pairs import choose_subset, find_pairs


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": (0, 32)}, r"size is \(0, 32\); expected \(width, height\) in pixels"),
        ({"size": 32}, "size is 32"),
        ({"size": (48.5, 32)}, "size is"),
        ({"palette": "camvit"}, "no palette is named 'camvit'"),
        ({"palette": None}, "no palette is named None"),
        ({"ignore_ids": ("11",)}, "an ignored id is '11'"),
    ],
)
def test_pairs_are_read_at_a_size_by_a_palette(wrong, says):
    with pytest.raises(PriorError, match=says):
        PairDataset([], **{"size": SIZE, "palette": "camvid", **wrong})


def test_a_palettes_name_does_for_pairs(tmp_path):
    ours = dataset_of(write_pairs(tmp_path, 1))
    theirs = PairDataset(ours.pairs, np.array(SIZE), "camvid", ignore_ids=np.array([11]))
    assert torch.equal(theirs[0].labels, ours[0].labels)
    assert (theirs.metadata, theirs.ignored) == (ours.metadata, ours.ignored)


def test_pairs_go_by_name_and_the_lonely_are_listed(tmp_path):
    folder = write_pairs(tmp_path, count=4)
    (folder / "images" / "000.png").unlink()
    (folder / "labels" / "003.png").unlink()
    (folder / "images" / ".hidden.png").write_bytes(b"")
    (folder / "images" / "notes.txt").write_text("hello")
    pairs, unpaired = find_pairs(folder / "images", folder / "labels")
    assert [p.name for p in pairs] == ["001", "002"]
    assert str(unpaired) == "1 image has no label: 003; 1 label has no image: 000"


def test_pairs_in_subfolders_keep_their_folder(tmp_path):
    folder = write_pairs(tmp_path, count=2)
    for kind in ("images", "labels"):
        (folder / kind / "city").mkdir()
        (folder / kind / "000.png").rename(folder / kind / "city" / "000.png")
    pairs, _ = find_pairs(folder / "images", folder / "labels")
    assert [p.name for p in pairs] == ["001", "city/000"]


@pytest.mark.parametrize("case", ["missing", "empty", "none", "double"])
def test_folders_without_pairs_are_told_apart(tmp_path, case):
    folder = write_pairs(tmp_path, count=2)
    images = folder / "images"
    if case == "missing":
        images = folder / "pictures"
    if case == "empty":
        images = folder / "nothing"
        images.mkdir()
    if case == "none":
        for i, path in enumerate(images.iterdir()):
            path.rename(images / f"other{i}.png")
    if case == "double":
        (images / "000.jpg").write_bytes(b"")
    says = {
        "missing": "'pictures' does not exist",
        "empty": "holds no pictures",
        "none": "no image in images has a label",
        "double": "two image files are named '000'",
    }
    with pytest.raises(PriorError, match=says[case]):
        find_pairs(images, folder / "labels")


def test_a_subset_is_seeded_and_ascending():
    assert choose_subset(5, 0, 1) == choose_subset(5, 9, 1) == [0, 1, 2, 3, 4]
    some = choose_subset(1000, 50, 3)
    assert some == sorted(set(some)) and len(some) == 50
    assert some == choose_subset(1000, 50, 3) != choose_subset(1000, 50, 4)


def one_pair(tmp_path, image: Image.Image, label: Image.Image, suffix="png", **options):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    image.save(tmp_path / "images" / f"a.{suffix}", **options)
    label.save(tmp_path / "labels" / "a.png")
    return dataset_of(tmp_path)


IDS = np.kron(np.array([[0, 1, 2], [3, 4, 8]], np.uint8), np.ones((20, 20), np.uint8))


PHOTO = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8))


@pytest.mark.parametrize("mode", ["L", "P index", "P color", "I;16", "RGB", "RGBA"])
def test_label_files_of_every_kind_hold_the_same_ids(tmp_path, mode):
    colors = PALETTES["camvid"].paint(torch.from_numpy(IDS).long()).numpy()
    label = Image.fromarray(colors)
    if mode == "L":
        label = Image.fromarray(IDS)
    elif mode == "I;16":
        label = Image.fromarray(IDS.astype(np.uint16))
    elif mode == "P index":
        label = Image.fromarray(IDS)
        label.putpalette([v for i in range(256) for v in (i, 255 - i, 33)])
    elif mode == "P color":
        label = label.quantize(16)
    elif mode == "RGBA":
        label = label.convert("RGBA")
    dataset = one_pair(tmp_path, PHOTO, label)
    assert np.array_equal(dataset[0].labels.numpy(), IDS)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "I;16", "P"])
def test_images_of_every_kind_become_three_channels(tmp_path, mode):
    grey = Image.fromarray(np.linspace(0, 65535, 2400).reshape(40, 60).astype(np.uint16))
    image = grey if mode == "I;16" else PHOTO.convert(mode)
    suffix = "tif" if mode == "CMYK" else "png"
    dataset = one_pair(tmp_path, image, Image.fromarray(IDS), suffix)
    read = as_floats(dataset[0].image)
    assert read.shape == (32, 48, 3) and read.dtype == torch.float32
    assert read.min() >= 0 and read.max() <= 1
    if mode == "I;16":
        assert read.max() > 0.95 and read.mean() == pytest.approx(0.5, abs=0.02)


def test_exif_rotation_turns_the_image(tmp_path):
    tall = Image.fromarray(np.zeros((60, 40, 3), np.uint8))
    tall.paste((255, 255, 255), (0, 0, 40, 30))
    exif = Image.Exif()
    exif[0x0112] = 8  # shown turned by 90 degrees: the bright half lies at the left
    dataset = one_pair(tmp_path, tall, Image.fromarray(IDS), "jpg", exif=exif)
    image = as_floats(dataset[0].image)
    assert image[:, :20].mean() > 0.9 and image[:, 28:].mean() < 0.1


def test_crop_cuts_image_and_label_alike_at_their_own_sizes(tmp_path):
    wide = np.zeros((40, 120), np.uint8)
    wide[:, 30:90] = 1
    picture = Image.fromarray(wide * 255).convert("RGB").resize((240, 80), Image.Resampling.NEAREST)
    pairs = one_pair(tmp_path, picture, Image.fromarray(wide)).pairs
    dataset = PairDataset(pairs, (60, 40), PALETTES["camvid"], resize="crop")
    assert as_floats(dataset[0].image).min() == 1
    assert dataset[0].labels.unique().tolist() == [1]


def test_ids_outside_the_palette_are_named(tmp_path):
    strange = IDS.copy()
    strange[0, 0] = 77
    dataset = one_pair(tmp_path, PHOTO, Image.fromarray(strange))
    with pytest.raises(PriorError, match=r"a\.png holds class ids 77, which palette 'camvid'"):
        dataset[0]
    allowed = PairDataset(dataset.pairs, SIZE, PALETTES["camvid"], ignore_ids=(77,))
    assert allowed[0].labels[0, 0] == 77


def test_a_label_file_in_another_palette_is_named_with_the_likely_one(tmp_path):
    colors = PALETTES["cityscapes"].paint(torch.from_numpy(IDS).long()).numpy()
    dataset = one_pair(tmp_path, PHOTO, Image.fromarray(colors))
    with pytest.raises(
        PriorError, match=r"label map a\.png is in no color.*palette cityscapes has 100%"
    ):
        dataset[0]


@pytest.mark.parametrize("shown", ["grey", "voc"])
def test_ids_made_visible_by_a_usual_color_table_are_ids(tmp_path, shown):
    """Under coco_stuff, whose colors are those of PASCAL VOC for the next id."""
    from prior_tools.labels.palette_colors import bit_color

    label = Image.fromarray(IDS)
    table = [(i, i, i) if shown == "grey" else bit_color(i) for i in range(256)]
    label.putpalette([v for color in table for v in color])
    pairs = one_pair(tmp_path, PHOTO, label).pairs
    dataset = PairDataset(pairs, SIZE, PALETTES["coco_stuff"])
    assert np.array_equal(dataset[0].labels.numpy(), IDS)


def test_grey_pictures_of_ids_do_not_pass_for_unlabelled(tmp_path):
    grey = Image.fromarray(np.stack([IDS + 1] * 3, -1))
    pairs = one_pair(tmp_path, PHOTO, grey).pairs
    dataset = PairDataset(pairs, SIZE, PALETTES["coco_stuff"])
    assert np.array_equal(dataset[0].labels.numpy(), IDS + 1)


def test_an_image_is_not_turned_away_from_a_label_drawn_on_it_unturned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    dataset = one_pair(tmp_path, PHOTO, Image.fromarray(IDS), "jpg", exif=exif, quality=95)
    unturned = PHOTO.resize(SIZE, Image.Resampling.BICUBIC)
    assert np.abs(dataset[0].image.numpy() - np.asarray(unturned).astype(int)).mean() < 30
