"""Laws of `inspect`: the numbers of the prior, as a table, as JSON and as a picture."""

import dataclasses
import json
import os

import pytest
import torch
from PIL import Image

from dev.commands import FULL, GRID, VAE, collected, fails, make, succeeds
from prior_tools import PALETTES, Palette, load_prior, measure_grain, save_prior
from prior_tools.cli import main
from prior_tools.cli.output import named, say, warn


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
    # Half of a cell is its neighbor's on one side; none is that of the one below.
    latents = latents + latents.roll(1, -1)
    labels = torch.full((80, *grid), -1)
    prior = collected(latents, labels)
    prior = dataclasses.replace(prior, grain=measure_grain(latents, labels, prior))
    path = save_prior(prior, tmp_path / "p.safetensors")
    told = json.loads(succeeds(capsys, "inspect", path, "--json"))["grain"]
    assert told == {"regions": None, "neighbors": pytest.approx((0.5 + 0) / 2, abs=0.05)}
    line = f"grain        correlation of neighboring cells {told['neighbors']:.3f}\n"
    assert line in succeeds(capsys, "inspect", path)


def test_what_regions_share_is_told_by_their_cells(tmp_path, capsys):
    """The upper three quarters of an image have three tenths of their variance in common."""
    grid = (12, 12)
    labels = torch.zeros(300, *grid, dtype=torch.int64)
    labels[:, 9:] = 4
    generator = torch.Generator().manual_seed(0)
    latents = 0.7**0.5 * torch.randn(300, 2, *grid, generator=generator)
    latents += 0.3**0.5 * torch.randn(300, 2, 1, 1, generator=generator)
    latents[:, :, 9:] = torch.randn(300, 2, 3, 12, generator=generator)
    prior = collected(latents, labels)
    prior = dataclasses.replace(prior, grain=measure_grain(latents, labels, prior))
    path = save_prior(prior, tmp_path / "p.safetensors")
    told = json.loads(succeeds(capsys, "inspect", path, "--json"))["grain"]
    assert told["regions"] == pytest.approx(0.75 * 0.3, abs=0.03)
    assert told["neighbors"] == pytest.approx(0, abs=0.03)
    line = f"grain        regions share {told['regions']:.1%} of the variance, of the rest "
    assert line in succeeds(capsys, "inspect", path)


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
