"""Laws of layouts: the split asked for, each file with its partner, nothing else."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dev.dataset_trees import (
    ADE_FULL_IDS,
    BDD_IDS,
    COCO_IDS,
    LABEL_IDS,
    MASK_IDS,
    MASK_PALETTE,
    PANOPTIC_CATEGORIES,
    PANOPTIC_SEGMENTS,
    PUBLISHED,
    TRAIN_IDS,
    VISTAS_2_IDS,
    VISTAS_IDS,
    VOC_IDS,
    WRITERS,
    blocks,
    find_tree,
    photo,
    save,
    voc_picture,
    write_ade,
    write_ade_full,
    write_cityscapes,
    write_coco,
    write_coco_panoptic,
    write_label_studio,
    write_masks,
    write_two_folders,
    write_vistas,
    write_voc,
)
from prior_tools import PALETTES, BuildOptions, Palette, PriorError, build_prior, json_stream
from prior_tools.datasets.layouts import LAYOUTS, find_dataset, recognised
from prior_tools.datasets.pairs import (
    IMAGE_SUFFIXES,
    Unpaired,
    find_pairs,
    same_files,
    visible_files,
)
from prior_tools.json_stream import entries_of_lists
from prior_tools.labels.id_maps import CITYSCAPES_TRAIN_IDS

SIZE = (48, 32)

# Layouts of which all splits lie in one folder, or that have one split.
ONE_FOLDER = ("kitti", "voc")


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


@pytest.mark.parametrize(
    "layout, ids, palette, ignored, says",
    [
        ("ade20k-full", ADE_FULL_IDS, "ade20k_full", (0,), "ids"),
        (
            "coco-panoptic",
            np.vectorize(PANOPTIC_SEGMENTS.get)(blocks(list(PANOPTIC_SEGMENTS), 3, 20)),
            "coco_panoptic",
            (),
            "segments",
        ),
        ("mapillary-vistas", VISTAS_IDS, "mapillary_vistas", (65,), "ids"),
        ("mapillary-vistas-v2", VISTAS_2_IDS, "config_v2.0", (123,), "ids"),
        ("bdd100k", BDD_IDS, "bdd100k", (255,), "ids"),
        ("kitti", TRAIN_IDS, "cityscapes", (255,), "labelIds"),
        ("voc", VOC_IDS, "pascal_voc", (255,), "ids"),
        ("masks", MASK_IDS, "yard", (), "masks"),
    ],
)
def test_ids_are_those_that_the_dataset_counts(tmp_path, layout, ids, palette, ignored, says):
    found = find_tree(layout, WRITERS[layout](tmp_path))
    assert (found.palette.name, found.ignore_ids, found.label_kind) == (palette, ignored, says)
    for i in range(3):
        assert np.array_equal(found.dataset(SIZE)[i].labels.numpy(), ids)


def test_categories_of_coco_panoptic_are_named_by_their_json_file(tmp_path):
    found = find_tree("coco-panoptic", write_coco_panoptic(tmp_path))
    assert found.palette.names == PANOPTIC_CATEGORIES and not found.palette.holds(2)
    assert [pair.name for pair in found.pairs] == [f"{i:012}" for i in (9, 25, 30)]


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda data: data["annotations"][0]["segments_info"].pop(1), "segments that.*list: 8465"),
        (lambda data: data["annotations"][0].pop("segments_info"), "of objects, not panoptic"),
        (lambda data: data.pop("categories"), "no list of categories"),
        (lambda data: data["categories"].pop(), "of the categories 200, which are not"),
        (lambda data: data["annotations"].append(data["annotations"][0]), "two annotations of"),
        (lambda data: data["annotations"].clear(), "no list of annotations"),
        (
            lambda data: data["annotations"][0]["segments_info"][0].update(category_id="1"),
            "a category of annotation 0 is '1'",
        ),
    ],
)
def test_a_json_file_that_does_not_fit_the_pictures_is_refused(tmp_path, change, says):
    root = write_coco_panoptic(tmp_path)
    path = root / "annotations/panoptic_train2017.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(PriorError, match=says):
        find_tree("coco-panoptic", root).dataset(SIZE)[0]


def test_the_json_of_coco_panoptic_is_read_again_only_where_it_has_changed(tmp_path):
    root = write_coco_panoptic(tmp_path)
    first, again = (find_tree("coco-panoptic", root).form for _ in range(2))
    assert again.segments is first.segments
    with (root / "annotations/panoptic_train2017.json").open("a") as file:
        file.write("\n")
    changed = find_tree("coco-panoptic", root).form
    assert changed.segments is not first.segments and changed == first


def test_what_of_coco_panoptic_is_missing_is_said(tmp_path):
    root = write_coco_panoptic(tmp_path)
    save(root / "annotations/panoptic_train2017/000000000042.png", photo(8, 8))
    (root / "images/train2017/000000000009.jpg").unlink()
    found = find_tree("coco-panoptic", root)
    assert found.unpaired == Unpaired((), ("000000000009", "000000000042"))
    (root / "annotations/panoptic_train2017.json").unlink()
    with pytest.raises(PriorError, match=r"no file annotations/panoptic_train2017\.json or pan"):
        find_tree("coco-panoptic", root)


def test_panoptic_pictures_may_lie_beside_the_images_and_have_other_names(tmp_path):
    root = write_coco_panoptic(tmp_path)
    for name in ("panoptic_val2017", "panoptic_val2017.json"):
        (root / "annotations" / name).rename(root / name)
    (root / "images/val2017").rename(root / "val2017")
    path = root / "panoptic_val2017.json"
    path.write_text(path.read_text().replace(".png", "_panoptic.png"))
    for picture in list((root / "panoptic_val2017").iterdir()):
        picture.rename(picture.with_name(f"{picture.stem}_panoptic.png"))
    found = find_tree("coco-panoptic", root, "val")
    assert [pair.name for pair in found.pairs] == [f"{i:012}" for i in (9, 25, 30)]
    assert found.dataset(SIZE)[2].labels.unique().tolist() == [-1, 1, 3, 92, 200]


def test_both_releases_of_ade_say_which_the_folder_is(tmp_path):
    small, full = write_ade(tmp_path / "small"), write_ade_full(tmp_path / "full")
    with pytest.raises(PriorError, match=r"has a folder annotations/training, .* ade20k$"):
        find_dataset("ade20k-full", small, "train")
    with pytest.raises(PriorError, match=r"no folder images/training, .* layout ade20k-full$"):
        find_dataset("ade20k", full, "train")
    # The release of 2016 has no folder ADE.
    for split in ("training", "validation"):
        (full / "images/ADE" / split).rename(full / "images" / split)
    found = find_dataset("ade20k-full", full, "val")
    assert found.pairs[0].name == "cultural/apse__indoor/ADE_val_00000000"
    save(full / "images/training/urban/street/ADE_train_00000001_seg.png", photo(30, 30))
    with pytest.raises(PriorError, match=r"as a level of red; expected multiples of 10"):
        find_dataset("ade20k-full", full, "train").dataset(SIZE)[1]


def test_vistas_of_one_version_has_no_folders_of_versions(tmp_path):
    root = write_vistas(tmp_path)
    (root / "config_v2.0.json").unlink()
    with pytest.raises(PriorError, match=r"no config_v2\.0\.json in .*give it as palette"):
        find_tree("mapillary-vistas-v2", root)
    assert find_dataset("mapillary-vistas-v2", root, "val", palette="grey_ids").palette.is_grey
    (root / "training/v1.2/labels").rename(root / "training/labels")
    assert len(find_tree("mapillary-vistas", root).pairs) == 3


def test_the_first_release_of_bdd_names_its_labels_otherwise(tmp_path):
    for i in range(2):
        save(tmp_path / f"seg/images/train/{i}ab.jpg", photo(10, 60, i))
        save(tmp_path / f"seg/labels/train/{i}ab_train_id.png", BDD_IDS)
        save(tmp_path / f"seg/color_labels/train/{i}ab_train_color.png", photo(10, 60, i))
    found = find_tree("bdd100k", tmp_path)
    assert [pair.name for pair in found.pairs] == ["0ab", "1ab"] and not found.unpaired


@pytest.mark.parametrize("layout", ["cityscapes", "kitti"])
def test_label_ids_are_kept_where_the_palette_counts_them(tmp_path, layout):
    """They were read as trainIds, by a palette in which these are other classes."""
    root = WRITERS[layout](tmp_path)
    for path in root.rglob("*labelTrainIds.png"):
        path.unlink()
    found = find_tree(layout, root).with_palette("cityscapes_label_ids")
    assert np.array_equal(found.dataset(SIZE)[0].labels.numpy(), LABEL_IDS)
    if layout == "cityscapes":
        write_cityscapes(root)
        with pytest.raises(PriorError, match=r"counts Cityscapes' labelIds, and .* hold trainIds"):
            find_tree(layout, root).with_palette("cityscapes_label_ids")


def test_kitti_has_one_labelled_split(tmp_path):
    root = WRITERS["kitti"](tmp_path)
    with pytest.raises(PriorError, match="there is none; all labels are in training; choose train"):
        find_tree("kitti", root, "val")


def test_voc_reads_what_a_list_names(tmp_path):
    root = write_voc(tmp_path)
    assert len(find_tree("voc", root, "trainval").pairs) == 6
    assert find_tree("voc", root, "val").pairs[0].name == "2007_000033"
    (root / "SegmentationClass/2007_000032.png").unlink()
    with (root / "ImageSets/Segmentation/train.txt").open("a") as file:
        file.write("2007_999999\n")
    found = find_tree("voc", root)
    assert found.unpaired == Unpaired(("2007_000032",), ("2007_999999",))
    with pytest.raises(PriorError, match=r"no list .*dev\.txt; there is train, trainval, val"):
        find_tree("voc", root, "dev")
    # The larger set of labels, in grey.
    (root / "ImageSets/Segmentation/train_aug.txt").write_text("2007_000063\n")
    save(root / "SegmentationClassAug/2007_000063.png", np.full((20, 20), 9, np.uint8))
    found = find_tree("voc", root, "train_aug")
    assert found.pairs[0].label.parent.name == "SegmentationClassAug"


def test_the_folder_above_a_year_of_voc_will_do_unless_it_holds_several(tmp_path):
    write_voc(tmp_path / "VOCdevkit/VOC2012")
    for root in (tmp_path, tmp_path / "VOCdevkit"):
        assert len(find_tree("voc", root).pairs) == 3 and recognised(root) == ["voc"]
    write_voc(tmp_path / "VOCdevkit/VOC2007")
    with pytest.raises(PriorError, match="holds VOCdevkit/VOC2007, VOCdevkit/VOC2012; give one"):
        find_tree("voc", tmp_path)


def test_pairs_are_read_by_the_palette_that_lies_beside_them(tmp_path):
    root = write_two_folders(tmp_path)
    rows = [{"id": i, "name": f"class {i}"} for i in (0, 1, 2, 3, 4, 5)]
    classes = [*rows, {"id": 255, "name": "none", "ignored": True}]
    (root / "palette.json").write_text(json.dumps({"name": "yard", "classes": classes}))
    found = find_tree("pairs", root)
    assert (found.palette.name, found.ignore_ids) == ("yard", (255,))
    assert found.dataset(SIZE)[1].labels.unique().tolist() == [0, 1, 2, 4, 255]
    (root / "list.txt").write_text("images/train/0.jpg labels/train/0.png")
    listed = find_dataset("pairs", root, "", pair_list=root / "list.txt")
    assert listed.palette.name == "yard"
    assert find_dataset("pairs", root, "train", palette="camvid").palette.name == "camvid"


@pytest.mark.parametrize("labels", ["SegmentationClass", "SegmentationClassPNG"])
def test_what_labelme_writes_has_its_own_classes_and_no_lists(tmp_path, labels):
    ids = blocks([0, 1, 2, 255], 2).astype(np.uint8)
    save(tmp_path / "JPEGImages/a.jpg", photo(20, 20))
    save(tmp_path / labels / "a.png", voc_picture(ids))
    (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
    (tmp_path / "SegmentationClass/a.npy").write_bytes(b"")
    save(tmp_path / "SegmentationClassVisualization/a.jpg", photo(20, 20))
    (tmp_path / "class_names.txt").write_text("_background_\nroof\ntree")
    found = find_tree("voc", tmp_path)
    assert found.split == "" and found.palette.names == {0: "_background_", 1: "roof", 2: "tree"}
    assert np.array_equal(found.dataset(SIZE)[0].labels.numpy(), ids)
    assert found.ignore_ids == (255,)


def test_label_maps_that_count_classes_each_by_itself_are_refused(tmp_path):
    for name in ("a_json", "b_json"):
        save(tmp_path / name / "img.png", photo(20, 20))
        save(tmp_path / name / "label.png", voc_picture(blocks([0, 1, 2, 1], 2).astype(np.uint8)))
        save(tmp_path / name / "label_viz.png", photo(20, 20))
        (tmp_path / name / "label_names.txt").write_text("_background_\nroof\ntree")
    ends = {"image_suffix": "/img.png", "label_suffix": "/label.png"}
    found = find_dataset("pairs", tmp_path, "", **ends)
    assert [pair.name for pair in found.pairs] == ["a_json", "b_json"]
    lines = [f"{name}/img.png {name}/label.png" for name in ("a_json", "b_json")]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert len(find_dataset("pairs", tmp_path, "", pair_list=tmp_path / "list.txt").pairs) == 2
    (tmp_path / "b_json/label_names.txt").write_text("_background_\ntree\nroof\n")
    for given in (ends, {"pair_list": tmp_path / "list.txt"}):
        with pytest.raises(PriorError, match="of b_json lists other classes than that of a_json"):
            find_dataset("pairs", tmp_path, "", **given)


@pytest.mark.parametrize("folders", ["two", "one"])
def test_pairs_are_told_apart_by_their_endings(tmp_path, folders):
    root = write_cityscapes(tmp_path)
    given = {"images": "leftImg8bit", "labels": "gtFine"}
    if folders == "one":
        for path in [p for p in (root / "gtFine").rglob("*") if p.is_file()]:
            path.rename(root / "leftImg8bit" / path.relative_to(root / "gtFine"))
        root, given = root / "leftImg8bit", {}
    ends = {"image_suffix": "_leftImg8bit.png", "label_suffix": "_gtFine_labelIds.png"}
    found = find_dataset("pairs", root, "train", **given, **ends)
    assert found.split == "train" and len(found.pairs) == 4
    assert found.pairs[0].name == "aachen/aachen_000000_000000"
    assert {p.label.name[-12:] for p in found.pairs} == {"labelIds.png"}
    with pytest.raises(PriorError, match=r"there are 4 images NAME_leftImg8bit\.png and 0 labels"):
        find_dataset("pairs", root, "train", **given, **{**ends, "label_suffix": "_seg.png"})


def test_one_ending_is_enough_where_the_other_side_has_none(tmp_path):
    for name in ("a", "b_mask_c"):
        save(tmp_path / f"{name}.jpg", photo(8, 8))
        save(tmp_path / f"{name}_mask.png", np.zeros((8, 8), np.uint8))
    found = find_dataset("pairs", tmp_path, "", label_suffix="_mask.png")
    assert [p.name for p in found.pairs] == ["a", "b_mask_c"] and not found.unpaired
    with pytest.raises(PriorError, match="endings of names came with layout ade20k"):
        find_dataset("ade20k", tmp_path, "train", label_suffix="_mask.png")


@pytest.mark.parametrize(
    "line",
    [
        "images/train/{0}.jpg\tlabels/train/{0}.png",
        "/images/train/{0}.jpg /labels/train/{0}.png",
        '"images/train/{0}.jpg", labels/train/{0}.png',
        "{1}/images/train/{0}.jpg,{1}/labels/train/{0}.png",
    ],
)
def test_a_list_of_pairs_is_read_whatever_parts_its_columns(tmp_path, line):
    root = write_two_folders(tmp_path / "data")
    lines = ["# a comment", *(line.format(i, root) for i in (2, 0))]
    if "," in line:
        lines.insert(0, "image,label")
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n\n")
    found = find_dataset("pairs", root, "train", pair_list=tmp_path / "list.txt")
    assert [p.name for p in found.pairs] == ["0", "2"] and found.split == ""
    assert found.pairs[1].label == root / "labels/train/2.png"


@pytest.mark.parametrize(
    "lines, says",
    [
        ("images/train/0.jpg", "line 1 has 1 columns"),
        ("images/train/0.jpg labels/train/9.png", "line 1: there is no file 'labels/train/9.png'"),
        ("images/train/0.jpg labels/train/0.png\n" * 2, "two images named '0'"),
        ("# nothing", "lists no pairs"),
        ("a.jpg," + "b" * 200_000, "line 1: field larger"),
        ("a.jpg " + "b" * 300, "line 1: there is no file 'a.jpg'"),
        ("b" * 300 + ".jpg a.png", "line 1: there is no file 'bbb"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused_with_its_line(tmp_path, lines, says):
    root = write_two_folders(tmp_path)
    (root / "list.txt").write_text(lines)
    with pytest.raises(PriorError, match=says):
        find_dataset("pairs", root, "", pair_list=root / "list.txt")
    with pytest.raises(PriorError, match=r"a list .* folders or endings as well"):
        find_dataset("pairs", root, "", pair_list=root / "list.txt", images="images")
    with pytest.raises(
        PriorError, match=r"there is no list .*lost; expected a file of two columns"
    ):
        find_dataset("pairs", root, "", pair_list=root / "lost")


def test_a_list_may_be_as_long_as_large_datasets_are(tmp_path):
    root = write_two_folders(tmp_path)
    lines = [f"#{'a' * 98}\n"] * 50_000
    (root / "list.txt").write_text("".join([*lines, "images/train/0.jpg labels/train/0.png"]))
    assert len(find_dataset("pairs", root, "", pair_list=root / "list.txt").pairs) == 1


@pytest.mark.parametrize(
    "name", ["{i}/{c}", "{c}/{i}", "{i}_{c}", "{i}-{c}", "{i}/{c}_2", "{i}_{c}_07", "{c}/deep/{i}"]
)
def test_masks_are_named_by_image_and_class_in_either_order(tmp_path, name):
    deep = "deep/" if "deep" in name else ""
    save(tmp_path / f"images/{deep}a_1.jpg", photo(*MASK_IDS.shape))
    for class_id, text in ((1, "garden_shed"), (2, "Lawn")):
        mask = (class_id == MASK_IDS).astype(np.uint8) * (255 if class_id == 1 else 1)
        save(tmp_path / f"masks/{name.format(i='a_1', c=text)}.png", mask)
    found = find_tree("masks", tmp_path)
    assert np.array_equal(found.dataset(SIZE)[0].labels.numpy(), MASK_IDS)


def test_masks_of_label_studio_go_by_its_export(tmp_path):
    root = write_label_studio(tmp_path)
    found = find_tree("masks", root)
    assert [p.name for p in found.pairs] == ["yard-0", "yard-1", "yard-2"] and not found.unpaired
    for i in range(3):
        assert np.array_equal(found.dataset(SIZE)[i].labels.numpy(), MASK_IDS)
    (export,) = root.glob("*.json")
    whole = export.read_text()
    # A text beside the image that is no address, as a user name with hyphens is no tag.
    export.write_text(whole.replace('"image": ', '"text": "http://[x", "image": '))
    for path in list((root / "masks").glob("task-8-*")):
        path.rename(path.with_name(path.name.replace("by-me", "by-anna-m")))
    again = find_tree("masks", root)
    assert [pair.name for pair in again.pairs] == [pair.name for pair in found.pairs]
    assert np.array_equal(again.dataset(SIZE)[1].labels.numpy(), MASK_IDS)
    export.write_text("[]")
    with pytest.raises(PriorError, match=r"no image has a mask.* Expected Label Studio's JSON"):
        find_tree("masks", root)
    export.write_text(whole)
    other = root / "masks/task-7-annotation-99-by-me@example.org-brush-tag-lawn-0.png"
    save(other, np.zeros((8, 8), np.uint8))
    with pytest.raises(PriorError, match="task 7 has masks of annotations 20 and 99; keep"):
        find_tree("masks", root)
    other.unlink()
    next(root.glob("*.json")).unlink()
    with pytest.raises(PriorError, match="named by numbers of tasks; put its JSON export"):
        find_tree("masks", root)


def test_masks_that_overlap_are_of_no_class_there_and_the_rest_is_background(tmp_path):
    root = write_masks(tmp_path)
    save(root / "masks/train/0/lawn.png", np.full(MASK_IDS.shape, 255, np.uint8))
    want = np.where(MASK_IDS == 1, -1, 2)
    assert np.array_equal(find_tree("masks", root).dataset(SIZE)[0].labels.numpy(), want)
    names = {1: "garden shed", 2: "lawn"}
    bare = Palette("bare", {i: MASK_PALETTE.colors[i] for i in names}, names)
    found = find_dataset("masks", root, "train", palette=bare)
    want = np.where(MASK_IDS == 0, -1, MASK_IDS)
    assert np.array_equal(found.dataset(SIZE)[1].labels.numpy(), want)


def test_masks_that_cannot_be_meant_are_refused(tmp_path):
    root = write_masks(tmp_path)
    with pytest.raises(
        PriorError, match=r"masks in .*train are of 'garden_shed', 'lawn'; give the"
    ):
        find_dataset("masks", root, "train")
    save(root / "masks/train/0/pond.png", np.zeros(MASK_IDS.shape, np.uint8))
    with pytest.raises(PriorError, match=r"mask pond\.png: palette 'yard' has no class 'pond'"):
        find_tree("masks", root)
    (root / "masks/train/0/pond.png").unlink()
    save(root / "masks/train/0/lawn.png", MASK_IDS.astype(np.uint8) * 3)
    with pytest.raises(PriorError, match=r"lawn\.png holds 3 levels up to 6; expected a mask of"):
        find_tree("masks", root).dataset(SIZE)[0]
    save(root / "masks/train/0/lawn.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(PriorError, match=r"lawn\.png has 4x4 pixels, others of .* have 60x10"):
        find_tree("masks", root).dataset(SIZE)[0]


def test_who_must_stay_inside_folders_is_asked_before_anything_is_read(tmp_path):
    for layout in LAYOUTS:
        root = WRITERS[layout](tmp_path / layout)
        asked = []
        find_dataset(
            layout,
            root,
            "train",
            palette=MASK_PALETTE if layout == "masks" else None,
            check=lambda name, path, asked=asked: asked.append(path),
        )
        found = find_tree(layout, root)
        for pair in found.pairs:
            for path in (pair.image, pair.label):
                assert any(str(folder) in asked for folder in path.parents)
        told = {"coco-panoptic": "panoptic_train2017.json", "voc": "train.txt"}
        told["mapillary-vistas-v2"] = "config_v2.0.json"
        if layout in told:
            assert any(path.endswith(told[layout]) for path in asked)


def test_json_is_read_an_entry_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK", 5)
    data = {"a": [1, -23.5, "x]\u00fc", {"b": [None, True]}], "c": {"d": []}, "e": [], "f": 7}
    path = tmp_path / "a.json"
    for indent in (None, 1):
        path.write_text(json.dumps(data, indent=indent))
        assert list(entries_of_lists(path)) == [("a", entry) for entry in data["a"]]
    path.write_text(json.dumps([1, [2]]))
    assert list(entries_of_lists(path)) == [("", 1), ("", [2])]
    whole = json.dumps(data)
    for end in range(len(whole)):
        path.write_text(whole[:end])
        with pytest.raises(ValueError):
            list(entries_of_lists(path))
    for wrong in ("{}}", '{"a": [1 2]}', "{1: [2]}", "7", '{"a": [' + "[" * 100_000):
        path.write_text(wrong)
        with pytest.raises(ValueError):
            list(entries_of_lists(path))


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
        "4 of 7 images are among them under another name as well, by links, and count "
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
