"""Laws of `export`: what is written is what the label maps say, in each form, whatever happens."""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dev.leftovers import killed_while_writing
from prior_tools import PALETTES, PriorError, find_dataset
from prior_tools.cli import main
from prior_tools.datasets.label_files import read_label_file
from prior_tools.datasets.label_folders import label_maps_in
from prior_tools.evaluation.files import GeneratedImage, match_generated
from prior_tools.evaluation.scores import ImageScore, Scores
from prior_tools.exporting.choosing import choose
from prior_tools.exporting.forms import FORMS
from prior_tools.exporting.items import listed
from prior_tools.exporting.writing import shards
from prior_tools.labels.geometry import fit_labels
from prior_tools.labels.reading import LabelRules

# The label maps are of another shape than the images, and larger.
LABEL_SIZE, IMAGE_SIZE = (64, 48), (32, 20)
MAPS = ("aachen/a", "aachen/b", "c", "d.e")
PER_MAP = 2
# Form -> (palette of the label maps, what else the command needs).
SOURCES = {
    "cityscapes": ("cityscapes", ()),
    "ade20k": ("ade20k", ()),
    "coco-panoptic": ("coco_stuff", ()),
    "voc": ("pascal_voc", ()),
    "pairs": ("camvid", ()),
    "webdataset": ("camvid", ("--shards", "2")),
}


def write_label(path: Path, palette: str, seed: int) -> None:
    """Blocks of ten classes of the palette and of its ignored one."""
    rng = np.random.default_rng(seed)
    classes = [i for i in PALETTES[palette].colors if i not in PALETTES[palette].ignore_ids]
    ids = rng.choice([*rng.permutation(classes)[:10], PALETTES[palette].ignore_ids[0]], (12, 16))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.kron(ids, np.ones((4, 4), int)).astype(np.uint8)).save(path)


def write_source(root: Path, palette: str, maps=MAPS, per_map=PER_MAP, mirrored=False) -> Path:
    """Label maps and images of them, as `generate` leaves them."""
    lines = []
    for seed, name in enumerate(maps):
        write_label(root / f"labels/{name}.png", palette, seed)
        for stem in (name, f"{name}_mirrored")[: 1 + mirrored]:
            for k in range(per_map):
                path = root / f"images/{stem}_{k:02d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                rng = np.random.default_rng(int(hashlib.sha256(path.stem.encode()).hexdigest(), 16))
                levels = rng.integers(0, 256, (*IMAGE_SIZE[::-1], 3), np.uint8)
                Image.fromarray(levels).save(path)
                lines.append({"file": f"{stem}_{k:02d}.png", "seed": 7 + k, "settings": {"S.x": 2}})
    (root / "images/manifest.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in lines))
    workflow = {"1": {"class_type": "A", "inputs": {"ckpt_name": "m.safetensors", "n": 1}}}
    run = {"id": "x", "seed": 5, "workflow": workflow}
    (root / "images/generate.json").write_text(json.dumps(run))
    return root


def command(root: Path, form: str, palette: str, *more: str, out: str = "out") -> list[str]:
    paths = [
        "--generated",
        f"{root}/images",
        "--labels",
        f"{root}/labels",
        "--out",
        f"{root}/{out}",
    ]
    return ["export", *paths, "--format", form, "--palette", palette, *more]


def fails(capsys, argv: list[str]) -> str:
    assert main(argv) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("export: error: ")
    return line


def manifest(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def wanted(root: Path, palette: str, line: dict) -> np.ndarray:
    """Class ids of the palette, -1 = none, that the label file of a line is to hold."""
    rules = LabelRules(PALETTES[palette], PALETTES[palette].ignore_ids)
    name = line["label_map"].removesuffix("_mirrored") if line["mirrored"] else line["label_map"]
    ids = read_label_file(root / f"labels/{name}.png", rules).ids
    ids = ids.flip(-1) if line["mirrored"] else ids
    ids = fit_labels(ids, tuple(line["size"]))
    ignored = torch.tensor(PALETTES[palette].ignore_ids)
    return torch.where(torch.isin(ids, ignored), -1, ids).numpy()


def files_of(folder: Path) -> dict[str, bytes]:
    """All but the card, which holds the folder's name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("README.md", "dataset.json")
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """`exported(form)`: (folder of the source, folder of the dataset), made once."""
    made: dict[str, Path] = {}

    def of(form: str) -> tuple[Path, Path]:
        if form not in made:
            palette, more = SOURCES[form]
            made[form] = write_source(tmp_path_factory.mktemp(form), palette, mirrored=True)
            argv = command(made[form], form, palette, "--val", "0.4", "--license", "cc0-1.0", *more)
            assert main(argv) == 0
        return made[form], made[form] / "out"

    return of


# what is written


def read_back(out: Path, form: str, line: dict) -> np.ndarray:
    """Class ids of the palette in the label file of a line, -1 = none, by the form's own rules."""
    if form == "webdataset":
        with tarfile.open(out / line["files"][0]) as archive:
            data = archive.extractfile(f"{line['key']}.seg.png").read()
        ids = np.array(Image.open(io.BytesIO(data))).astype(int)
        return np.where(ids == 11, -1, ids)
    path = next(
        file for file in line["files"] if file.endswith(".png") and file != line["files"][0]
    )
    ids = np.array(Image.open(out / path)).astype(int)
    if form == "cityscapes":
        train_ids = np.full(256, -1)
        for train_id, name in PALETTES["cityscapes"].names.items():
            numbers = PALETTES["cityscapes_label_ids"].names
            train_ids[next(i for i, other in numbers.items() if other == name)] = train_id
        return train_ids[ids]
    if form == "coco-panoptic":
        # COCO's categories are one more than the values of its pixel maps; 0 is none.
        return ids @ [1, 256, 65536] - 1
    return np.where(ids == {"ade20k": 0, "voc": 255, "pairs": 11}[form], -1, ids)


@pytest.mark.parametrize("form", FORMS)
def test_every_label_is_that_of_the_label_map_at_its_image_s_size(exported, form):
    root, out = exported(form)
    lines = manifest(out)
    assert len(lines) == 2 * PER_MAP * len(MAPS)
    for line in lines:
        ids = read_back(out, form, line)
        assert np.array_equal(ids, wanted(root, SOURCES[form][0], line))
        assert ids.shape == IMAGE_SIZE[::-1] and line["size"] == list(IMAGE_SIZE)
        assert line["void"] == (ids == -1).sum()
        assert sum(line["pixels"].values()) + line["void"] == ids.size


@pytest.mark.parametrize("form", FORMS)
def test_images_are_those_that_were_generated(exported, form):
    root, out = exported(form)
    for line in manifest(out):
        given = np.array(Image.open(root / "images" / line["image"])).astype(int)
        if form == "webdataset":
            with tarfile.open(out / line["files"][0]) as archive:
                data = archive.extractfile(f"{line['key']}.png").read()
            assert data == (root / "images" / line["image"]).read_bytes()
            continue
        path = out / line["files"][0]
        with Image.open(path) as picture:
            assert {"PNG": ".png", "JPEG": ".jpg"}[picture.format] == path.suffix
            # Noise is what JPEG is worst at.
            most = 0 if picture.format == "PNG" else 4
            assert np.abs(np.array(picture) - given).mean() <= most
        assert line["written_anew"] == (path.suffix == ".jpg")


@pytest.mark.parametrize(
    ("form", "layout", "inner"),
    [
        ("cityscapes", "cityscapes", ""),
        ("ade20k", "ade20k", ""),
        ("coco-panoptic", "coco-panoptic", ""),
        ("voc", "voc", "VOCdevkit/VOC2012"),
        ("pairs", "pairs", ""),
    ],
)
def test_the_trees_are_those_that_a_build_reads(exported, form, layout, inner):
    root, out = exported(form)
    lines = {line["files"][0]: line for line in manifest(out)}
    for split in ("train", "val"):
        found = find_dataset(layout, out / inner, split)
        assert found.pairs and not found.unpaired
        for pair in found.pairs:
            line = lines.pop(pair.image.relative_to(out).as_posix())
            assert line["split"] == split
            ids = read_label_file(pair.label, found.rules).ids
            if layout == "coco-panoptic":
                # By the categories of its JSON, which count from 1.
                assert found.palette.names[1] == "person"
                ids = torch.where(ids > 0, ids - 1, -1)
            ids = torch.where(torch.isin(ids, torch.tensor(found.ignore_ids)), -1, ids).numpy()
            assert np.array_equal(ids, wanted(root, SOURCES[form][0], line))
    assert not lines


def test_label_maps_of_a_dataset_are_named_by_its_layout(exported, tmp_path):
    _, root = exported("cityscapes")
    layout = find_dataset("cityscapes", root, "train")
    for pair in layout.pairs:
        path = tmp_path / f"images/{pair.name}_00.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pair.image, path)
    argv = ["export", "--generated", f"{tmp_path}/images", "--out", f"{tmp_path}/out"]
    argv += ["--dataset", "cityscapes", "--root", str(root), "--split", "train"]
    assert main([*argv, "--format", "pairs"]) == 0
    lines = {line["label_map"]: line for line in manifest(tmp_path / "out")}
    assert lines.keys() == {pair.name for pair in layout.pairs}
    for pair in layout.pairs:
        ids = np.array(Image.open(tmp_path / "out" / lines[pair.name]["files"][1]))
        assert np.array_equal(ids, read_label_file(pair.label, layout.rules).ids.numpy())


def test_cityscapes_files_agree_and_are_named_as_its_own(exported):
    _, out = exported("cityscapes")
    colors = PALETTES["cityscapes"]
    for line in manifest(out):
        image, label_ids, train_ids, color = line["files"]
        city, sequence, frame, ending = Path(image).name.split("_", 3)
        assert ending == "leftImg8bit.png" and len(sequence) == len(frame) == 6
        assert city == ("aachen" if line["label_map"].startswith("aachen/") else "generated")
        stem = image.removeprefix("leftImg8bit/").removesuffix("_leftImg8bit.png")
        assert label_ids == f"gtFine/{stem}_gtFine_labelIds.png"
        ids = np.array(Image.open(out / train_ids))
        painted = np.array(Image.open(out / color))
        assert painted.shape[-1] == 4 and (painted[..., 3] == 255).all()
        known = ids != 255
        want = colors.paint(torch.from_numpy(ids[known].astype(np.int64))).numpy()
        assert np.array_equal(painted[known][:, :3], want)
        assert (painted[~known][:, :3] == 0).all()
        assert (np.array(Image.open(out / label_ids))[~known] == 0).all()


def test_a_pole_group_has_the_color_of_the_dataset(tmp_path):
    Image.fromarray(np.full((8, 8), 18, np.uint8)).save(tmp_path / "x_labelIds.png")
    for folder, name in (("labels", "a"), ("images", "a")):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((8, 8, 3), 18, np.uint8)).save(tmp_path / folder / f"{name}.png")
    assert main(command(tmp_path, "cityscapes", "cityscapes_label_ids")) == 0
    files = manifest(tmp_path / "out")[0]["files"]
    found = [np.array(Image.open(tmp_path / "out" / file))[0, 0] for file in files[1:]]
    assert found[0] == 18 and found[1] == 255 and found[2].tolist() == [153, 153, 153, 255]


def test_coco_lists_each_class_as_one_segment(exported):
    _, out = exported("coco-panoptic")
    lines = {line["number"]: line for line in manifest(out)}
    for split, folder in (("train", "train2017"), ("val", "val2017")):
        data = json.loads((out / f"annotations/panoptic_{folder}.json").read_text())
        names = {row["id"]: row["name"] for row in data["categories"]}
        assert names[1] == "person" and names[182] == "wood" and len(names) == 171
        assert {row["isthing"] for row in data["categories"]} == {0}
        assert "One segment a class" in data["info"]["description"]
        assert len(data["images"]) == len(data["annotations"]) > 0
        for image, entry in zip(data["images"], data["annotations"], strict=True):
            line = lines.pop(entry["image_id"])
            assert image["id"] == entry["image_id"] and line["split"] == split
            assert (image["width"], image["height"]) == IMAGE_SIZE
            assert (out / f"images/{folder}" / image["file_name"]).is_file()
            picture = np.array(
                Image.open(out / f"annotations/panoptic_{folder}/{entry['file_name']}")
            )
            ids = picture.astype(int) @ [1, 256, 65536]
            assert (
                sorted(row["id"] for row in entry["segments_info"])
                == np.unique(ids[ids > 0]).tolist()
            )
            for row in entry["segments_info"]:
                there = ids == row["id"]
                x, y, w, h = row["bbox"]
                assert there[y : y + h, x : x + w].sum() == there.sum() == row["area"]
                assert there[:, x].any() and there[:, x + w - 1].any()
                assert there[y].any() and there[y + h - 1].any()
    assert not lines


def test_torchvision_reads_voc_and_cityscapes(exported):
    datasets = pytest.importorskip("torchvision.datasets")
    root, out = exported("voc")
    lines = {Path(line["files"][0]).stem: line for line in manifest(out)}
    assert len(datasets.VOCSegmentation(str(out), image_set="trainval")) == len(lines)
    for split in ("train", "val"):
        found = datasets.VOCSegmentation(str(out), image_set=split)
        for index, path in enumerate(found.images):
            line = lines.pop(Path(path).stem)
            image, label = found[index]
            ids = np.array(label).astype(int)
            assert line["split"] == split and image.size == label.size
            assert np.array_equal(np.where(ids == 255, -1, ids), wanted(root, "pascal_voc", line))
    assert not lines
    root, out = exported("cityscapes")
    lines = {str(out / line["files"][0]): line for line in manifest(out)}
    found = datasets.Cityscapes(str(out), "val", "fine", ["semantic", "color"])
    evaluated = {c.id: c.train_id for c in found.classes if not c.ignore_in_eval}
    assert len(found)
    for index, path in enumerate(found.images):
        image, (label, _) = found[index]
        ids = np.vectorize(lambda i: evaluated.get(i, -1))(np.array(label))
        assert image.size == label.size
        assert np.array_equal(ids, wanted(root, "cityscapes", lines[str(path)]))


def test_the_card_says_what_is_in_it_and_where_it_is_from(exported):
    root, out = exported("cityscapes")
    data = json.loads((out / "dataset.json").read_text())
    lines = manifest(out)
    for split in ("train", "val"):
        own = [line for line in lines if line["split"] == split]
        assert data["images"][split] == len(own)
        assert data["label_maps"][split] == len({line["label_map"] for line in own})
        for row in data["classes"]:
            pixels = [line["pixels"].get(str(row["id"]), 0) for line in own]
            assert row["pixels"][split] == sum(pixels)
            assert row["images"][split] == sum(map(bool, pixels))
    assert {row["name"] for row in data["classes"]} <= {*PALETTES["cityscapes"].names.values()}
    run = json.loads((root / "images/generate.json").read_text())
    digest = hashlib.sha256(json.dumps(run["workflow"], sort_keys=True).encode()).hexdigest()
    generator = data["generator"]
    assert generator["workflow_sha256"] == digest and generator["models"] == ["m.safetensors"]
    assert generator["seed"] == 5 and generator["settings"] == {"S.x": 2}
    assert {line["seed"] for line in lines} == {7, 8}
    assert data["license"] == "cc0-1.0" and data["segmenter"] is None
    text = (out / "README.md").read_text()
    assert text.startswith("---\nlicense: cc0-1.0\n") and digest in text
    assert "nearest neighbor" in text and "| 7 | road |" in text


def test_images_of_unknown_origin_are_said_to_be_so(tmp_path):
    root = write_source(tmp_path, "camvid")
    (root / "images/generate.json").unlink()
    assert main(command(root, "pairs", "camvid")) == 0
    data = json.loads((root / "out/dataset.json").read_text())
    assert data["generator"]["name"] is None and data["license"] is None
    text = (root / "out/README.md").read_text()
    assert "Generator: not recorded" in text and "License: not stated" in text


# splits


def items_of(names, val: float):
    folder = Path("images")
    images = [
        GeneratedImage(folder / f"{n}_00.png", Path(f"{n}.png"), n, n.endswith("_mirrored"))
        for n in names
    ]
    return listed(images, folder, val)


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(0, 500), min_size=60), st.sets(st.integers(501, 900)))
def test_label_maps_that_are_added_move_no_other_and_mirrored_ones_go_along(some, more):
    names = [f"m{i}" for i in sorted(some)]
    split = {item.image.map: item.split for item in items_of(names, 0.3)}
    both = [*names, *(f"{n}_mirrored" for n in names), *(f"m{i}" for i in sorted(more))]
    after = {item.image.map: item.split for item in items_of(both, 0.3)}
    assert all(after[name] == after[f"{name}_mirrored"] == split[name] for name in names)


def test_so_many_label_maps_go_to_val_as_asked_for():
    names = [f"m{i}" for i in range(4000)]
    found = {
        val: {i.number for i in items_of(names, val) if i.split == "val"} for val in (0.1, 0.2)
    }
    assert abs(len(found[0.1]) - 400) < 60 and found[0.1] < found[0.2]
    assert {item.split for item in items_of(names[:3], 0)} == {"train"}
    with pytest.raises(PriorError, match="--val is 1; expected a share"):
        items_of(names, 1)
    with pytest.raises(PriorError, match=r"--val 0\.0001 of 3 label maps leaves split 'val' empty"):
        items_of(names[:3], 0.0001)


# classes


def test_classes_that_the_form_lacks_are_refused_by_name_or_mapped(tmp_path, capsys):
    root = write_source(tmp_path, "camvid")
    said = fails(capsys, command(root, "cityscapes", "camvid"))
    assert "form cityscapes has no class for" in said and "tree (5)" in said
    assert "tree=vegetation" in said and "sky" not in said.partition("--id-map")[0]
    assert not (root / "out").exists()
    hint = said.partition("--id-map '")[2].partition("'")[0]
    assert main(command(root, "cityscapes", "camvid", "--id-map", hint)) == 0
    label_ids = {name: i for i, name in PALETTES["cityscapes_label_ids"].names.items()}
    partners = {**{n: n for n in label_ids}, **dict(e.split("=") for e in hint.split(","))}
    for line in manifest(root / "out"):
        ids = np.array(Image.open(root / "out" / line["files"][1]))
        for class_id, name in PALETTES["camvid"].names.items():
            there = wanted(root, "camvid", line) == class_id
            if there.any():
                assert set(ids[there].tolist()) == {label_ids[partners[name]]}
    # By ids, of the palette and of the form, from a file as well; and none.
    (root / "map.txt").write_text("5 21\n1 11 # building\n4=8\n6-10=-1\n")
    numbers = "5=21,1=11,4=8,6-10=-1"
    for number, text in enumerate((numbers, str(root / "map.txt"))):
        out = f"ids{number}"
        assert main(command(root, "cityscapes", "camvid", "--id-map", text, out=out)) == 0
        assert "written as no class:" in capsys.readouterr().out
        data = json.loads((root / out / "dataset.json").read_text())
        assert {row["name"] for row in data["classes"]} >= {"vegetation", "building", "sidewalk"}
        assert "car" not in {row["name"] for row in data["classes"]}
    (first, second) = (files_of(root / name) for name in ("ids0", "ids1"))
    assert first == second


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("5=99", "names class ids 99 of the form"),
        ("tree=shrub", "palette 'cityscapes_label_ids' has no class 'shrub'"),
        ("bush=vegetation", "palette 'camvid' has no class 'bush'"),
        ("shifted_up_by_one", "is of values in label files"),
        ("lost.txt", "--id-map is 'lost.txt', and there is no such file; expected CLASS=CLASS"),
        ("car=none,tree", "--id-map holds 'tree'; expected CLASS = CLASS or = none"),
    ],
)
def test_maps_of_classes_that_are_none_are_refused(tmp_path, capsys, text, says):
    root = write_source(tmp_path, "camvid", maps=("a",))
    assert says in fails(capsys, command(root, "cityscapes", "camvid", "--id-map", text))


def test_of_the_form_s_own_palette_an_id_map_is_of_the_files_as_in_evaluate(tmp_path):
    root = write_source(tmp_path, "ade20k")
    assert main(command(root, "ade20k", "ade20k")) == 0
    for path in (root / "labels").rglob("*.png"):
        ids = np.array(Image.open(path))
        Image.fromarray(np.where(ids == 0, 255, ids - 1).astype(np.uint8)).save(path)
    argv = command(root, "ade20k", "ade20k", "--id-map", "shifted_up_by_one", out="up")
    assert main(argv) == 0
    one, other = (files_of(root / name) for name in ("out", "up"))
    assert {n for n in one if one[n] != other[n]} <= {"export.json"}


def test_ids_of_more_than_eight_bits_are_written_in_sixteen(tmp_path):
    root = write_source(tmp_path, "camvid", maps=("a",), per_map=1)
    rows = [{"id": 3, "name": "x"}, {"id": 700, "name": "y"}, {"id": 255, "name": "z"}]
    (root / "p.json").write_text(json.dumps({"classes": rows}))
    ids = np.kron([[3, 700], [255, 3]], np.ones((16, 16), int)).astype(np.uint16)
    Image.fromarray(ids).save(root / "labels/a.png")
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(root / "images/a_00.png")
    assert main(command(root, "pairs", str(root / "p.json"))) == 0
    assert np.array_equal(np.array(Image.open(root / "out/labels/train/a_00.png")), ids)


# what is chosen


def chosen(mious: dict[str, float | None], **options) -> list[str]:
    images = [
        GeneratedImage(Path(f"images/{name}.png"), Path("a.png"), name.rpartition("_")[0])
        for name in mious
    ]
    found = {f"{n}.png": ImageScore(f"{n}.png", "", "", miou, {3: 9}) for n, miou in mious.items()}
    scores = Scores(Path("scores"), {}, (), "", "cityscapes", found)
    choice = choose(listed(images, Path("images"), 0), scores, **options)
    assert {item.stem for item in choice.items} == {*mious} - {n[:-4] for n in choice.dropped}
    assert choice.images[3] - choice.dropped_images[3] == len(choice.items)
    assert choice.pixels[3] - choice.dropped_pixels[3] == 9 * len(choice.items)
    return [item.stem for item in choice.items]


def test_the_best_of_each_label_map_are_kept_or_of_all():
    several = {"a_0": 0.9, "a_1": 0.8, "a_2": 0.7, "b_0": 0.3, "b_1": 0.1, "b_2": None}
    assert chosen(several, keep=0.34) == ["a_0", "b_0"]
    assert chosen(several, keep=0.6) == ["a_0", "a_1", "b_0", "b_1"]
    assert chosen(several, keep=0.01) == ["a_0", "b_0"]
    assert chosen(several, keep=1) == list(several)
    assert chosen(several, least=0.3) == ["a_0", "a_1", "a_2", "b_0"]
    assert chosen(several, keep=0.6, least=0.2) == ["a_0", "a_1", "b_0"]
    alone = {f"{n}_0": miou for n, miou in zip("abcde", (0.5, 0.1, None, 0.4, 0.3), strict=True)}
    assert chosen(alone, keep=0.8) == ["a_0", "b_0", "d_0", "e_0"]
    with pytest.raises(PriorError, match="none of 5 images is left"):
        chosen(alone, least=0.9)
    with pytest.raises(PriorError, match="--keep is 80; expected"):
        chosen(alone, keep=80)


# going on


def test_cut_off_anywhere_an_export_goes_on_to_the_same_files(exported, tmp_path):
    for form in ("cityscapes", "coco-panoptic", "webdataset"):
        root, out = exported(form)
        whole = files_of(out)
        palette, more = SOURCES[form]
        argv = command(root, form, palette, "--val", "0.4", *more, out="again")
        assert main(argv) == 0
        again = root / "again"
        for seed in range(3):
            rng = np.random.default_rng(seed)
            path = again / "manifest.jsonl"
            lines = path.read_bytes()
            path.write_bytes(lines[: rng.integers(len(lines))])
            names = sorted(n for n in files_of(again) if n.endswith((".png", ".jpg", ".tar")))
            for name in rng.choice(names, len(names) // 3, replace=False):
                (again / name).unlink()
            (again / ".scp-0123.part").write_bytes(b"half")
            (again / "dataset.json").unlink()
            assert main(argv) == 0
            now = files_of(again)
            lines = now.pop("manifest.jsonl").splitlines()
            want = {n: data for n, data in whole.items() if n != "manifest.jsonl"}
            assert sorted(lines) == sorted(whole["manifest.jsonl"].splitlines())
            # The JSON lists images in the order in which they were written.
            ordered = {n for n in now if n.startswith("annotations/") and n.endswith(".json")}
            assert now.keys() == want.keys()
            assert {n for n in now if now[n] != want[n]} <= ordered
            assert (again / "dataset.json").is_file()
        shutil.rmtree(again)


def test_another_export_does_not_go_on(tmp_path, capsys):
    root = write_source(tmp_path, "camvid")
    argv = command(root, "pairs", "camvid")
    assert main(argv) == 0
    assert "val was 0.0 and is 0.5" in fails(capsys, [*argv, "--val", "0.5"])
    write_label(root / "labels/c.png", "camvid", 99)
    assert "images and label maps have changed since; choose" in fails(capsys, argv)
    (root / "strange").mkdir()
    (root / "strange/a.txt").touch()
    said = fails(capsys, command(root, "pairs", "camvid", out="strange"))
    assert "strange holds a.txt already, but no export.json" in said


def test_a_file_that_cannot_be_used_ends_the_export_and_leaves_no_half(tmp_path, capsys):
    root = write_source(tmp_path, "camvid")
    argv = command(root, "cityscapes", "camvid", "--id-map", "0-10=7")
    path = root / "images/c_01.png"
    data = path.read_bytes()
    path.write_bytes(data[:-200])
    assert "c_01.png cannot be read" in fails(capsys, argv)
    out = root / "out"
    assert not (out / "dataset.json").exists()
    for file in out.rglob("*.png"):
        Image.open(file).load()
    assert not list(out.rglob(".scp-*"))


def test_killed_while_it_wrote_its_record_it_begins_again(tmp_path):
    root = write_source(tmp_path, "camvid", maps=("a",), per_map=1)
    killed_while_writing(root / "out" / "export.json")
    assert main(command(root, "pairs", "camvid")) == 0
    assert not list(root.rglob(".scp-*"))


# links, names, shards


def test_images_are_linked_where_that_can_be(tmp_path, capsys):
    root = write_source(tmp_path, "camvid")
    argv = command(root, "pairs", "camvid", "--link")
    for _ in range(2):
        assert main(argv) == 0
        for line in manifest(root / "out"):
            assert (root / "out" / line["files"][0]).samefile(root / "images" / line["image"])
    voc = command(root, "voc", "camvid", "--id-map", "0-10=0", "--link", out="voc")
    assert "is written anew, since form voc has JPEG images" in fails(capsys, voc)
    said = fails(capsys, command(root, "webdataset", "camvid", "--link", out="w"))
    assert "archives hold copies" in said


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("cityscapes", "as PNG"),
        ("coco-panoptic", "as JPEG at quality 95, with all of its color"),
        ("pairs", "as PNG, or where they were JPEG as JPEG at quality 95, with all of its color"),
    ],
)
def test_it_is_said_what_images_are_written_as(tmp_path, capsys, form, says):
    root = write_source(tmp_path, "cityscapes", maps=("a",), per_map=1)
    Image.new("L", IMAGE_SIZE).save(root / "images/a_00.png")
    assert main(command(root, form, "cityscapes")) == 0
    assert f"1 image was written anew {says}" in " ".join(capsys.readouterr().out.split())
    assert f"- 1 image was written anew {says}.\n" in (root / "out/README.md").read_text()


def test_images_that_readers_would_see_otherwise_are_written_anew(tmp_path):
    root = write_source(tmp_path, "camvid", maps=("a",), per_map=1)
    levels = np.random.default_rng(0).integers(0, 256, (20, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(levels).save(root / "images/a_00.png", exif=exif)
    assert main(command(root, "pairs", "camvid")) == 0
    with Image.open(root / "out/images/train/a_00.png") as picture:
        assert not picture.getexif() and picture.size == IMAGE_SIZE
        assert np.array_equal(np.array(picture), levels[::-1, ::-1])


@pytest.mark.parametrize("number", [1, 3, 7])
def test_shards_hold_each_image_once_whole_and_mixed(tmp_path, number):
    root = write_source(tmp_path, "camvid", maps=[f"m{i}" for i in range(12)])
    assert main(command(root, "webdataset", "camvid", "--shards", str(number), "--val", "0.2")) == 0
    out = root / "out"
    sizes = {}
    found = set()
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = archive.getnames()
            sizes.setdefault(path.name.split("-")[0], []).append(len(members) // 3)
            for image, label, told in zip(*(members[i::3] for i in range(3)), strict=True):
                key = image.removesuffix(".png")
                assert (label, told) == (f"{key}.seg.png", f"{key}.json")
                found.add(json.loads(archive.extractfile(told).read())["image"])
    assert len(found) == 24 == sum(map(sum, sizes.values()))
    assert len(sizes["train"]) == number and max(sizes["train"]) - min(sizes["train"]) <= 1
    assert max(sizes["val"]) <= max(sizes["train"])
    # Neighbors are of several label maps.
    items = listed(
        match_generated(root / "images", label_maps_in(root / "labels")), root / "images", 0
    )
    ((_, mixed),) = shards(items, 100)
    assert [item.name for item in mixed] != [item.name for item in items]


def test_names_that_would_meet_are_refused(tmp_path, capsys):
    root = write_source(tmp_path, "camvid", maps=("d.e", "d_e"))
    said = fails(capsys, command(root, "webdataset", "camvid"))
    assert "images d.e_00.png and d_e_00.png would both be d_e_00" in said


def test_names_that_differ_in_case_alone_are_refused(tmp_path, capsys):
    """Many file systems take them for one, and a folder may be copied to such a one."""
    root = write_source(tmp_path, "camvid", maps=("D", "d"))
    said = fails(capsys, command(root, "pairs", "camvid"))
    assert "images D_00.png and d_00.png would both be" in said


def test_what_a_person_says_of_a_dataset_is_a_line_of_its_card(tmp_path):
    root = write_source(tmp_path, "camvid")
    told = ("--name", "mine\n# Title", "--license", "cc0-1.0\nsplits: none")
    assert main([str(a) for a in command(root, "pairs", "camvid", *told)]) == 0
    lines = (root / "out" / "README.md").read_text().splitlines()
    assert "# mine # Title" in lines and "- License: cc0-1.0 splits: none" in lines


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--keep", "0.5"), "--keep and --least need --scores"),
        (("--ignore-disagreement",), "--ignore-disagreement needs --scores"),
        (("--shards", "3"), "--shards is 3; expected 1 or more, with --format webdataset"),
        (("--out", "{}/images/x"), "--out lies in --generated"),
        (("--out", "{}/images/generate.json"), "is a file; expected a folder"),
        (("--scores", "{}/labels"), "holds no scores.jsonl"),
        (("--format", "cityscapes", "--palette", "grey_ids"), "trainIds or labelIds"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, capsys, more, says):
    root = write_source(tmp_path, "camvid", maps=("a",))
    argv = command(root, "pairs", "camvid", *(word.format(root) for word in more))
    assert says in fails(capsys, argv)


def test_memory_does_not_grow_with_the_pictures(tmp_path):
    """What is held of an image is its names and numbers, not its pixels."""
    import tracemalloc

    peaks = {}
    for number in (20, 120):
        root = write_source(tmp_path / str(number), "camvid", [f"m{i}" for i in range(number)], 1)
        tracemalloc.start()
        assert main(command(root, "cityscapes", "camvid", "--id-map", "0-10=7")) == 0
        peaks[number] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (peaks[120] - peaks[20]) / 100 < 8_000
