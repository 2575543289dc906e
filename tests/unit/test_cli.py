"""Laws of the command line: right numbers, one clear line for wrong input, and exit codes."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prior_tools import (
    PALETTES,
    Palette,
    Prior,
    PriorAccumulator,
    PriorError,
    cli,
    load_prior,
    measure_grain,
    save_prior,
)
from prior_tools.building.checkpoint import Checkpoint, Progress
from prior_tools.building.ranks import Ranks
from prior_tools.cli import main
from prior_tools.cli.class_names import read_class_names
from prior_tools.cli.comfy_vae import load_vae
from prior_tools.cli.device import choose_device
from prior_tools.cli.output import named, say, shared_path, warn
from prior_tools.name_lengths import path_beside
from prior_tools.vae_fingerprint import fingerprint_weights

ROOT = Path(__file__).parents[2]
GRID = (3, 5)
TENSORS = (
    "class_ids",
    "joint_mean",
    "joint_std",
    "joint_count",
    "spatial_mean",
    "spatial_std",
    "class_mean",
    "class_std",
    "class_image_count",
)
VAE, OTHER_VAE = (fingerprint_weights({"w": torch.full((9,), float(i))}) for i in (1, 2))
FULL = {
    "latent_format": "sd15",
    "vae": VAE,
    "source_size": (40, 24),
    "dataset_name": "streets",
    "class_names": dict(PALETTES["camvid"].names),
    "palette": PALETTES["camvid"],
}


def batch(seed=0, images=30, classes=6):
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(images, 4, *GRID, generator=generator) * 5
    return latents, torch.randint(-1, classes, (images, *GRID), generator=generator)


def collected(latents, labels, **metadata) -> Prior:
    ignored = metadata.pop("ignore_ids", ())
    state = PriorAccumulator(latents.shape[1], latents.shape[2:], ignored)
    state.update(latents, labels)
    return state.finalize(**metadata)


def make(path: Path, seed=0, images=6, **metadata) -> Path:
    return save_prior(collected(*batch(seed, images), **metadata), path)


def fails(capsys, *argv) -> str:
    """The one line that a command with wrong input ends in."""
    assert main([str(a) for a in argv]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    assert printed.err.startswith(f"{argv[0]}: error: ")
    return printed.err


def succeeds(capsys, *argv) -> str:
    assert main([str(a) for a in argv]) == 0
    return capsys.readouterr().out


def published(folder: Path, std=0.5) -> list[Path]:
    """A joint and a categorical file in the published layout, classes 0 to 3, three images."""
    shape = (256, 4, *GRID)
    mean, count = np.zeros(shape, np.float32), np.zeros((256, 1, *GRID), np.float32)
    mean[:3], count[:3] = 0.5, 1
    entry = {"mean": np.full(4, 0.25, np.float32), "std": np.full(4, std, np.float32)}
    contents = {
        "x_spatial_class_mean_std.npy": {"mean": mean, "std": mean.copy(), "count": count},
        "x_categorical_mean_std.npy": dict.fromkeys(range(4), entry),
    }
    for name, content in contents.items():
        np.save(folder / name, np.array(content, dtype=object))
    return [folder / name for name in contents]


# build: what can be wrong is said before ComfyUI, let alone a VAE, is looked for


def build_command(folder: Path, *more: object) -> list[object]:
    """A build in which only `more` can be wrong, until ComfyUI is looked for and not found."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(exist_ok=True)
        Image.new("L", (16, 8)).save(folder / kind / "a.png")
    return [
        *("build", "--dataset", "pairs", "--root", folder, "--size", "16x8", "--out"),
        *(folder / "p.safetensors", "--vae", "none.safetensors", "--comfyui", "nowhere", *more),
    ]


def test_a_build_with_nothing_wrong_comes_as_far_as_comfyui(tmp_path, capsys):
    assert "ComfyUI is not in nowhere" in fails(capsys, *build_command(tmp_path))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--latent-format", "sd15", "--size", "20x8"], "multiples of 8 for latent format sd15"),
        (["--latent-format", "flux", "--size", "16x4"], "multiples of 8 for latent format flux"),
        (["--device", "mps:0"], "device is 'mps:0'; expected auto, cpu, cuda, cuda:N or mps"),
        (["--ignore-ids", "road"], "--ignore-ids is 'road'"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--workers", "-1"], "workers is -1"),
        (["--limit", "-1"], "--limit is -1"),
        (["--checkpoint-every", "nan"], "--checkpoint-every is nan"),
        (["--dataset", "cityscapes"], "Cityscapes"),
        (["--out", "taken/p.safetensors"], "taken, which is a file"),
        (["--class-names", "missing.txt"], "missing.txt: No such file"),
    ],
)
def test_build_says_what_is_wrong_first(tmp_path, capsys, monkeypatch, more, says):
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    assert says in fails(capsys, *build_command(tmp_path, *more))


def test_build_names_its_own_option_for_leaving_files_out(tmp_path, capsys):
    argv = build_command(tmp_path)
    (tmp_path / "labels" / "a.png").write_bytes(b"no picture")
    assert "cannot be read" in (said := fails(capsys, *argv))
    assert said.endswith("To leave such files out, add --on-error skip\n")


def images_alone(folder: Path, *more: object) -> list[object]:
    """`build_command` for a folder of images without label maps."""
    argv = build_command(folder, *more)
    argv[argv.index("pairs")] = "images"
    argv[argv.index(folder)] = folder / "images"
    return argv


def test_images_alone_need_no_labels_and_take_no_options_of_them(tmp_path, capsys):
    assert "ComfyUI is not in nowhere" in fails(capsys, *images_alone(tmp_path))
    for option, value in (
        ("--split", "train"),
        ("--images-dir", "images"),
        ("--labels-dir", "labels"),
        ("--image-suffix", ".png"),
        ("--label-suffix", ".png"),
        ("--list", "pairs.txt"),
        ("--palette", "camvid"),
        ("--id-map", "0=1"),
        ("--class-names", "names.txt"),
        ("--ignore-ids", "none"),
        ("--labels", "nearest"),
    ):
        text = fails(capsys, *images_alone(tmp_path, option, value))
        assert f"{option} is given, but --dataset images is a folder of images without" in text
    text = fails(capsys, *images_alone(tmp_path, "--holdout", "0.2"))
    assert "holdout is 0.2, but the dataset has no label maps" in text
    argv = images_alone(tmp_path)
    at = argv.index("--root")
    assert "give the folder of images" in fails(capsys, *argv[:at], *argv[at + 2 :])


def test_a_folder_of_images_that_holds_label_maps_too_is_warned_of(tmp_path, capsys):
    argv = images_alone(tmp_path, "--root", tmp_path)
    assert main([str(a) for a in argv]) == 2
    assert "warning: pictures in folders that are named as of label" in capsys.readouterr().err


def test_a_checkpoint_of_other_options_is_refused_first(tmp_path, capsys):
    Checkpoint(tmp_path / "p.safetensors.checkpoint", {"resize": "crop"}).save(Progress())
    assert "resize was crop and is stretch" in fails(capsys, *build_command(tmp_path))


@pytest.mark.skipif(os.name == "nt", reason="Windows counts names in other units")
@pytest.mark.parametrize("letter", ["a", "\u00e4", "\u4e00"])
@pytest.mark.parametrize("room", range(0, 24, 2))
def test_every_name_that_the_prior_may_have_has_room_for_checkpoints(
    tmp_path, capsys, letter, room
):
    most = os.pathconf(tmp_path, "PC_NAME_MAX") - room
    stem = letter * ((most - len(".safetensors")) // len(os.fsencode(letter)))
    names = [stem + ".safetensors", stem[:-1] + "b.safetensors"]
    command = [*build_command(tmp_path), "--out", tmp_path / names[0]]
    assert "ComfyUI is not in nowhere" in fails(capsys, *command)
    paths = [
        path_beside(tmp_path / name, ending)
        for name in names
        for ending in (".checkpoint", ".rank1.checkpoint", ".rank1000.checkpoint")
    ]
    assert len(set(paths)) == 6
    Checkpoint(paths[0], {"resize": "crop"}).save(Progress())
    assert "resize was crop and is stretch" in fails(capsys, *command)
    for path in paths[1:]:
        path.touch()


@pytest.mark.skipif(os.name == "nt", reason="links need rights")
def test_images_that_links_give_two_names_are_told_of_before_a_vae_is_loaded(tmp_path, capsys):
    command = build_command(tmp_path)
    for kind in ("images", "labels"):
        (tmp_path / kind / "b.png").symlink_to(tmp_path / kind / "a.png")
    assert main([str(a) for a in command]) == 2
    said = capsys.readouterr().err
    assert "warning: 1 of 2 images is among them" in said and "counts again: b is a." in said
    assert main([str(a) for a in (*command, "--limit", "1")]) == 2
    assert "warning" not in capsys.readouterr().err


def test_pairs_lie_in_the_working_folder_and_nothing_else_does(tmp_path, capsys, monkeypatch):
    argv = build_command(tmp_path)
    at = argv.index("--root")
    del argv[at : at + 2]
    monkeypatch.chdir(tmp_path)
    assert "ComfyUI is not in nowhere" in fails(capsys, *argv)
    argv += ["--images-dir", tmp_path / "images", "--labels-dir", tmp_path / "labels"]
    monkeypatch.chdir(ROOT)
    assert "ComfyUI is not in nowhere" in fails(capsys, *argv)
    argv[argv.index("pairs")] = "ade20k"
    assert "--root is missing; give the folder of the ade20k dataset" in fails(capsys, *argv)


NAMES = {0: "Straße", 10: "Himmel oben"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("names.txt", "0 Straße\n\n10: Himmel oben\n"),
        ("names.json", '{"0": "Straße", "10": "Himmel oben"}'),
        ("list.json", '["Straße", "Himmel oben"]'),
    ],
)
def test_class_names_are_read_with_and_without_a_byte_order_mark(tmp_path, file, text, encoding):
    path = tmp_path / file
    path.write_text(text, encoding=encoding)
    got = read_class_names(path, "--class-names")
    assert got == (dict(enumerate(NAMES.values())) if file == "list.json" else NAMES)


@pytest.mark.parametrize(
    ("file", "data", "says"),
    [
        ("a.txt", "0 Himmel\n1 Straße\n".encode("latin-1"), "in UTF-8 (byte 0xdf in line 2)"),
        ("a.txt", "0 sky".encode("utf-16"), "not text in UTF-8 (byte 0xff in line 1)"),
        ("a.txt", b"sky\n", "there is no name in 'sky'"),
        ("a.txt", b"sky 0\n", "expected lines such as '3 road'"),
        ("a.txt", b"\n", "holds no class names"),
        ("a.txt", b"3 road\n3 sky\n", "class id 3 twice, 'road' and 'sky'"),
        ("a.txt", b"70000 road\n", "names class id 70000; expected 0..65535"),
        ("a.json", b'{"-1": "road"}', "names class id -1"),
        ("a.json", b'{"3": "road", "3": "sky"}', "it holds '3' twice"),
        ("a.json", b'{"3": "road", "03": "sky"}', "class id 3 twice, 'road' and 'sky'"),
        ("a.json", b'"road"', "it holds 'road'"),
        ("a.json", b"[1]", "the name of 0 is 1"),
        ("a.json", b"[" * 100_000, "is no list of class names"),
    ],
)
def test_a_file_of_no_class_names_is_refused_by_name(tmp_path, capsys, file, data, says):
    (tmp_path / file).write_bytes(data)
    said = fails(capsys, *build_command(tmp_path, "--class-names", tmp_path / file))
    assert says in said and f"--class-names {file}" in said


@pytest.mark.parametrize(
    ("asked", "ranks", "gpus", "chosen"),
    [
        ("auto", Ranks(), 2, "auto"),
        ("auto", Ranks(), 0, "auto"),
        ("cuda", Ranks(), 2, "cuda:0"),
        ("cuda:1", Ranks(), 2, "cuda:1"),
        ("cpu", Ranks(3, 4, 3), 4, "cpu"),
        ("auto", Ranks(3, 4, 3), 0, "auto"),
        # Of several ranks each has its machine's GPU of its own number, ...
        ("auto", Ranks(0, 4, 0), 4, "cuda:0"),
        ("auto", Ranks(7, 8, 3), 4, "cuda:3"),
        ("cuda", Ranks(7, 8, 3), 4, "cuda:3"),
        # ... unless it is told another, or shown one only.
        ("cuda:1", Ranks(7, 8, 3), 4, "cuda:1"),
        ("auto", Ranks(7, 8, 3), 1, "cuda:0"),
    ],
)
def test_each_rank_has_its_own_gpu(asked, ranks, gpus, chosen):
    assert choose_device(asked, ranks, gpus, mps=False) == chosen


def test_an_apple_gpu_is_taken_where_there_is_one():
    assert choose_device("mps", Ranks(), 0, mps=True) == "mps"


@pytest.mark.parametrize(
    ("asked", "ranks", "says"),
    [
        ("mps", Ranks(), "device mps is not there: torch sees no Apple GPU; give auto or cpu"),
        ("cuda:x", Ranks(), "device is 'cuda:x'; expected auto, cpu, cuda, cuda:N or mps"),
        ("cuda:", Ranks(), "device is 'cuda:'"),
        ("cuda:-1", Ranks(), "device is 'cuda:-1'"),
        ("cpu:0", Ranks(), "device is 'cpu:0'"),
        ("xpu", Ranks(), "device is 'xpu'.*auto takes whatever accelerator ComfyUI finds"),
        ("", Ranks(), "device is ''"),
        ("cuda:2", Ranks(), "device cuda:2 is not there; torch sees 2 CUDA devices"),
        ("auto", Ranks(2, 3, 2), "rank 2 of this machine has no GPU of its own: torch sees 2"),
        ("cuda", Ranks(2, 3, 2), "rank 2 of this machine has no GPU of its own: torch sees 2"),
    ],
)
def test_a_device_that_is_not_there_is_refused(asked, ranks, says):
    with pytest.raises(PriorError, match=says):
        choose_device(asked, ranks, 2, mps=False)


def test_cuda_without_a_gpu_is_refused():
    with pytest.raises(PriorError, match="device cuda is not there; torch sees 0"):
        choose_device("cuda", Ranks(), 0, mps=False)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("vae.safetensors", None, "there is no VAE file"),
        ("vae.ckpt", b"x", "vae.ckpt is not a safetensors file; convert it"),
        ("vae.safetensors", b"<html>not found</html>", "vae.safetensors cannot be read"),
        ("vae.safetensors", b"", "vae.safetensors cannot be read"),
    ],
)
def test_a_file_that_is_no_vae_is_refused_before_comfyui_is_imported(tmp_path, name, data, says):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(PriorError, match=says):
        load_vae(tmp_path / name, tmp_path / "nowhere")


# merge


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_shards_merge_to_the_whole_in_every_order(tmp_path, capsys, order):
    latents, labels = batch()
    labels[:10][labels[:10] == 5] = 2  # class 5 occurs in the later shards only
    files = []
    for index, part in enumerate((slice(0, 10), slice(10, 17), slice(17, 30))):
        shard = collected(latents[part], labels[part], **FULL)
        files.append(save_prior(shard, tmp_path / f"{index}.safetensors"))
    out = tmp_path / "out.safetensors"
    printed = succeeds(capsys, "merge", *(files[i] for i in order), "--out", out)
    assert "30 images, 6 classes" in printed
    want, got = collected(latents, labels, **FULL), load_prior(out)
    assert got.num_images == 30 and got.metadata == want.metadata
    for name in TENSORS:
        torch.testing.assert_close(getattr(got, name), getattr(want, name), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"vae": OTHER_VAE}, "VAE differs"),
        ({"class_names": {0: "road"}}, "class 0 is 'sky' in one and 'road' in another"),
        ({"palette": PALETTES["ade20k"]}, "palette differs"),
        ({"ignore_ids": (4,)}, "ignore ids differs"),
        ({"latent_format": "sdxl"}, "latent format differs"),
        ({"label_method": "nearest"}, "label method differs"),
    ],
)
def test_a_contradiction_names_both_files_and_what_it_is(tmp_path, capsys, change, says):
    files = [
        make(tmp_path / "a.safetensors", 1, **FULL),
        make(tmp_path / "b.safetensors", 2, **FULL),
        make(tmp_path / "c.safetensors", 3, **{**FULL, **change}),
    ]
    out = tmp_path / "out.safetensors"
    text = fails(capsys, "merge", *files, "--out", out)
    assert f"{files[0]} and {files[2]}: cannot merge priors: " in text and says in text
    assert "b.safetensors" not in text and not out.exists()


def test_other_grids_do_not_merge(tmp_path, capsys):
    one = make(tmp_path / "a.safetensors")
    other = collected(torch.randn(2, 4, 5, 3), torch.zeros(2, 5, 3, dtype=torch.int64))
    text = fails(
        capsys, "merge", one, save_prior(other, tmp_path / "b.safetensors"), "--out", tmp_path / "c"
    )
    assert "b.safetensors: cannot merge priors: grid differs ((3, 5) against (5, 3))" in text


def test_merging_needs_two_different_files(tmp_path, capsys):
    one = make(tmp_path / "a.safetensors")
    (tmp_path / "link.safetensors").hardlink_to(one)
    out = tmp_path / "out"
    assert "expected at least two" in fails(capsys, "merge", one, "--out", out)
    for same in (one, tmp_path / "link.safetensors"):
        text = fails(capsys, "merge", one, same, "--out", out)
        assert "are the same file; its images would count twice" in text


@pytest.mark.parametrize(
    ("unknown", "says"),
    [
        ({"vae": None}, "the VAE of b.safetensors is not known"),
        ({"latent_format": "unknown"}, "the latent format of b.safetensors is not known"),
        ({"palette": None}, "the palette of b.safetensors is not known"),
    ],
)
def test_what_a_prior_does_not_tell_merges_with_a_warning(tmp_path, capsys, unknown, says):
    files = [make(tmp_path / "a.safetensors", **FULL)]
    files.append(make(tmp_path / "b.safetensors", 1, **{**FULL, **unknown}))
    out = tmp_path / "c.safetensors"
    assert main(["merge", *map(str, files), "--out", str(out)]) == 0
    warned = capsys.readouterr().err
    assert f"warning: {says}; it must be that of the others" in warned and warned.count("\n") == 1
    assert load_prior(out).metadata == load_prior(files[0]).metadata
    assert main(["merge", *map(str, [files[0], out]), "--out", str(tmp_path / "d")]) == 0
    assert not capsys.readouterr().err


def test_nothing_is_replaced_unasked(tmp_path, capsys):
    one, two = make(tmp_path / "a.safetensors"), make(tmp_path / "b.safetensors", 1)
    before = two.read_bytes()
    for argv in (["merge", one, two], ["import", *published(tmp_path)]):
        text = fails(capsys, *argv, "--out", two)
        assert f"{two} exists already" in text and "--overwrite" in text
        assert two.read_bytes() == before
    succeeds(capsys, "merge", one, two, "--out", two, "--overwrite")
    assert load_prior(two).num_images == 12
    assert "is a folder" in fails(capsys, "merge", one, two, "--out", tmp_path, "--overwrite")


# inspect


def test_the_table_holds_the_numbers_of_the_prior(tmp_path, capsys):
    path = make(tmp_path / "p.safetensors", **FULL)
    prior = load_prior(path)
    facts, _, rows = succeeds(capsys, "inspect", path).rstrip("\n").partition("\n\n")
    heading, *lines = rows.split("\n")
    assert heading.split()[:6] == ["id", "name", "color", "pixels", "images", "coverage"]
    assert len({len(line) for line in (heading, *lines)}) == 1
    assert len(lines) == len(prior.class_ids)
    for row, line in enumerate(lines):
        class_id = int(prior.class_ids[row])
        counts = prior.joint_count[row]
        assert line.split() == [
            str(class_id),
            PALETTES["camvid"].names[class_id],
            "#{:02x}{:02x}{:02x}".format(*PALETTES["camvid"].colors[class_id]),
            str(int(counts.sum())),
            str(int(prior.class_image_count[row])),
            f"{float((counts > 0).double().mean()):.1%}",
            *(f"{v:.3f}" for v in prior.class_mean[row].tolist()),
            *(f"{v:.3f}" for v in prior.class_std[row].tolist()),
        ]
    for expected in ("streets", "5x3 cells of 8 pixels from 40x24 pixels", str(VAE), "camvid"):
        assert expected in facts
    assert "images       6\n" in facts
    assert "grain        none, draws are of white noise\n" in facts


def test_json_holds_the_same(tmp_path, capsys):
    path = make(tmp_path / "p.safetensors", ignore_ids=(4,), **FULL)
    prior = load_prior(path)
    data = json.loads(succeeds(capsys, "inspect", path, "--json"))
    assert data["num_images"] == 6 and data["grid"] == [3, 5] and data["ignore_ids"] == [4]
    assert data["vae"] == str(VAE) and data["source_size"] == [40, 24]
    assert data["labelled_fraction"] == pytest.approx(int(prior.joint_count.sum()) / 6 / 15)
    assert [c["id"] for c in data["classes"]] == prior.class_ids.tolist()
    for row, entry in enumerate(data["classes"]):
        assert entry["pixels"] == int(prior.joint_count[row].sum())
        assert entry["images"] == int(prior.class_image_count[row])
        assert entry["mean"] == pytest.approx(prior.class_mean[row].tolist())
        assert entry["deviation"] == pytest.approx(prior.class_std[row].tolist())
        assert entry["color"].startswith("#") and entry["name"]


def test_the_grain_is_told_in_a_line(tmp_path, capsys):
    grid = (12, 12)
    latents = torch.randn(80, 2, *grid, generator=torch.Generator().manual_seed(0))
    # Half of a cell is its neighbour's on one side; none is that of the one below.
    latents = latents + latents.roll(1, -1)
    labels = torch.zeros(80, *grid, dtype=torch.int64)
    prior = collected(latents, labels)
    prior = dataclasses.replace(prior, grain=measure_grain(latents, labels, prior))
    path = save_prior(prior, tmp_path / "p.safetensors")
    told = json.loads(succeeds(capsys, "inspect", path, "--json"))["grain"]
    assert told == pytest.approx((0.5 + 0) / 2, abs=0.05)
    assert f"correlation of neighbouring cells {told:.3f}\n" in succeeds(capsys, "inspect", path)


@pytest.mark.parametrize("channels", [1, 4, 16])
def test_a_prior_that_knows_little_is_shown_too(tmp_path, capsys, channels):
    prior = collected(torch.randn(2, channels, *GRID), torch.full((2, *GRID), -1))
    path = save_prior(prior, tmp_path / "p.safetensors")
    printed = succeeds(capsys, "inspect", path, "--png", tmp_path / "p.png")
    assert "VAE          not known" in printed and "dataset      not known" in printed
    assert json.loads(succeeds(capsys, "inspect", path, "--json"))["classes"] == []


def test_a_prior_of_images_alone_is_shown_without_classes(tmp_path, capsys):
    latents, labels = torch.randn(3, 4, *GRID), torch.full((3, *GRID), -1)
    prior = collected(latents, labels, label_method=None, dataset_name="dusk")
    path = save_prior(prior, tmp_path / "p.safetensors")
    printed = succeeds(capsys, "inspect", path, "--png", tmp_path / "p.png")
    assert "none: built from images alone, for draws in mode spatial" in printed
    for of_labels in ("palette", "ignored ids", "labelled", "classes", "coverage"):
        assert of_labels not in printed
    told = json.loads(succeeds(capsys, "inspect", path, "--json"))
    assert told["label_method"] is None and told["labelled_fraction"] is None
    assert told["num_images"] == 3 and told["classes"] == []


def test_names_cannot_move_the_cursor(tmp_path, capsys):
    names = {0: "a\x1b[2Jb", 1: "c\nd", 2: "Straße"}
    path = make(tmp_path / "p.safetensors", class_names=names, dataset_name="x\ry")
    printed = succeeds(capsys, "inspect", path)
    assert "\x1b" not in printed and "\r" not in printed
    assert "a\\x1b[2Jb" in printed and "c\\nd" in printed and "Straße" in printed


# What clears a screen, begins a line, and turns the letters after it around.
HOSTILE = "a\x1b[2J\nb\u202egnp"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_of_files_cannot_move_the_cursor_in_messages(tmp_path, capsys):
    shown = ascii(HOSTILE)[1:-1]
    prior = make(tmp_path / f"{HOSTILE}.safetensors")
    other = make(tmp_path / "other.safetensors", seed=1)
    out = tmp_path / f"{HOSTILE}-out.safetensors"
    assert main([str(a) for a in ("merge", prior, other, "--out", out)]) == 0
    printed = capsys.readouterr()
    assert f"read {tmp_path}/{shown}.safetensors: " in printed.out
    assert f"wrote {tmp_path}/{shown}-out.safetensors: " in printed.out
    assert all(c.isprintable() for c in (printed.out + printed.err).replace("\n", ""))
    # By our errors, and by the system's.
    assert shown in fails(capsys, "merge", prior, other, "--out", out)
    assert shown in fails(capsys, "inspect", tmp_path / f"{HOSTILE}-none")
    prior.write_bytes(b"none")
    said = fails(capsys, "inspect", prior)
    assert shown in said and HOSTILE not in said
    warn(HOSTILE)
    say(f"{HOSTILE} {named([0], {0: HOSTILE})}")
    printed = capsys.readouterr()
    assert printed.err == f"warning: {shown}\n" and printed.out == f"{shown} 0 {shown}\n"


def test_the_picture_is_a_png_of_every_size_of_prior(tmp_path, capsys):
    path = make(tmp_path / "p.safetensors", **FULL)
    target = tmp_path / "pictures" / "p.png"
    succeeds(capsys, "inspect", path, "--png", target)
    with Image.open(target) as picture:
        assert picture.format == "PNG" and picture.width == 960
        height = picture.height
    many = Palette("many", {i: (i, i, 255 - i) for i in range(182)})
    labels = torch.arange(225).view(15, *GRID) % 182
    prior = collected(torch.randn(15, 4, *GRID), labels, palette=many)
    save_prior(prior, tmp_path / "many.safetensors")
    succeeds(capsys, "inspect", tmp_path / "many.safetensors", "--png", target)
    with Image.open(target) as picture:
        assert picture.width == 960 and picture.height > height


def test_the_picture_never_replaces_the_prior(tmp_path, capsys):
    path = make(tmp_path / "p.safetensors")
    before = path.read_bytes()
    assert "is the prior itself" in fails(capsys, "inspect", path, "--png", path)
    assert path.read_bytes() == before


# import


def test_published_files_are_imported_and_told_about(shared_dir, tmp_path, capsys):
    files = sorted((shared_dir / "official_stats").glob("*.npy"))
    out = tmp_path / "p.safetensors"
    printed = succeeds(
        capsys, "import", *files, "--out", out, "--palette", "camvid", "--dataset-name", "CamVid"
    )
    prior = load_prior(out)
    assert prior.num_images == 40 and prior.metadata.dataset_name == "CamVid"
    assert prior.metadata.latent_format == "sd15" and prior.metadata.ignore_ids == (11,)
    for expected in (
        "camvid_spatial_class_mean_std.npy (joint)",
        "camvid_spatial_mean_std.npy (spatial)",
        "camvid_categorical_mean_std.npy (categorical)",
        "12 class ids: 0 sky, 1 building,",
        "left out, as ignored or dropped: 11",
        "40 images, 11 classes, 30x22 cells",
    ):
        assert expected in printed
    assert "derived" not in printed and "repaired" not in printed


def test_an_import_takes_a_palette_file_and_a_map_by_its_name(tmp_path, capsys):
    out, classes = tmp_path / "p.safetensors", tmp_path / "mine.txt"
    classes.write_text("sand:200,180,90::\nsea:0,0,200::\ndune:250,240,9::\n")
    files = published(tmp_path)
    argv = ["import", *files, "--out", out, "--palette", classes, "--map", "shifted_down_by_one"]
    assert "the prior holds: 0 sand, 1 sea, 2 dune" in succeeds(capsys, *argv)
    palette = load_prior(out).metadata.palette
    assert palette.name == "mine" and palette.colors[1] == (0, 0, 200)
    text = fails(capsys, "import", *files, "--out", tmp_path / "q", "--palette", "gone.json")
    assert "--palette is 'gone.json'; expected a palette file or one of ade20k" in text


def test_an_import_says_what_it_derived_and_repaired(tmp_path, capsys):
    out = tmp_path / "p.safetensors"
    printed = succeeds(capsys, "import", *published(tmp_path, std=np.nan), "--out", out)
    assert "spatial prior: derived from the joint file" in printed
    assert "repaired a NaN deviation" in printed and ": 0-3\n" in printed
    assert "without a joint prior: 3\n" in printed
    printed = succeeds(capsys, "import", published(tmp_path)[0], "--out", out, "--overwrite")
    assert "categorical prior: derived from the joint file" in printed
    assert "images (" not in printed and load_prior(out).num_images == 3


def test_ids_outside_the_palette_are_warned_of(tmp_path, capsys):
    files = [str(f) for f in published(tmp_path)]
    argv = ["import", *files, "--out", str(tmp_path / "p"), "--palette", "cityscapes"]
    assert main([*argv, "--map", "1=40,2=41"]) == 0
    printed = capsys.readouterr()
    assert "warning: the palette does not have 40-41." in printed.err
    assert "mapped: 1->40, 2->41\n" in printed.out
    assert "the prior holds: 0 road, 3 wall, 40-41\n" in printed.out


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("0=7", [1, 2, 3, 7]),
        ("0=1,1=0", [0, 1, 2, 3]),
        ("0-3=100", [100, 101, 102, 103]),
        ("1-2=-1", [0, 3]),
        ("0=-1 3=-1,9=12", [1, 2]),
    ],
)
def test_a_map_renumbers_shifts_and_drops(tmp_path, capsys, text, ids):
    out = tmp_path / "p.safetensors"
    argv = ["import", *published(tmp_path), "--out", out, "--overwrite", "--map"]
    succeeds(capsys, *argv, text)
    assert load_prior(out).class_ids.tolist() == ids
    (tmp_path / "map.txt").write_text("# old=new\n" + text.replace(",", "  # next\n"))
    succeeds(capsys, *argv, tmp_path / "map.txt")
    assert load_prior(out).class_ids.tolist() == ids


@pytest.mark.parametrize(
    ("text", "ids", "ignored"),
    [("none", [0, 1, 2, 3], ()), ("1, 3", [0, 2], (1, 3)), ("255", [0, 1, 2, 3], (255,))],
)
def test_ids_to_ignore_are_those_asked_for(tmp_path, capsys, text, ids, ignored):
    out = tmp_path / "p.safetensors"
    succeeds(capsys, "import", *published(tmp_path), "--out", out, "--ignore-ids", text)
    prior = load_prior(out)
    assert prior.class_ids.tolist() == ids and prior.metadata.ignore_ids == ignored


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--map", "0=1"], "classes 0 and 1 of the files would both become class 1"),
        (["--map", "nonsense"], "--map is 'nonsense'; expected entries OLD=NEW"),
        (["--map", "0=1,0=2"], "--map names class id 0 twice"),
        (["--map", "3-1=-1"], "a range that ends before it starts"),
        (["--map", ""], "--map holds no entries"),
        (["--ignore-ids", "sky"], "--ignore-ids is 'sky'"),
        (["--latent-format", "flux"], "no factor is known here"),
        (["--scale", "-1"], "scale is -1.0"),
    ],
)
def test_wrong_options_end_in_one_line(tmp_path, capsys, options, says):
    out = tmp_path / "p.safetensors"
    assert says in fails(capsys, "import", *published(tmp_path), "--out", out, *options)
    assert not out.exists()


def test_a_hostile_file_ends_in_one_line(tmp_path, capsys):
    path = tmp_path / "bad.npy"
    path.write_bytes(published(tmp_path)[1].read_bytes()[:200])
    text = fails(capsys, "import", path, "--out", tmp_path / "p.safetensors")
    assert "bad.npy is refused and nothing in it was run" in text


def test_a_report_for_others_holds_no_folder_of_its_writers(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path / "data")
    for given, told in {
        tmp_path / "labels" / "val": "val",
        Path("labels/val"): "labels/val",
        Path("../labels/val"): "val",
        Path(): "data",
        Path("city.json"): "city.json",
    }.items():
        assert shared_path(given) == Path(told)


def test_listed_ids_are_short():
    assert named([0, 1, 2, 5, 7, 8], {}) == "0-2, 5, 7-8"
    assert named([0, 1, 2, 3], {1: "sea", 3: ""}).replace("\xa0", " ") == "0, 1 sea, 2, 3"


# the program


@pytest.mark.parametrize(
    "argv",
    [
        ["merge", "{a}", "{missing}", "--out", "{out}"],
        ["inspect", "{missing}"],
        ["import", "{missing}", "--out", "{out}"],
    ],
)
def test_a_missing_file_is_named(tmp_path, capsys, argv):
    places = {"a": make(tmp_path / "a"), "missing": tmp_path / "gone", "out": tmp_path / "out"}
    text = fails(capsys, *(part.format(**places) for part in argv))
    # Then come the system's own words.
    assert f"{argv[0]}: error: {tmp_path / 'gone'}: " in text
    assert not (tmp_path / "out").exists()


def test_a_folder_or_text_in_a_priors_place_is_wrong_input(tmp_path, capsys):
    # The system's own words, "Is a directory" on most.
    assert f"inspect: error: {tmp_path}: " in fails(capsys, "inspect", tmp_path)
    (tmp_path / "t.txt").write_text("hello " * 100)
    assert "t.txt is not a complete safetensors file" in fails(
        capsys, "inspect", tmp_path / "t.txt"
    )


@pytest.mark.parametrize("argv", [[], ["paint"], ["merge", "a"], ["inspect"]])
def test_wrong_arguments_show_the_usage(capsys, argv):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2 and "usage: " in capsys.readouterr().err


def test_ctrl_c_ends_without_a_traceback(tmp_path, monkeypatch, capsys):
    def interrupted(_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.inspect, "run", interrupted)
    assert main(["inspect", "x"]) == 130
    assert capsys.readouterr().err == "inspect: interrupted\n"


def test_a_file_saved_meanwhile_stays(tmp_path, monkeypatch, capsys):
    files, out = [make(tmp_path / "a"), make(tmp_path / "b", 1)], tmp_path / "out"
    monkeypatch.setattr(cli.merge, "check_output", lambda _args: out.write_text("mine"))
    text = fails(capsys, "merge", *files, "--out", out)
    # In between the system says in its own words that the file is there.
    assert f"{out}: " in text and "exist" in text and "; --overwrite replaces it" in text
    assert out.read_text() == "mine"


def program(*argv, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "prior_tools", *map(str, argv)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_help_lists_the_commands():
    out, err = program("--help").communicate(timeout=120)
    assert err == "" and out.startswith("usage: python -m prior_tools")
    assert all(command in out for command in cli.COMMANDS)


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell a closed pipe from other errors")
def test_a_reader_that_stops_reading_is_no_error(tmp_path):
    path = make(tmp_path / "p.safetensors")
    process = program("inspect", path, "--png", tmp_path / "p.png")
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(timeout=120) == 141 and err == ""
    assert (tmp_path / "p.png").exists()


def test_names_print_in_any_encoding(tmp_path):
    path = make(tmp_path / "p.safetensors", class_names={0: "Straße 道路"})
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    out, err = program("inspect", path, env=environment).communicate(timeout=120)
    assert err == "" and "Stra\\xdfe \\u9053\\u8def" in out
