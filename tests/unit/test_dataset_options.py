"""Laws of the options that name a dataset: every command means the same files by them."""

import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dev.dataset_trees import (
    LABEL_IDS,
    MASK_IDS,
    MASK_PALETTE,
    PANOPTIC_SEGMENTS,
    TRAIN_IDS,
    WRITERS,
    blocks,
    save,
    write_ade_full,
    write_cityscapes,
    write_coco_panoptic,
    write_masks,
    write_two_folders,
)
from prior_tools import PALETTES, PriorError
from prior_tools.building.ranks import Ranks
from prior_tools.cli import _parser, main
from prior_tools.cli.build import _identity, _UsedFiles
from prior_tools.cli.dataset_options import named_labels, read_layout
from prior_tools.datasets.label_folders import label_maps_in
from prior_tools.datasets.layouts import LAYOUTS, recognise_dataset
from prior_tools.evaluation.files import match_generated
from prior_tools.generating.jobs import plan
from prior_tools.generating.label_maps import find_label_maps, upload_data, upload_name
from prior_tools.json_stream import entries_of_lists

NEEDED = {
    "build": ["--vae", "v", "--size", "8x8", "--out", "o"],
    "generate": ["--workflow", "w", "--out", "o", "--server", "http://127.0.0.1:1"],
    "evaluate": ["--generated", "g"],
}


def parsed(command, *options):
    return _parser().parse_args([command, *NEEDED[command], *map(str, options)])


def pixels_of(data):
    return np.array(Image.open(io.BytesIO(data)))


def of_dataset(layout, root, *options):
    more = ["--palette", palette_file(root)] if layout == "masks" else []
    return ["--dataset", layout, "--root", root, *more, *options]


def palette_file(folder):
    """The masks' palette as a file."""
    path = folder.parent / "yard.json"
    rows = [{"id": i, "name": n} for i, n in MASK_PALETTE.names.items()]
    path.write_text(json.dumps({"classes": rows}))
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_options_are_the_same_files_in_every_command(tmp_path, layout):
    root = WRITERS[layout](tmp_path / "data")
    options = of_dataset(layout, root, "--split", "train")
    found = read_layout(parsed("build", *options))
    for command in ("generate", "evaluate"):
        named = named_labels(parsed(command, *options))
        assert named.labels == {pair.name: pair.label for pair in found.pairs}
        assert named.images == {pair.name: pair.image for pair in found.pairs}
        # What pairs hold nobody knows who is not told.
        assert named.rules == (None if layout == "pairs" else found.rules)
    images = tmp_path / "images"
    for name in named.labels:
        for k in range(2):
            save(images / f"{name}_{k:02d}.png", np.zeros((8, 8, 3), np.uint8))
    matched = match_generated(images, named.labels)
    assert len(matched) == 2 * len(found.pairs)
    assert {image.map: image.label for image in matched} == named.labels


def test_a_frame_of_cityscapes_is_one_label_map_in_the_colors_of_its_classes(tmp_path):
    """Its color, ids and instances were three, and the ids of instances ended the run."""
    root = write_cityscapes(tmp_path)
    named = named_labels(parsed("generate", "--dataset", "cityscapes", "--root", root))
    assert named.title == f"cityscapes train in {root}"
    maps, _ = find_label_maps(named.labels, named.rules)
    jobs = plan(maps, 1, 1, 0)
    assert len(jobs) == 4 and jobs[0].files == ("aachen/aachen_000000_000000_00.png",)
    sent = pixels_of(upload_data([maps[0]]))
    ids = torch.from_numpy(TRAIN_IDS.astype(np.int64))
    assert np.array_equal(sent, PALETTES["cityscapes"].paint(ids).numpy())


def test_a_folder_of_several_kinds_of_label_files_is_refused_before_the_run(tmp_path):
    labels = write_cityscapes(tmp_path) / "gtFine/train"
    said = (
        r"several files of each image: 4 \*_gtFine_color\.png, 4 \*_gtFine_instanceIds\.png, "
        r".*--label-suffix _gtFine_labelIds\.png, or the dataset itself, with --dataset"
    )
    for command in ("generate", "evaluate"):
        with pytest.raises(PriorError, match=said):
            named_labels(parsed(command, "--labels", labels))
        options = ("--labels", labels, "--label-suffix", "_gtFine_labelIds.png")
        named = named_labels(parsed(command, *options))
        assert named.title == str(labels)
        assert min(named.labels) == "aachen/aachen_000000_000000"
        read = np.array(Image.open(named.labels["bochum/bochum_000000_000007"]))
        assert np.array_equal(read, LABEL_IDS)
    with pytest.raises(PriorError, match=r"1 \*_parts_1\.png, 1 \*_seg\.png"):
        label_maps_in(write_ade_full(tmp_path / "ade") / "images/ADE/training/cultural")


def test_folders_with_one_kind_keep_their_names(tmp_path):
    labels = write_cityscapes(tmp_path, kinds=("labelIds",)) / "gtFine/train"
    for path in labels.rglob("*instanceIds.png"):
        path.unlink()
    assert min(label_maps_in(labels)) == "aachen/aachen_000000_000000_gtFine_labelIds"
    with pytest.raises(PriorError, match=r"holds no files NAME_gtFine_color\.png"):
        label_maps_in(labels, "_gtFine_color.png")


def test_label_maps_that_cannot_be_sent_are_told_of_before_the_run(tmp_path):
    save(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    save(tmp_path / "b.png", np.full((4, 4), 26000, np.uint16))
    with pytest.raises(PriorError, match=r"label map b\.png holds class id 26000; ids go"):
        find_label_maps(label_maps_in(tmp_path))


@pytest.mark.parametrize(
    "options, says",
    [
        ((), "there are no label maps; name their folder by --labels, or a dataset"),
        (("--labels", "x", "--dataset", "ade20k"), "--dataset is for a dataset; leave one out"),
        (("--labels", "x", "--list", "l"), "--list is for a dataset; leave one out"),
        (("--labels", "x", "--id-map", "1=0"), "--id-map needs --palette"),
        (("--dataset", "ade20k"), "--root is missing; give the folder of the ade20k dataset"),
        (("--list", "l", "--split", "val"), "--split was given with --list"),
        (("--list", "l", "--dataset", "kitti", "--root", "."), "a list of pairs came with layout"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PriorError, match=says):
        named_labels(parsed("generate", *options))


def test_build_says_which_datasets_it_knows(capsys):
    assert main(["build", *NEEDED["build"]]) == 2
    assert "--dataset is missing; expected one of cityscapes, ade20k," in capsys.readouterr().err


def test_a_list_is_relative_to_its_own_folder(tmp_path):
    root = write_two_folders(tmp_path)
    (root / "val.txt").write_text("images/val/1.jpg labels/val/1.png\n")
    named = named_labels(parsed("evaluate", "--list", root / "val.txt", "--palette", "grey_ids"))
    assert named.labels == {"1": root / "labels/val/1.png"} and named.rules.palette.is_grey
    # A list is read again as it is, whatever lies beside its files.
    named.check_output(root / "labels/val/new")


def test_images_are_not_put_among_the_files_of_the_dataset(tmp_path):
    root = write_two_folders(tmp_path)
    named = named_labels(parsed("generate", "--dataset", "pairs", "--root", root))
    for folder in ("images/train/new", "labels/train"):
        with pytest.raises(PriorError, match="would be taken for files of the dataset"):
            named.check_output(root / folder)
    named.check_output(root / "new")


def test_what_other_files_tell_of_label_maps_is_part_of_what_is_sent(tmp_path):
    root = write_coco_panoptic(tmp_path)
    options = parsed("generate", "--dataset", "coco-panoptic", "--root", root)
    named = named_labels(options)
    maps, _ = find_label_maps(named.labels, named.rules)
    ids = np.vectorize(PANOPTIC_SEGMENTS.get)(blocks(list(PANOPTIC_SEGMENTS), 3, 20))
    painted = named.rules.palette.paint(torch.from_numpy(ids)).numpy()
    assert np.array_equal(pixels_of(upload_data(maps[:1])), painted)
    path = root / "annotations/panoptic_train2017.json"
    path.write_text(path.read_text().replace('"category_id": 3', '"category_id": 1'))
    named = named_labels(options)
    others, _ = find_label_maps(named.labels, named.rules)
    assert others[0].sha256 != maps[0].sha256 and upload_name(others[:1]) != upload_name(maps[:1])


def test_all_masks_of_an_image_count(tmp_path):
    root = write_masks(tmp_path / "data")
    options = ("generate", *of_dataset("masks", root))
    named = named_labels(parsed(*options))
    (first, *_), _ = find_label_maps(named.labels, named.rules)
    painted = named.rules.palette.paint(torch.from_numpy(MASK_IDS)).numpy()
    assert np.array_equal(pixels_of(upload_data([first])), painted)
    layout = read_layout(parsed("build", *options[1:]))
    used = _UsedFiles(layout.dataset((8, 8)), 1, Ranks())
    before = used(1)
    save(root / "masks/train/0/lawn.png", np.full(MASK_IDS.shape, 255, np.uint8))
    (again, *_), _ = find_label_maps(named.labels, named.rules)
    assert again.sha256 != first.sha256
    assert _UsedFiles(layout.dataset((8, 8)), 1, Ranks())(1) != before


def identity(args):
    layout = read_layout(args)
    return _identity(args, layout, layout.dataset((8, 8)), Ranks())


def test_a_build_does_not_go_on_with_other_classes_of_segments(tmp_path):
    root = write_coco_panoptic(tmp_path)
    args = parsed("build", "--dataset", "coco-panoptic", "--root", root)
    before = identity(args)
    path = root / "annotations/panoptic_train2017.json"
    path.write_text(path.read_text().replace('"category_id": 3', '"category_id": 1'))
    after = identity(args)
    assert [name for name in before if before[name] != after[name]] == [
        "classes that other files tell"
    ]


@pytest.mark.parametrize(
    "layout, palette",
    [
        ("cityscapes", "cityscapes"),
        ("kitti", "cityscapes_label_ids"),
        ("ade20k", "ade20k_base7"),
        ("voc", "pascal_voc"),
        ("bdd100k", "cityscapes"),
        ("mapillary-vistas", "mapillary_vistas"),
    ],
)
def test_a_dataset_is_recognised_by_its_folders_and_its_classes(tmp_path, layout, palette):
    root = WRITERS[layout](tmp_path)
    found = recognise_dataset(root, "train", PALETTES[palette])
    assert (found.name, found.palette.name) == (layout, palette)
    with pytest.raises(PriorError, match=f"holds {layout}, .* not of 'camvid'; choose"):
        recognise_dataset(root, "train", PALETTES["camvid"])


def test_what_is_no_dataset_or_two_is_said(tmp_path):
    with pytest.raises(PriorError, match="is empty: no dataset that is known by its folders"):
        recognise_dataset(tmp_path, "train", PALETTES["ade20k"])
    WRITERS["voc"](tmp_path)
    write_cityscapes(tmp_path)
    assert recognise_dataset(tmp_path, "val", PALETTES["pascal_voc"]).name == "voc"
    with pytest.raises(PriorError, match=r"holds cityscapes, .*holds voc, "):
        recognise_dataset(tmp_path, "train", PALETTES["ade20k"])


def test_json_files_of_any_size_take_little_memory(tmp_path):
    entry = {"segments_info": [{"id": 8**7 + i, "category_id": 7} for i in range(50)]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"annotations": [entry] * 3000}))
    tracemalloc.start()
    assert sum(1 for _ in entries_of_lists(path)) == 3000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 5_000_000 > 5 * peak


def test_the_docs_list_every_layout():
    text = (Path(__file__).parents[2] / "docs/command_line.md").read_text(encoding="utf-8")
    assert [name for name in LAYOUTS if f"\n| `{name}` |" not in text] == []
