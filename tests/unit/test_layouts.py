"""Laws of layouts: the split asked for, each file with its partner, nothing else."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dev.dataset_trees import (
    COCO_IDS,
    LABEL_IDS,
    PUBLISHED,
    TRAIN_IDS,
    WRITERS,
    blocks,
    find_tree,
    photo,
    save,
    write_ade,
    write_cityscapes,
    write_coco,
    write_two_folders,
)
from prior_tools import PALETTES, BuildOptions, PriorError, build_prior
from prior_tools.datasets.layouts import LAYOUTS, find_dataset
from prior_tools.datasets.pairs import IMAGE_SUFFIXES, find_pairs, same_files, visible_files
from prior_tools.labels.id_maps import CITYSCAPES_TRAIN_IDS

SIZE = (48, 32)

# Layouts of which all splits lie in one folder, or that have one split.
ONE_FOLDER = ("kitti", "pascal-voc")


def encode(images: torch.Tensor) -> torch.Tensor:
    """A stand-in for a VAE: means of 8x8 blocks, and of their squares."""
    x = images.movedim(-1, 1)
    return torch.nn.functional.avg_pool2d(torch.cat([x, x.square()[:, :1]], 1), 8) * 4 - 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_prior_is_built_over_every_layout(tmp_path, layout):
    found = find_tree(layout, WRITERS[layout](tmp_path / "data"), "train")
    assert found.name == layout and not found.unpaired and len(found.pairs) in (3, 4)
    dataset = found.dataset(SIZE)
    for i in range(len(dataset)):
        item = dataset[i]
        label_size = Image.open(dataset.pairs[i].label).size
        assert item.image.shape == (32, 48, 3) and item.image.dtype == torch.uint8
        assert item.labels.shape == label_size[::-1] and item.labels.dtype == torch.int64
    prior = build_prior(dataset, encode, BuildOptions(batch_size=2, workers=2))
    assert prior.num_images == len(found.pairs) and prior.grid == (4, 6)
    assert all(found.palette.holds(i) for i in prior.class_ids.tolist())
    assert not set(prior.class_ids.tolist()) & set(found.ignore_ids)
    assert torch.isfinite(prior.joint_mean).all() and prior.joint_count.sum() > 0


def test_the_table_of_train_ids_is_the_published_one():
    for label_id in (-1, *range(34)):
        assert CITYSCAPES_TRAIN_IDS[label_id] == PUBLISHED.get(label_id, 255)
    assert CITYSCAPES_TRAIN_IDS[255] == 255 and len(CITYSCAPES_TRAIN_IDS) == 36


@pytest.mark.parametrize(
    "kinds, says",
    [
        (("labelIds", "color", "trainIds"), "trainIds"),
        (("labelIds", "color"), "labelIds"),
        (("color",), "colors"),
    ],
)
def test_all_label_files_of_cityscapes_give_the_same_train_ids(tmp_path, kinds, says):
    found = find_dataset("cityscapes", write_cityscapes(tmp_path, kinds=kinds), "train")
    assert found.label_kind == says
    assert [p.name for p in found.pairs] == [
        "aachen/aachen_000000_000000",
        "aachen/aachen_000000_000001",
        "bochum/bochum_000000_000000",
        "bochum/bochum_000000_000007",
    ]
    want = TRAIN_IDS.astype(int)
    if says == "colors":
        # A void color is no class; pole groups (18) have the color of poles.
        want = np.where(LABEL_IDS == 18, 5, np.where(want == 255, -1, want))
    got = found.dataset((120, 60))[1]
    assert np.array_equal(got.labels.numpy(), want)
    assert np.array_equal(got.image.numpy(), photo(60, 120, 1))


def test_cityscapes_files_without_a_partner_are_listed(tmp_path):
    root = write_cityscapes(tmp_path)
    (root / "leftImg8bit/train/aachen/aachen_000000_000000_leftImg8bit.png").unlink()
    for path in (root / "gtFine/train/bochum").glob("bochum_000000_000007_*"):
        path.unlink()
    found = find_dataset("cityscapes", root, "train")
    assert [p.name for p in found.pairs] == [
        "aachen/aachen_000000_000001",
        "bochum/bochum_000000_000000",
    ]
    assert found.unpaired.images == ("bochum/bochum_000000_000007",)
    assert found.unpaired.labels == ("aachen/aachen_000000_000000",)


def test_train_ids_made_half_way_do_not_halve_the_dataset(tmp_path):
    root = write_cityscapes(tmp_path)
    for path in (root / "gtFine/train/bochum").glob("*labelTrainIds.png"):
        path.unlink()
    found = find_dataset("cityscapes", root, "train")
    assert found.label_kind == "labelIds" and len(found.pairs) == 4 and not found.unpaired


def test_a_licence_plate_of_eight_bits_is_ignored_and_an_unknown_id_refused(tmp_path):
    root = write_cityscapes(tmp_path, kinds=("labelIds",))
    files = sorted((root / "gtFine/train").rglob("*labelIds.png"))
    odd = LABEL_IDS.copy()
    odd[0, 0] = 255
    save(files[0], odd)
    odd[0, 0] = 34
    save(files[1], odd)
    dataset = find_dataset("cityscapes", root, "train").dataset(SIZE)
    assert dataset[0].labels[0, 0] == 255
    with pytest.raises(PriorError, match=r"labelIds\.png holds class ids 34, which palette"):
        dataset[1]


@pytest.mark.parametrize("split, says", [("test", "placeholders"), ("train_extra", "gtCoarse")])
def test_splits_of_cityscapes_without_fine_labels_are_refused(tmp_path, split, says):
    root = write_cityscapes(tmp_path, split)
    with pytest.raises(PriorError, match=f"{split}' of Cityscapes.*{says}.*choose train or val"):
        find_dataset("cityscapes", root, split)


def test_cityscapes_without_one_label_says_what_it_looked_for(tmp_path):
    root = write_cityscapes(tmp_path, kinds=())
    with pytest.raises(PriorError, match=r"4 \*_leftImg8bit\.png, 0 \*_gtFine_labelTrainIds\.png"):
        find_dataset("cityscapes", root, "train")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ONE_FOLDER])
def test_only_the_split_asked_for_is_read(tmp_path, monkeypatch, layout):
    root = WRITERS[layout](tmp_path / "data")
    if layout == "cityscapes":
        write_cityscapes(root, "val")
    read = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (read.append(str(path)), scan(path))[1])
    found = find_tree(layout, root, "val")
    monkeypatch.undo()
    files = [str(path) for pair in found.pairs for path in (pair.image, pair.label)]
    assert read and len(found.pairs) in (3, 4)
    for path in [*read, *files]:
        assert "val" in str(Path(path).relative_to(root))
        assert "train" not in str(Path(path).relative_to(root))


@pytest.mark.parametrize(
    "layout, names",
    [
        ("ade20k", {"train": "training", "training": "training", "val": "validation"}),
        ("coco-stuff", {"train": "train2017", "train2017": "train2017", "val": "val2017"}),
        ("pairs", {"train": "train", "val": "val"}),
    ],
)
def test_splits_go_by_their_usual_and_their_folder_names(tmp_path, layout, names):
    root = WRITERS[layout](tmp_path)
    for name, folder in names.items():
        found = find_tree(layout, root, name)
        assert found.split == folder
        assert {p.image.parent.name for p in found.pairs} == {folder}


def test_a_split_that_is_not_there_is_told_from_one_that_does_not_exist(tmp_path):
    root = write_ade(tmp_path, ("training",))
    with pytest.raises(PriorError, match=r"no folder images/validation, and no folder annot.*comp"):
        find_dataset("ade20k", root, "val")
    with pytest.raises(PriorError, match=r"no split 'dev'; expected train or val.*is training"):
        find_dataset("ade20k", root, "dev")
    with pytest.raises(PriorError, match="not published"):
        find_dataset("ade20k", root, "test")
    with pytest.raises(PriorError, match="no pixel maps"):
        find_dataset("coco-stuff", write_coco(tmp_path / "coco"), "test2017")


def test_ade_keeps_other_as_an_id_that_statistics_leave_out(tmp_path):
    found = find_dataset("ade20k", write_ade(tmp_path), "train")
    assert found.palette.name == "ade20k" and found.ignore_ids == (0,)
    assert found.dataset(SIZE)[0].labels.unique().tolist() == [0, 1, 3, 13, 150]
    other = found.with_palette("ade20k_base7")
    assert other.palette.name == "ade20k_base7"
    assert torch.equal(other.dataset(SIZE)[0].labels, found.dataset(SIZE)[0].labels)


@pytest.mark.parametrize("images", ["images", ""])
@pytest.mark.parametrize("labels", ["annotations", "stuffthingmaps", "stuffthingmaps_trainval2017"])
def test_coco_is_found_where_its_archives_are_usually_unpacked(tmp_path, images, labels):
    root = write_coco(tmp_path, images, labels)
    # COCO's own annotations lie in a folder of the same name.
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations/instances_train2017.json").write_text("{}")
    found = find_dataset("coco-stuff", root, "train")
    assert [p.name for p in found.pairs] == ["000000000009", "000000000025", "000000000030"]
    assert found.dataset(SIZE)[0].labels.unique().tolist() == [0, 10, 12, 91, 181, 255]
    assert found.ignore_ids == (255,)


def test_maps_that_tools_derive_beside_the_pixel_maps_are_passed_over(tmp_path):
    root = write_coco(tmp_path)
    for path in list((root / "annotations/train2017").iterdir()):
        save(path.with_name(f"{path.stem}_labelTrainIds.png"), COCO_IDS)
    save(root / "annotations/train2017/000000000042.png", COCO_IDS)
    found = find_dataset("coco-stuff", root, "train")
    assert len(found.pairs) == 3 and found.unpaired.labels == ("000000000042",)
    assert not any("TrainIds" in p.label.name for p in found.pairs)


def test_any_two_folders_make_pairs(tmp_path):
    root = write_two_folders(tmp_path / "a")
    (root / "images").rename(root / "photos")
    (root / "labels").rename(root / "maps")
    found = find_dataset("pairs", root, "train", images="photos", labels="maps")
    assert len(found.pairs) == 3 and found.palette.is_grey and found.ignore_ids == (255,)
    assert found.dataset(SIZE)[1].labels.unique().tolist() == [0, 1, 2, 4, 255]
    # Both whole folders, subfolders included, if no split is asked for.
    assert len(find_dataset("pairs", root, "", images="photos", labels="maps").pairs) == 6
    # No subfolder for splits: what is there is the split.
    for kind in ("photos", "maps"):
        shutil.rmtree(root / kind / "val")
        for path in (root / kind / "train").iterdir():
            path.rename(root / kind / path.name)
        (root / kind / "train").rmdir()
    flat = find_dataset("pairs", root, "train", images="photos", labels="maps")
    assert [p.name for p in flat.pairs] == ["0", "1", "2"] and flat.split == ""


def test_pairs_read_colors_by_the_palette_that_the_user_chooses(tmp_path):
    root = write_two_folders(tmp_path)
    ids = blocks([0, 1, 2, 3, 4, 11])
    for path in (root / "labels/train").iterdir():
        save(path, PALETTES["camvid"].paint(torch.from_numpy(ids)).numpy())
    found = find_dataset("pairs", root, "train").with_palette("camvid")
    assert found.ignore_ids == (11,)
    assert np.array_equal(found.dataset(SIZE)[0].labels.numpy(), ids)


def test_two_folders_never_mix_splits(tmp_path):
    root = write_two_folders(tmp_path)
    with pytest.raises(PriorError, match=r"no split 'test'; there is train, val\. Choose"):
        find_dataset("pairs", root, "test")
    shutil.rmtree(root / "labels/train")
    with pytest.raises(PriorError, match=r"train is there, .*train is not: .*labels holds val/"):
        find_dataset("pairs", root, "train")


def test_options_of_pairs_are_refused_elsewhere(tmp_path):
    with pytest.raises(PriorError, match=r"ade20k has folders of its own.*choose layout pairs"):
        find_dataset("ade20k", write_ade(tmp_path), "train", images="images")
    with pytest.raises(PriorError, match="no layout is named 'coco'; expected one of cityscapes"):
        find_dataset("coco", tmp_path, "train")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("given", ["parent", "side", "split"])
def test_a_folder_too_high_or_too_low_is_told_the_right_one(tmp_path, layout, given):
    root = WRITERS[layout](tmp_path / "data" / "inner")
    # What macOS adds to archives repeats their folders, with no pictures in them.
    for path in [path for path in root.rglob("*") if path.is_dir()]:
        (tmp_path / "data/__MACOSX" / path.relative_to(root)).mkdir(parents=True)
    image = find_tree(layout, root, "train").pairs[0].image.relative_to(root)
    side, *rest = image.parts[: min(len(image.parts) - 1, 3)]
    wrong = {"parent": root.parent, "side": root / side, "split": root.joinpath(side, *rest)}[given]
    with pytest.raises(PriorError) as error:
        find_tree(layout, wrong, "train")
    assert f"in {root}: give that as root" in str(error.value)


def test_archives_unpacked_apart_are_recognised(tmp_path):
    root = write_cityscapes(tmp_path / "data")
    for side in ("leftImg8bit", "gtFine"):
        (root / f"{side}_trainvaltest").mkdir()
        (root / side).rename(root / f"{side}_trainvaltest" / side)
    with pytest.raises(PriorError) as error:
        find_dataset("cityscapes", root, "train")
    images, labels = root / "leftImg8bit_trainvaltest", root / "gtFine_trainvaltest"
    assert f"The images' folder is in {images}, the labels' in {labels}" in str(error.value)
    (images / "leftImg8bit").rename(root / "leftImg8bit")
    with pytest.raises(PriorError) as error:
        find_dataset("cityscapes", root, "train")
    assert f"The images' folder is in {root}, the labels' in {labels}" in str(error.value)


@pytest.mark.parametrize("case", ["missing", "archive", "empty", "half", "other"])
def test_a_root_without_the_dataset_says_what_is_there(tmp_path, case):
    root = tmp_path / "data"
    if case == "archive":
        root = tmp_path / "data.zip"
        root.write_bytes(b"")
    elif case != "missing":
        root.mkdir()
    if case == "half":
        write_coco(root)
        shutil.rmtree(root / "annotations")
    if case == "other":
        (root / "photos").mkdir()
        (root / "gtFine_trainvaltest.zip").write_bytes(b"")
        (root / ".DS_Store").write_bytes(b"")
    says = {
        "missing": "data does not exist",
        "archive": "data.zip is a file; unpack it",
        "empty": "data is empty. Give the folder with",
        "half": "no folder annotations/train2017 or stuffthingmaps/train2017 or stuffthingmaps_",
        "other": "data holds gtFine_trainvaltest.zip, photos/. Give the folder with",
    }
    with pytest.raises(PriorError) as error:
        find_dataset("coco-stuff" if case == "half" else "cityscapes", root, "train")
    assert says[case] in str(error.value)
    if case == "half":
        assert "stuffthingmaps_trainval2017.zip" in str(error.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hidden_files_and_those_of_macos_are_not_there(tmp_path, layout):
    root = WRITERS[layout](tmp_path)
    before = find_tree(layout, root, "train")
    for pair in before.pairs:
        for path in (pair.image, pair.label):
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    for folder in {pair.image.parent for pair in before.pairs}:
        (folder / ".DS_Store").write_bytes(b"")
        hidden = folder / ".thumbnails"
        hidden.mkdir()
        save(hidden / before.pairs[0].image.name, photo(8, 8))
    after = find_tree(layout, root, "train")
    assert (after.pairs, after.unpaired) == (before.pairs, before.unpaired)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_listing_opens_no_file(tmp_path, layout):
    root = WRITERS[layout](tmp_path)
    before = find_tree(layout, root, "train")
    for path in [path for path in root.rglob("*") if path.suffix in IMAGE_SUFFIXES]:
        path.write_bytes(b"")
    after = find_tree(layout, root, "train")
    assert (after.pairs, after.unpaired) == (before.pairs, before.unpaired)


def test_visible_files_are_those_below_a_folder(tmp_path):
    for name in ("b/c/x.png", "a.b.PNG", "b/._x.png", ".git/y.png", "z.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = dict(visible_files(tmp_path))
    assert found == {n: str(tmp_path / n) for n in ("b/c/x.png", "a.b.PNG", "z.txt")}
    pairs, _ = find_pairs(tmp_path, tmp_path)
    assert [p.name for p in pairs] == ["a.b", "b/c/x"]


needs_links = pytest.mark.skipif(
    os.name == "nt", reason="links need rights that a Windows user may not have"
)


@needs_links
def test_links_to_files_and_folders_are_followed_but_not_in_circles(tmp_path):
    elsewhere = save(tmp_path / "elsewhere/deep/x.png", photo(8, 8))
    folder = tmp_path / "images"
    (folder / "own").mkdir(parents=True)
    (folder / "linked.png").symlink_to(elsewhere)
    (folder / "city").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    (folder / "own/up").symlink_to(folder)
    (tmp_path / "elsewhere/back").symlink_to(folder)
    checked = []
    found = dict(visible_files(folder, lambda name, path: checked.append(name)))
    assert found.keys() == {"linked.png", "city/deep/x.png"}
    # Whoever must not leave a folder is asked before each way out of it.
    assert {"linked.png", "city", "round", "city/deep"} <= set(checked)


@needs_links
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dataset_of_links_to_folders_is_the_dataset(tmp_path, layout):
    real = WRITERS[layout](tmp_path / "real")
    before = find_tree(layout, real, "train")
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in sorted(real.rglob("*")):
        to = linked / path.relative_to(real)
        last = path.is_file() or any(inner.is_file() for inner in path.iterdir())
        if last and not to.exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            to.symlink_to(path)
    found = find_tree(layout, linked, "train")
    assert [p.name for p in found.pairs] == [p.name for p in before.pairs]


@needs_links
def test_a_link_that_leads_nowhere_is_named(tmp_path):
    """A picture by its reader, which may leave it out; anything else might be half a dataset."""
    for kind in ("images", "labels"):
        save(tmp_path / kind / "a.png", photo(8, 8))
        (tmp_path / kind / "b.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "images/notes.txt").symlink_to(tmp_path / "images/a.png")
    pairs, unpaired = find_pairs(tmp_path / "images", tmp_path / "labels")
    assert [p.name for p in pairs] == ["a", "b"] and not unpaired
    (tmp_path / "images/c.png").symlink_to(tmp_path / "images/c.png")
    assert find_pairs(tmp_path / "images", tmp_path / "labels")[1].images == ("c",)
    (tmp_path / "images/aachen").symlink_to(tmp_path / "gone")
    with pytest.raises(PriorError, match="link 'aachen' cannot be followed: No such file"):
        find_pairs(tmp_path / "images", tmp_path / "labels")


@needs_links
def test_folders_that_all_link_to_each_other_do_not_hang(tmp_path):
    folders = [tmp_path / "images" / f"f{i}" for i in range(12)]
    for folder in folders:
        save(folder / "x.png", photo(8, 8))
    for folder in folders:
        for other in folders:
            (folder / f"to_{other.name}").symlink_to(other)
    with pytest.raises(PriorError, match="in more than 100 ways"):
        find_pairs(tmp_path / "images", tmp_path / "images")


@needs_links
def test_images_that_links_give_several_names_are_kept_and_told_of(tmp_path):
    for kind in ("images", "labels"):
        for name in ("a", "b", "copy"):
            save(tmp_path / kind / "day" / f"{name}.png", photo(8, 8))
        (tmp_path / kind / "night").symlink_to(tmp_path / kind / "day")
        (tmp_path / kind / "c.png").symlink_to(tmp_path / kind / "day/a.png")
    (tmp_path / "images/day/gone.png").symlink_to(tmp_path / "nothing.png")
    pairs, _ = find_pairs(tmp_path / "images", tmp_path / "labels")
    assert len(pairs) == 7
    images = {pair.name: pair.image for pair in pairs}
    assert same_files(images, "images").startswith(
        "4 of 7 images are files that are among them under another name, by links, and count "
        "again: day/a is c, night/a is c, night/b is day/b and 1 more."
    )
    alone = {name: path for name, path in images.items() if name.startswith("day")}
    assert same_files(alone | {"gone": tmp_path / "images/day/gone.png"}, "images") == ""


APART, TOGETHER = "Zu\u0308rich", "Z\u00fcrich"


def test_names_pair_whatever_the_form_of_their_letters(tmp_path):
    """macOS takes letters and accents apart, other systems keep them together."""
    save(tmp_path / f"images/{APART}/{APART}.png", photo(8, 8))
    save(tmp_path / f"labels/{TOGETHER}/{TOGETHER}.png", photo(8, 8))
    pairs, unpaired = find_pairs(tmp_path / "images", tmp_path / "labels")
    assert [p.name for p in pairs] == [f"{TOGETHER}/{TOGETHER}"] and not unpaired
    assert pairs[0].image.is_file() and pairs[0].label.is_file()
    for split in (APART, TOGETHER):
        found = find_dataset("pairs", tmp_path, split)
        assert [p.name for p in found.pairs] == [TOGETHER] and found.split == split
    root = write_cityscapes(tmp_path / "city")
    names = {"gtFine": APART, "leftImg8bit": TOGETHER}
    for side, city in names.items():
        (root / side / "train/aachen").rename(root / side / "train" / city)
    found = find_dataset("cityscapes", root, "train")
    assert len(found.pairs) == 4 and not found.unpaired


@pytest.mark.parametrize("layout", ["pairs", "cityscapes"])
def test_names_that_differ_in_the_form_of_their_letters_are_told_apart(tmp_path, layout):
    root = write_cityscapes(tmp_path) if layout == "cityscapes" else WRITERS["pairs"](tmp_path)
    pair = find_tree(layout, root, "train").pairs[0]
    ending = pair.image.name.removeprefix(pair.name.rpartition("/")[2])
    for form in (APART, TOGETHER):
        save(pair.image.with_name(form + ending), photo(8, 8))
    if len(list(pair.image.parent.glob("Z*"))) < 2:
        pytest.skip("this file system takes both names for one")
    with pytest.raises(PriorError) as caught:
        find_tree(layout, root, "train")
    assert TOGETHER in str(caught.value) and "NFD and NFC" in str(caught.value)
    assert r"'Zu\u0308rich" in str(caught.value) and r"'Z\xfcrich" in str(caught.value)


def test_names_that_look_alike_are_told_apart(tmp_path):
    save(tmp_path / "images/a.png", photo(8, 8))
    save(tmp_path / "labels/a.png", photo(8, 8))
    save(tmp_path / "images/photo 1.png", photo(8, 8))
    save(tmp_path / "labels/photo\u00a01.png", photo(8, 8))
    _, unpaired = find_pairs(tmp_path / "images", tmp_path / "labels")
    assert r"'photo 1' and 'photo\xa01' look alike" in str(unpaired)
    save(tmp_path / "images/b.png", photo(8, 8))
    save(tmp_path / "labels/c.png", photo(8, 8))
    assert "'b'" not in str(find_pairs(tmp_path / "images", tmp_path / "labels")[1])


def test_a_folder_that_cannot_be_listed_is_an_error_not_an_empty_one(tmp_path, monkeypatch):
    root = write_ade(tmp_path)
    (root / "images/training/locked").mkdir()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PriorError, match="'locked' cannot be read: Permission denied"):
        find_dataset("ade20k", root, "train")


def test_a_link_in_a_circle_is_told_of_by_name_where_it_matters(tmp_path):
    root = write_two_folders(tmp_path / "data")
    beside, inside = root / "images" / "beside", root / "images" / "train" / "round"
    try:
        beside.symlink_to(beside)
        assert len(find_dataset("pairs", root, "train").pairs) == 3
        inside.symlink_to(inside)
    except OSError:
        pytest.skip("links cannot be made here")
    with pytest.raises(PriorError, match="the link 'round' cannot be followed"):
        find_dataset("pairs", root, "train")
