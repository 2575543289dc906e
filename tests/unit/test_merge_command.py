"""Laws of `merge`: shards in any order are the whole, and contradictions are refused by name."""

import itertools

import pytest
import torch

from dev.commands import (
    FULL,
    OTHER_VAE,
    TENSORS,
    batch,
    collected,
    fails,
    make,
    published,
    succeeds,
)
from prior_tools import PALETTES, load_prior, save_prior
from prior_tools.cli import main


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
