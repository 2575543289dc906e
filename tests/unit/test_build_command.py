"""Laws of `build` before a VAE is loaded: what is wrong is said first; class names in files."""

import os
from pathlib import Path

import pytest
from PIL import Image

from dev.commands import fails
from prior_tools.building.checkpoint import Checkpoint, Progress
from prior_tools.cli import main
from prior_tools.cli.class_names import read_class_names
from prior_tools.name_lengths import path_beside

ROOT = Path(__file__).parents[2]


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
