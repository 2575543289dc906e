"""Laws of `import`: published files become a prior, and what was found in them is told."""

import numpy as np
import pytest

from dev.commands import fails, published, succeeds
from prior_tools import load_prior
from prior_tools.cli import main


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
