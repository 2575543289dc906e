"""Laws of prior files: exact, whole or not at all, and refused when they are not what they say."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dev.fuzz.limits import memory_limit
from dev.leftovers import killed_while_writing
from prior_tools import (
    PALETTES,
    Grain,
    Prior,
    PriorAccumulator,
    PriorError,
    load_prior,
    merge_priors,
    save_prior,
)
from prior_tools.atomic import new_file, remove_leftovers_of, write_bytes, write_new_bytes
from prior_tools.grain import region_directions, shapes
from prior_tools.grain_estimate import measure_grain
from prior_tools.merge import taken_on_trust
from prior_tools.prior_file import FORMAT_VERSION, HEADER_KEY
from prior_tools.vae_fingerprint import fingerprint_weights

FIELDS = [
    f.name for f in dataclasses.fields(Prior) if f.name not in ("metadata", "num_images", "grain")
]


def collected(seed=0, images=6, grid=(3, 5), channels=4, classes=9, ignore_ids=(255,)):
    generator = torch.Generator().manual_seed(seed)
    state = PriorAccumulator(channels, grid, ignore_ids)
    labels = torch.randint(-1, classes, (images, *grid), generator=generator)
    state.update(torch.randn(images, channels, *grid, generator=generator) * 5, labels)
    return state


def make(seed=0, images=6, grid=(3, 5), channels=4, classes=9, ignore_ids=(255,), **metadata):
    return collected(seed, images, grid, channels, classes, ignore_ids).finalize(**metadata)


def alone(seed=0, images=6, **metadata) -> Prior:
    """Of images without label maps."""
    return make(seed, images, classes=0, ignore_ids=(), **{"label_method": None, **metadata})


VAE, OTHER_VAE = (fingerprint_weights({"w": torch.full((9,), float(i))}) for i in (1, 2))


def grain_of(channels, grid, classes=9):
    """Of some correlation beside each cell, and within regions."""
    mixing, correlation = (torch.zeros(shape) for shape in shapes(grid, channels))
    mixing.fill_diagonal_(1)
    middle = correlation.shape[2] // 2
    correlation[:, 0, middle - 1 : middle + 2] = torch.tensor([0.4, 1.0, 0.4])
    correlation[:, 1, middle] = 0.3
    regions = torch.zeros(classes, channels, region_directions(classes, channels))
    return Grain(grid, mixing, correlation, regions + 0.2)


FULL = {
    "downscale_factor": 8,
    "latent_format": "sd15",
    "vae": VAE,
    "source_size": (40, 24),
    "dataset_name": "Straßen",
    "class_names": {0: "road", 3: "wall"},
    "palette": PALETTES["cityscapes"],
    "resize_policy": "crop",
    "label_method": "nearest",
}


def grained(**metadata):
    """One with a grain."""
    return dataclasses.replace(make(**metadata), grain=grain_of(4, (3, 5)))


def assert_equal(a: Prior, b: Prior) -> None:
    for name in FIELDS:
        ours, theirs = getattr(a, name), getattr(b, name)
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs), name
    assert a.num_images == b.num_images and a.metadata == b.metadata
    assert (a.grain is None) == (b.grain is None)
    if a.grain and b.grain:
        assert a.grain.grid == b.grain.grid
        assert torch.equal(a.grain.mixing, b.grain.mixing)
        assert torch.equal(a.grain.correlation, b.grain.correlation)
        assert torch.equal(a.grain.regions, b.grain.regions)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.sampled_from([1, 4, 16]), st.integers(0, 30))
def test_saving_and_loading_is_exact(tmp_path_factory, seed, images, channels, classes):
    path = tmp_path_factory.mktemp("prior") / "sub" / "p.safetensors"
    told = {**FULL, "latent_format": {1: "unknown", 4: "sd15", 16: "flux"}[channels]}
    prior = make(seed, images, channels=channels, classes=classes, **told)
    save_prior(prior, path)
    assert_equal(load_prior(path), prior)


def test_a_file_of_images_alone_holds_the_spatial_moments_alone(tmp_path):
    prior = alone(latent_format="sd15", vae=VAE, dataset_name="dusk")
    path = save_prior(prior, tmp_path / "dusk.safetensors")
    loaded = load_prior(path)
    assert_equal(loaded, prior)
    assert not loaded.labelled and make().labelled
    assert set(safetensors.torch.load_file(path)) == {"spatial_mean", "spatial_std"}


def test_images_alone_have_the_grain_of_what_is_left_of_the_places_means(tmp_path):
    latents = torch.randn(6, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    latents += torch.randn(6, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    nowhere = torch.full((6, 3, 5), -1)
    state = PriorAccumulator(4, (3, 5))
    state.update(latents, nowhere)
    labelled, prior = state.finalize(), state.finalize(label_method=None)
    ours, theirs = (measure_grain(latents, nowhere, each) for each in (prior, labelled))
    assert torch.equal(ours.correlation, theirs.correlation)
    grained = dataclasses.replace(prior, grain=ours)
    path = save_prior(grained, tmp_path / "p.safetensors")
    assert_equal(load_prior(path), grained)
    assert merge_priors([grained, grained]).grain is not None
    rewritten(path, lambda t: {k: v for k, v in t.items() if k != "grain_mixing"})
    with pytest.raises(PriorError, match=r"lacks, or should not hold, .*grain_mixing"):
        load_prior(path)


@pytest.mark.parametrize("channels", [1, 4, 17])
def test_a_grain_is_saved_exactly(tmp_path, channels):
    prior = make(channels=channels)
    prior = dataclasses.replace(prior, grain=grain_of(channels, (3, 5)))
    assert_equal(load_prior(save_prior(prior, tmp_path / "p.safetensors")), prior)


def test_equal_priors_are_equal_files(tmp_path):
    files = [save_prior(make(**FULL), tmp_path / f"{i}.safetensors").read_bytes() for i in range(5)]
    assert len(set(files)) == 1


def test_only_occupied_cells_are_stored(tmp_path):
    state = PriorAccumulator(4, (64, 128))
    labels = torch.full((1, 64, 128), -1)
    labels[0, :4, :4] = torch.arange(16).view(4, 4)
    state.update(torch.randn(1, 4, 64, 128), labels)
    path = save_prior(state.finalize(), tmp_path / "p.safetensors")
    dense = 16 * 4 * 64 * 128 * 4 * 2
    assert path.stat().st_size < dense / 10


def test_a_loaded_file_can_be_replaced_and_is_not_read_again(tmp_path):
    first, second = make(1), make(2)
    path = save_prior(first, tmp_path / "p.safetensors")
    loaded = load_prior(path)
    save_prior(second, path)
    assert_equal(loaded, first)
    if Path("/proc/self/maps").exists():
        assert str(path) not in Path("/proc/self/maps").read_text()


def test_more_images_than_a_prior_counts_do_not_merge():
    prior = dataclasses.replace(make(), num_images=2**30)
    assert merge_priors([prior]).num_images == 2**30
    with pytest.raises(PriorError, match="2147483648 images are more than"):
        merge_priors([prior, prior])


def test_without_overwrite_an_existing_file_stays(tmp_path):
    path = save_prior(make(1), tmp_path / "p.safetensors", overwrite=False)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        save_prior(make(2), path, overwrite=False)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot limit the size of a process's files")
def test_on_a_full_disk_the_old_file_survives(tmp_path):
    """The write itself fails, in a process of its own with a limit on the size of files."""
    path = save_prior(make(1), tmp_path / "p.safetensors")
    before = path.read_bytes()
    root = Path(__file__).parents[2]
    code = f"""
import resource, signal, sys
sys.path.append({str(root)!r})
import torch
from prior_tools import PriorAccumulator, save_prior
state = PriorAccumulator(4, (64, 64))
state.update(torch.randn(1, 4, 64, 64), torch.zeros(1, 64, 64, dtype=torch.int64))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save_prior(state.finalize(), {str(path)!r})
except OSError as error:
    print(error.filename)
    sys.exit(error.errno)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (errno.EFBIG, f"{path}\n")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


def test_what_a_killed_process_left_of_a_file_goes_and_nothing_else(tmp_path):
    ours, theirs = tmp_path / "p.safetensors", tmp_path / "p.safetensors.checkpoint"
    left = killed_while_writing(ours), killed_while_writing(theirs)
    with new_file(ours) as file:
        file.write(b"whole")
        remove_leftovers_of(ours)
        remove_leftovers_of(tmp_path / "nowhere" / "p.safetensors")
        assert [path.exists() for path in left] == [False, True]
    assert ours.read_bytes() == b"whole"
    assert sorted(tmp_path.iterdir()) == sorted([ours, left[1]])


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no file that is open")
@pytest.mark.parametrize("write", [write_bytes, write_new_bytes])
def test_what_is_being_written_is_at_no_time_taken_for_a_leftover(tmp_path, write):
    """Removed are leftovers between two steps of the write, at one place after another."""
    path, step = tmp_path / "p", 0

    def remove_at_this_step(_frame=None, _event=None, _argument=None):
        nonlocal left
        left -= 1
        if left == 0:
            remove_leftovers_of(path)

    left = 0
    while left <= 0:
        step += 1
        left = step
        sys.setprofile(remove_at_this_step)
        try:
            write(path, b"whole")
        finally:
            sys.setprofile(None)
        assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"whole"]
        path.unlink()
    assert step > 20


def test_a_prior_is_saved_without_what_a_killed_process_left_of_it(tmp_path):
    path = tmp_path / "p.safetensors"
    for overwrite in (False, True):
        killed_while_writing(path)
        save_prior(make(), path, overwrite=overwrite)
        assert [p.name for p in tmp_path.iterdir()] == ["p.safetensors"]


@pytest.mark.parametrize("write", [write_bytes, write_new_bytes])
def test_a_name_may_be_as_long_as_the_folder_takes(tmp_path, write):
    path = tmp_path / ("p" * 243 + ".safetensors")
    write(path, b"whole")
    assert path.read_bytes() == b"whole"
    too_long = tmp_path / ("p" * 244 + ".safetensors")
    with pytest.raises(OSError, match="name too long") as caught:
        write(too_long, b"whole")
    assert caught.value.filename == str(too_long)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("write", [write_bytes, write_new_bytes])
def test_a_file_in_place_of_the_folder_is_not_taken_for_the_file(tmp_path, write):
    (tmp_path / "priors").write_bytes(b"")
    with pytest.raises(NotADirectoryError) as caught:
        write(tmp_path / "priors" / "p.safetensors", b"whole")
    assert caught.value.filename == str(tmp_path / "priors")


@pytest.mark.skipif(os.name == "nt", reason="no umask here")
@pytest.mark.parametrize("write", [write_bytes, write_new_bytes])
def test_a_new_file_is_as_readable_as_any_and_so_are_those_made_meanwhile(tmp_path, write):
    """What another thread makes between any two steps of the write has the usual mode, too."""
    theirs, modes = tmp_path / "theirs", []

    def make_one(_frame=None, _event=None, _argument=None):
        os.close(os.open(theirs, os.O_CREAT | os.O_WRONLY, 0o666))
        modes.append(theirs.stat().st_mode)
        theirs.unlink()

    make_one()
    sys.setprofile(make_one)
    try:
        write(tmp_path / "ours", b"whole")
    finally:
        sys.setprofile(None)
    assert len(modes) > 20
    assert {*modes, (tmp_path / "ours").stat().st_mode} == {modes[0]}


def rewritten(path: Path, change_tensors=lambda t: t, **header) -> Path:
    """The file with its tensors or header changed."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    old = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER_KEY])
    tensors = change_tensors(safetensors.torch.load(data))
    new = json.dumps({**old, **header})
    path.write_bytes(safetensors.torch.save(tensors, {HEADER_KEY: new}))
    return path


def with_metadata(path: Path, **changed) -> Path:
    """The file with its metadata changed, or without those named with a `_` at the end."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    old = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER_KEY])["metadata"]
    lost = {name[:-1] for name in changed if name.endswith("_")}
    kept = {name: value for name, value in {**old, **changed}.items() if name[-1] != "_"}
    return rewritten(path, metadata={n: v for n, v in kept.items() if n not in lost})


def with_tensor(name, value):
    return lambda tensors: {**tensors, name: value(tensors[name])}


def with_bytes(path: Path, old: bytes, new: bytes) -> None:
    """Other bytes in the header."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    assert old in header
    header = header.replace(old, new, 1)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])


def twice(path: Path) -> None:
    with_bytes(path, b'"dtype":"I64"', b'"dtype":"F64","dtype":"I64"')


def lopsided(correlation):
    correlation = correlation.clone()
    correlation[:, 0, 0] = 0.5
    return correlation


DAMAGE = {
    "empty": (lambda p: p.write_bytes(b""), "not a complete safetensors file"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-100]), "missing at its end"),
    "short header": (lambda p: p.write_bytes(p.read_bytes()[:50]), "too few for its header"),
    "text": (lambda p: p.write_bytes(b"hello, this is not a prior " * 9), "not a complete"),
    "huge header": (lambda p: p.write_bytes(b"\xff" * 7 + b"\x00" * 99), "not a complete"),
    "pickle": (lambda p: torch.save({"mean": torch.ones(3)}, p), "not a complete"),
    "foreign": (
        lambda p: p.write_bytes(safetensors.torch.save({"w": torch.ones(3)})),
        "not a prior",
    ),
    "future": (
        lambda p: rewritten(p, format_version=FORMAT_VERSION + 1),
        f"reads up to {FORMAT_VERSION}; update",
    ),
    "a name twice": (twice, "it holds 'dtype' twice"),
    "a name twice in our text": (
        lambda p: with_bytes(p, b'{\\"format_version', b'{\\"metadata\\": 1, \\"format_version'),
        "it holds 'metadata' twice",
    ),
    "odd version": (lambda p: rewritten(p, format_version="one"), "damaged"),
    "nan": (
        lambda p: rewritten(p, with_tensor("joint_mean", lambda t: t / 0)),
        "joint_mean holds NaN, infinity or values",
    ),
    "negative": (
        lambda p: rewritten(p, with_tensor("spatial_std", lambda t: -t)),
        "spatial_std holds negative",
    ),
    "shape": (
        lambda p: rewritten(p, with_tensor("spatial_mean", lambda t: t[:2].clone())),
        "spatial_mean is",
    ),
    "counts": (
        lambda p: rewritten(p, with_tensor("joint_count", lambda t: t + 10**6)),
        "counts do not fit",
    ),
    "order": (
        lambda p: rewritten(p, with_tensor("class_ids", lambda t: t.flip(0).contiguous())),
        "ascending",
    ),
    "few cells": (
        lambda p: rewritten(p, with_tensor("occupied", lambda t: t[:1].clone())),
        "damaged",
    ),
    "missing": (
        lambda p: rewritten(p, lambda t: {k: v for k, v in t.items() if k != "class_std"}),
        "class_std",
    ),
    "bad json": (
        lambda p: rewritten(p, metadata="{"),
        "damaged: metadata is '{', expected a table",
    ),
    "no images": (lambda p: rewritten(p, num_images=0), "num_images is 0, expected 1..2147483647"),
    "more": (lambda p: rewritten(p, lambda t: {**t, "more": t["class_ids"].clone()}), "'more'"),
    "many classes": (
        lambda p: rewritten(p, with_tensor("class_ids", lambda t: torch.arange(4097))),
        "4097 classes",
    ),
    "no id": (
        lambda p: rewritten(p, with_tensor("class_ids", lambda t: t - 1)),
        "class ids run from -1 to 7",
    ),
    "ignored": (lambda p: with_metadata(p, ignore_ids=[3]), "class ids that it ignores"),
    "count 0": (
        lambda p: rewritten(p, with_tensor("joint_count", lambda t: t * 0)),
        "joint_count holds values below 1",
    ),
    "no image of a class": (
        lambda p: rewritten(p, with_tensor("class_image_count", lambda t: t * 0)),
        "class_image_count holds values below 1",
    ),
    "more images of a class": (
        lambda p: rewritten(p, with_tensor("class_image_count", lambda t: t + 6)),
        "counts do not fit its 6 images",
    ),
    "fewer images of a class": (
        lambda p: rewritten(p, with_tensor("class_image_count", lambda t: t * 0 + 1)),
        "counts do not fit its 6 images",
    ),
    "two classes at a place": (
        lambda p: rewritten(p, with_tensor("joint_count", lambda t: t * 0 + 1), num_images=5),
        "counts do not fit its 5 images",
    ),
    "vast grid": (lambda p: with_metadata(p, grid=[20_000, 20_000]), "occupied is torch.uint8"),
    "factor": (lambda p: with_metadata(p, downscale_factor=0), "downscale_factor is 0"),
    "fraction": (lambda p: with_metadata(p, latent_channels=4.0), "latent_channels is 4.0"),
    "names": (lambda p: with_metadata(p, class_names=["road"]), r"class_names is \['road'\]"),
    "no names": (lambda p: with_metadata(p, class_names=None), "class_names is None"),
    "infinity": (lambda p: with_metadata(p, grid=[float("inf"), 5]), "it holds Infinity"),
    "lost field": (lambda p: with_metadata(p, palette_=None), "metadata lacks, or should not hold"),
    "resizing": (lambda p: with_metadata(p, resize_policy="zoom"), "resize_policy is 'zoom'"),
    "labelling": (lambda p: with_metadata(p, label_method="mean"), "label_method is 'mean'"),
    "other channels": (
        lambda p: with_metadata(p, latent_format="flux"),
        "4 latent channels, but latent_format 'flux' has 16",
    ),
    "format": (lambda p: with_metadata(p, latent_format=["sd15"]), r"latent_format is \['sd15'\]"),
    "colors": (
        lambda p: with_metadata(
            p, palette={**PALETTES["camvid"].to_json(), "colors": {"2000000000": [0, 0, 0]}}
        ),
        "the palette's colors holds '2000000000'",
    ),
    "half a grain": (
        lambda p: rewritten(p, lambda t: {k: v for k, v in t.items() if k != "grain_mixing"}),
        "grain_mixing",
    ),
    "grain of other channels": (
        lambda p: rewritten(p, with_tensor("grain_mixing", lambda t: torch.eye(3))),
        "correlation of a grain of 3 channels on 5x3 cells",
    ),
    "grain of another grid": (
        lambda p: rewritten(
            p, with_tensor("grain_correlation", lambda t: t[:, :-1, 1:-1].contiguous())
        ),
        "correlation of a grain of 4 channels on 5x3 cells",
    ),
    "grain of other classes": (
        lambda p: rewritten(p, with_tensor("grain_regions", lambda t: t[:-1].contiguous())),
        "its grain is of 4 channels and 8 classes, expected 4 channels and 9 classes",
    ),
    "strong regions": (
        lambda p: rewritten(p, with_tensor("grain_regions", lambda t: t * 5)),
        "gives a channel a variance above 1",
    ),
    "nan in the grain": (
        lambda p: rewritten(p, with_tensor("grain_correlation", lambda t: t / 0)),
        "correlation of a grain holds NaN",
    ),
    "grain of doubles": (
        lambda p: rewritten(p, with_tensor("grain_mixing", lambda t: t.double())),
        "mixing of a grain is no float32",
    ),
    "strong grain": (
        lambda p: rewritten(p, with_tensor("grain_mixing", lambda t: t * 0.9)),
        "a variance of 1",
    ),
    "lopsided grain": (
        lambda p: rewritten(p, with_tensor("grain_correlation", lopsided)),
        "not symmetric",
    ),
    "vae": (
        lambda p: with_metadata(p, vae={**VAE.to_json(), "scales": []}),
        "scales and projections of the VAE",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_or_foreign_file_is_refused_by_name(tmp_path, kind):
    damage, says = DAMAGE[kind]
    path = save_prior(grained(**FULL), tmp_path / "streets.safetensors")
    damage(path)
    with pytest.raises(PriorError, match=says) as caught:
        load_prior(path)
    assert "streets.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    ("made", "damage", "says"),
    [
        (
            lambda: make(ignore_ids=()),
            lambda p: with_metadata(p, label_method=None),
            "the file lacks, or should not hold, .*class_ids",
        ),
        (
            alone,
            lambda p: with_metadata(p, label_method="majority"),
            "the file lacks, or should not hold, .*class_ids",
        ),
        (
            alone,
            lambda p: with_metadata(p, ignore_ids=[255]),
            "ignore_ids is given, but label_method None says that there were no label maps",
        ),
        (
            alone,
            lambda p: rewritten(p, with_tensor("spatial_std", lambda t: -t)),
            "spatial_std holds negative",
        ),
        (alone, lambda p: with_metadata(p, grid=[20_000, 20_000]), "spatial_mean is torch.float32"),
        (alone, lambda p: with_metadata(p, latent_channels=2**31), "spatial_mean is torch.float32"),
        (alone, lambda p: rewritten(p, num_images=0), "num_images is 0"),
    ],
)
def test_a_file_is_of_images_alone_or_of_classes_and_says_which(tmp_path, made, damage, says):
    path = save_prior(made(), tmp_path / "streets.safetensors")
    damage(path)
    with pytest.raises(PriorError, match=rf"streets\.safetensors is damaged: .*{says}"):
        load_prior(path)


def test_classes_are_not_written_as_of_images_alone(tmp_path):
    wrong = dataclasses.replace(make(ignore_ids=()), metadata=alone().metadata)
    with pytest.raises(PriorError, match="it is of images alone, but holds 9 classes"):
        save_prior(wrong, tmp_path / "p.safetensors")
    with pytest.raises(PriorError, match="but 9 classes were taken in; give labels of -1"):
        make(label_method=None)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("class_mean", lambda t: t.double(), "class_mean is torch.float64"),
        ("class_mean", lambda t: t / 0, "class_mean holds NaN"),
        ("class_mean", lambda t: t[:, :3], "class_mean is torch.float32 .*expected"),
        ("class_mean", lambda t: t.numpy(), "class_mean is a ndarray"),
        ("joint_mean", lambda t: t[:, :, :2], r"joint_mean is torch.float32 \(9, 4, 2, 5\)"),
        ("joint_mean", lambda t: t / 0, "joint_mean holds NaN"),
        ("joint_count", lambda t: t - 1, "joint_count holds values below 0"),
        ("joint_count", lambda t: t + 10, "counts do not fit"),
        ("joint_count", lambda t: t.long(), "joint_count is torch.int64"),
        ("spatial_std", lambda t: -t, "spatial_std holds negative"),
        ("class_ids", lambda t: t.flip(0), "ascending"),
        ("spatial_std", lambda t: t * 1e10, r"spatial_std holds .* beyond 1e\+09"),
        ("num_images", lambda n: 0, "num_images is 0"),
        ("num_images", lambda n: 2**31, "num_images is 2147483648"),
        ("num_images", lambda n: float(n), "num_images is 6.0"),
        (
            "metadata",
            lambda m: dataclasses.replace(m, dataset_name="x" * 2**22),
            "metadata take 4.* bytes, expected at most 4194304",
        ),
    ],
)
def test_what_would_not_load_is_not_written(tmp_path, name, change, says):
    prior = grained(**FULL)
    path = save_prior(prior, tmp_path / "streets.safetensors")
    before = path.read_bytes()
    wrong = dataclasses.replace(prior, **{name: change(getattr(prior, name))})
    with pytest.raises(PriorError, match=rf"streets\.safetensors is not written: .*{says}"):
        save_prior(wrong, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_prior_of_tensors_with_gradients_is_saved_as_any_other(tmp_path):
    prior = make()
    learned = dataclasses.replace(prior, joint_mean=prior.joint_mean.clone().requires_grad_())
    assert_equal(load_prior(save_prior(learned, tmp_path / "p.safetensors")), prior)


def test_a_file_made_to_fill_the_memory_is_refused(tmp_path):
    """4096 classes on 64x64 cells: 2 MB that say which cells were seen, 600 MB of cells."""
    state = PriorAccumulator(4, (64, 64), ())
    state.update(torch.zeros(1, 4, 64, 64), torch.zeros(1, 64, 64, dtype=torch.int64))
    path = save_prior(state.finalize(), tmp_path / "p.safetensors")

    def grown(tensors):
        marks = torch.zeros(4096, 512, dtype=torch.uint8)
        marks[0] = 255
        return {
            **tensors,
            "class_ids": torch.arange(4096),
            "occupied": marks.flatten(),
            "class_mean": torch.zeros(4096, 4),
            "class_std": torch.zeros(4096, 4),
            "class_image_count": torch.ones(4096, dtype=torch.int32),
        }

    with memory_limit(100), pytest.raises(PriorError, match=r"would take 0\.6 GB of memory"):
        load_prior(rewritten(path, grown))


def test_of_a_file_that_is_no_prior_only_the_header_is_read(tmp_path):
    """A model in the wrong folder: 8 GB, nearly all of it a hole."""
    path = tmp_path / "model.safetensors"
    table = {"w": {"dtype": "U8", "shape": [2**33], "data_offsets": [0, 2**33]}}
    header = json.dumps(table).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, path.stat().st_size + 2**33)
    with memory_limit(100), pytest.raises(PriorError, match="not a prior"):
        load_prior(path)


def test_files_merge_to_1e6_in_any_order_and_classes_are_united(tmp_path):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(30, 4, 3, 5, generator=generator) * 5
    labels = torch.randint(-1, 6, (30, 3, 5), generator=generator)
    labels[:10][labels[:10] == 5] = 2  # class 5 occurs in the later shards only
    whole = PriorAccumulator(4, (3, 5))
    whole.update(latents, labels)
    files = []
    for index, part in enumerate((slice(0, 10), slice(10, 17), slice(17, 30))):
        shard = PriorAccumulator(4, (3, 5))
        shard.update(latents[part], labels[part])
        files.append(save_prior(shard.finalize(), tmp_path / f"{index}.safetensors"))
    want = whole.finalize()
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        got = merge_priors([load_prior(files[i]) for i in order])
        assert torch.equal(got.class_ids, want.class_ids)
        assert torch.equal(got.joint_count, want.joint_count)
        for name in FIELDS:
            torch.testing.assert_close(
                getattr(got, name), getattr(want, name), atol=1e-5, rtol=1e-6
            )


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"class_names": {0: "street"}}, "class 0 is 'road' in one and 'street'"),
        ({"palette": PALETTES["camvid"]}, "palette differs"),
        ({"vae": OTHER_VAE}, r"VAE differs \(.*, whose weights differ by up to 50\.0%\)"),
        ({"latent_format": "sdxl"}, "latent format differs"),
        ({"resize_policy": "stretch"}, "resize policy differs"),
        ({"ignore_ids": ()}, "ignore ids differs"),
        ({"grid": (5, 3)}, "grid differs"),
        ({"channels": 16, "latent_format": "unknown"}, "latent channels differs"),
    ],
)
def test_priors_that_contradict_each_other_do_not_merge(other, says):
    with pytest.raises(PriorError, match=says):
        merge_priors([make(1, **FULL), make(2, **{**FULL, **other})])


def test_what_one_prior_does_not_know_is_taken_from_the_other():
    unknown = {**FULL, "vae": None, "latent_format": "unknown", "palette": None}
    unknown |= {"class_names": {4: "fence"}, "source_size": (80, 48), "dataset_name": "b"}
    priors = [make(1, **unknown), make(2, **FULL)]
    merged = merge_priors(priors)
    # Not silently: who merges is told what the result claims of both.
    told = taken_on_trust(priors, ["b", "a"])
    assert [text.partition(" of b is not known")[0] for text in told] == [
        "the VAE",
        "the latent format",
        "the palette",
    ]
    assert not taken_on_trust(priors[:1], ["b"]) and not taken_on_trust(priors[1:], ["a"])
    assert merged.metadata.vae == VAE
    assert merged.metadata.latent_format == "sd15"
    assert merged.metadata.palette == PALETTES["cityscapes"]
    assert merged.metadata.class_names == {0: "road", 3: "wall", 4: "fence"}
    assert merged.metadata.source_size is None
    assert merged.metadata.dataset_name == "Straßen + b"
    assert merged.num_images == 12


def test_images_alone_merge_with_their_like_and_with_no_others():
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(9, 4, 3, 5, generator=generator)

    def of(part) -> Prior:
        state = PriorAccumulator(4, (3, 5))
        state.update(latents[part], torch.full((len(latents[part]), 3, 5), -1))
        return state.finalize(label_method=None)

    whole = of(slice(None))
    for parts in ((slice(0, 4), slice(4, 9)), (slice(4, 9), slice(0, 4))):
        merged = merge_priors(map(of, parts))
        assert merged.metadata == whole.metadata and merged.num_images == 9
        torch.testing.assert_close(merged.spatial_std, whole.spatial_std, atol=1e-6, rtol=1e-6)
    for pair in ([whole, make(ignore_ids=())], [make(ignore_ids=()), whole]):
        with pytest.raises(PriorError, match="one was built with label maps, another from images"):
            merge_priors(pair)


def test_of_no_priors_none_is_merged():
    for none in ([], iter([])):
        with pytest.raises(PriorError, match="no prior is given"):
            merge_priors(none)
    assert merge_priors(iter([make(1), make(2)])).num_images == 12


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("latent_format", "sd9", "latent_format is 'sd9'"),
        ("latent_format", ["sd15"], r"latent_format is \['sd15'\]"),
        ("latent_format", "flux", "4 latent channels, but latent_format 'flux' has 16"),
        ("palette", "camvit", "no palette is named 'camvit'"),
        ("palette", {0: (0, 0, 0)}, "no palette is named"),
        ("vae", "vae.safetensors", "vae is 'vae.safetensors'"),
        ("dataset_name", Path("streets"), "dataset_name is .*expected a text"),
        ("label_method", False, "label_method is False; expected one of majority, nearest"),
        ("class_names", ["road"], r"class_names is \['road'\]"),
        ("class_names", {0: 1}, "class_names is {0: 1}"),
        ("class_names", {"0": "road"}, "class id of class_names is '0'"),
        ("source_size", 512, r"source_size is 512; expected \(width, height\)"),
        ("source_size", (512.5, 512), "source_size is"),
        ("source_size", (512, 0), "source_size is"),
        ("downscale_factor", 0, "downscale_factor is 0; expected 1..128"),
        ("downscale_factor", 8.0, "downscale_factor is 8.0; expected a whole number"),
        ("datasetname", "x", "datasetname is given as metadata; expected fields"),
        ("grid", (3, 5), "grid is given as metadata; it is told by the latents"),
    ],
)
def test_metadata_that_are_none_are_refused(field, value, says):
    with pytest.raises(PriorError, match=says):
        make(**{field: value}) if field != "grid" else collected().finalize(grid=value)


def test_metadata_of_other_types_of_number_are_those_of_ints(tmp_path):
    ours = make(source_size=(40, 24), class_names={3: "wall"}, palette=PALETTES["camvid"])
    theirs = make(
        source_size=np.array([40, 24]),
        downscale_factor=np.int64(8),
        class_names={np.int64(3): "wall"},
        palette="camvid",
        ignore_ids=np.array([255]),
    )
    assert theirs.metadata == ours.metadata
    assert_equal(load_prior(save_prior(theirs, tmp_path / "p.safetensors")), ours)
