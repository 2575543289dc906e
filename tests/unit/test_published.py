"""Laws of the importer: published files become the prior of their images, or are refused whole."""

import builtins
import contextlib
import itertools
import os
import pickle
import random
import struct
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from prior_tools import (
    PALETTES,
    Prior,
    PriorAccumulator,
    PriorError,
    load_prior,
    merge_priors,
    resize_labels,
    save_prior,
)
from prior_tools.published.files import read_published
from prior_tools.published.prior import prior_from_published
from prior_tools.published.safe_npy import read_npy_object

SCALE = 0.18215
GRID = (4, 5)
KINDS = ("spatial_class", "spatial", "categorical")


@dataclass(frozen=True)
class Official:
    """Files that the published functions wrote, and the inputs that they wrote them from.

    folder: of the files, whose names begin with `name`.
    size: (width, height) in pixels of the label maps; a cell has 8 x 8.
    images: number of images.
    """

    folder: Path
    name: str
    size: tuple[int, int]
    images: int

    def files(self, *kinds: str) -> list[Path]:
        return [self.folder / f"{self.name}_{kind}_mean_std.npy" for kind in kinds or KINDS]

    def inputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Raw latents [N, 4, h, w] and labels [N, h, w] by the published label method."""
        with np.load(self.folder / "inputs.npz") as data:
            latents = torch.from_numpy(data["latents"]).double() / SCALE
            labels = torch.from_numpy(data["labels"])
        return latents, resize_labels(labels, tuple(latents.shape[2:]), "nearest")

    def pixels_of(self, class_id: int) -> torch.Tensor:
        """Raw latents [pixels, 4] of all cells of a class."""
        latents, labels = self.inputs()
        return latents.movedim(1, -1)[labels == class_id].float()


@pytest.fixture
def camvid(shared_dir) -> Official:
    return Official(shared_dir / "official_stats", "camvid", (240, 176), 40)


@pytest.fixture(params=["random latents", "camvid"])
def official(request) -> Official:
    """Made from random latents, which are here, and from photographs, which may not be."""
    if request.param == "camvid":
        return request.getfixturevalue("camvid")
    return Official(Path(__file__).parent / "published_tiny", "tiny", (48, 32), 8)


def collected(latents, labels, ignore_ids=(255,)) -> Prior:
    state = PriorAccumulator(latents.shape[1], latents.shape[2:], ignore_ids)
    state.update(latents, labels)
    return state.finalize()


def imported(paths, **options):
    return prior_from_published(read_published(paths), **options)


def close(a, b, tolerance=1e-5 / SCALE):
    torch.testing.assert_close(a, b, atol=tolerance, rtol=0)


# Files in the published layout, made here.


def save(path: Path, content: object) -> Path:
    holder = np.empty((), dtype=object)
    holder[()] = content
    np.save(path, holder)
    return path


def batch(seed=0, images=7, classes=3):
    """Scaled latents [N, 4, h, w] and labels, every id a multiple of 5."""
    rng = np.random.default_rng(seed)
    latents = rng.normal(0.3, 1, (images, 4, *GRID)).astype(np.float32)
    return latents, rng.integers(0, classes, (images, *GRID)) * 5


def joint_content(latents, labels) -> dict:
    mean = np.zeros((256, 4, *GRID), np.float32)
    std, count = mean.copy(), np.zeros((256, 1, *GRID), np.float32)
    for class_id in np.unique(labels):
        for y, x in np.ndindex(*GRID):
            values = latents[labels[:, y, x] == class_id, :, y, x]
            if len(values):
                mean[class_id, :, y, x], std[class_id, :, y, x] = values.mean(0), values.std(0)
                count[class_id, 0, y, x] = len(values)
    return {"mean": mean, "std": std, "count": count}


def spatial_content(latents) -> dict:
    return {"mean": latents.mean(0), "std": latents.std(0)}


def entry(mean=0.25, std=0.5) -> dict:
    return {"mean": np.full(4, mean, np.float32), "std": np.full(4, std, np.float32)}


def joint_file(folder: Path, **changes) -> Path:
    return save(folder / "joint.npy", {**joint_content(*batch()), **changes})


def test_the_joint_file_is_the_prior_of_its_images(official):
    latents, labels = official.inputs()
    want = collected(latents, labels)
    got, report = imported(official.files())
    assert torch.equal(got.class_ids, want.class_ids)
    assert torch.equal(got.joint_count, want.joint_count)
    close(got.joint_mean, want.joint_mean)
    close(got.joint_std, want.joint_std)
    assert got.num_images == want.num_images == official.images
    assert (got.class_image_count <= want.class_image_count).all()
    assert got.metadata.latent_format == "sd15" and got.metadata.source_size == official.size
    assert got.metadata.label_method == "nearest"
    assert report.derived == report.repaired == report.outside_palette == ()


def test_the_spatial_file_is_that_of_the_published_draw(official):
    latents, labels = official.inputs()
    random.seed(42)
    drawn = random.choices(range(official.images), k=official.images)
    want = collected(latents[drawn], labels[drawn])
    got, _ = imported(official.files())
    close(got.spatial_mean, want.spatial_mean)
    close(got.spatial_std, want.spatial_std)


def test_the_categorical_file_agrees_with_the_image_weighted_moments(camvid):
    """It is one random cell per class and draw, so within a few standard errors of 40 draws."""
    want = collected(*camvid.inputs())
    got, _ = imported(camvid.files())
    error = want.class_std / want.class_image_count.sqrt()[:, None]
    assert ((got.class_mean - want.class_mean).abs() < 4.5 * error).all()
    ratio = got.class_std / want.class_std
    assert 0.8 < ratio.mean() < 1.2 and ratio.min() > 0.4 and ratio.max() < 2


@pytest.mark.parametrize("extra", [(), ("spatial",), ("categorical",), ("spatial", "categorical")])
def test_what_is_missing_is_derived_from_the_joint_file(official, extra):
    want = collected(*official.inputs())
    full, _ = imported(official.files())
    got, report = imported(official.files("spatial_class", *extra))
    assert report.derived == tuple(k for k in ("spatial", "categorical") if k not in extra)
    if "spatial" in extra:
        assert torch.equal(got.spatial_mean, full.spatial_mean)
    else:
        # The joint file is of every image once, and so is this.
        close(got.spatial_mean, want.spatial_mean)
        close(got.spatial_std, want.spatial_std)
    if "categorical" in extra:
        assert torch.equal(got.class_std, full.class_std)
    else:
        for row, class_id in enumerate(got.class_ids.tolist()):
            values = official.pixels_of(class_id)
            close(got.class_mean[row], values.mean(0))
            close(got.class_std[row], values.std(0, correction=0))
    assert torch.equal(got.joint_mean, full.joint_mean)


def test_content_and_not_name_or_order_tells_which_file_is_which(official, tmp_path):
    want, _ = imported(official.files())
    renamed = []
    for index, path in enumerate(official.files()):
        renamed.append(tmp_path / f"{index}.npy")
        renamed[-1].write_bytes(path.read_bytes())
    for order in itertools.permutations(renamed):
        got, _ = imported(order)
        assert torch.equal(got.joint_mean, want.joint_mean)
        assert torch.equal(got.spatial_std, want.spatial_std)
        assert torch.equal(got.class_mean, want.class_mean)


def test_ignored_classes_stay_in_the_spatial_moments_only(official):
    latents, labels = official.inputs()
    ignored = (int(labels.max()),)
    want = collected(latents, labels, ignore_ids=ignored)
    got, report = imported(official.files("spatial_class"), ignore_ids=ignored)
    assert torch.equal(got.class_ids, want.class_ids) and report.left_out == ignored
    close(got.spatial_mean, want.spatial_mean)
    close(got.joint_mean, want.joint_mean)
    assert got.num_images == official.images and got.metadata.ignore_ids == ignored


def test_a_palette_names_the_classes_and_those_to_ignore(official):
    got, _ = imported(official.files(), palette="camvid")
    assert got.metadata.palette == PALETTES["camvid"] and got.metadata.ignore_ids == (11,)
    assert got.metadata.class_names[3] == "road" and 11 not in got.class_ids


def test_an_imported_prior_survives_its_file(official, tmp_path):
    got, _ = imported(official.files(), palette=PALETTES["camvid"])
    loaded = load_prior(save_prior(got, tmp_path / "p.safetensors"))
    assert torch.equal(loaded.joint_std, got.joint_std) and loaded.metadata == got.metadata


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_files_of_older_and_newer_numpy_read_alike(tmp_path, protocol, module):
    content = joint_content(*batch())
    holder = np.empty((), dtype=object)
    holder[()] = content
    pickled = pickle.dumps(holder, protocol)
    written = b"numpy._core.multiarray"
    if written not in pickled:
        written = b"numpy.core.multiarray"
    if protocol == 4:
        # There a text's length stands before it.
        written, module = (bytes([len(name)]) + name for name in (written, module))
    path = tmp_path / "joint.npy"
    path.write_bytes(npy(pickled.replace(written, module)))
    assert module in path.read_bytes()
    got = read_npy_object(path)
    assert all(np.array_equal(got[key], content[key]) for key in content)


def test_values_are_unscaled_and_single_image_deviations_stay_raw(tmp_path):
    content = joint_content(*batch())
    once = np.broadcast_to(content["count"] == 1, content["std"].shape)
    content["std"][once] = np.float32(1e-6)
    got, _ = imported([save(tmp_path / "j.npy", content)], scale=0.5, latent_format="unknown")
    ids = got.class_ids.numpy()
    np.testing.assert_allclose(got.joint_mean, content["mean"][ids] / 0.5, rtol=1e-6)
    np.testing.assert_allclose(got.joint_std, content["std"][ids] / 0.5, rtol=1e-6)
    assert torch.equal(got.joint_count, torch.from_numpy(content["count"][ids, 0]).int())


@pytest.mark.parametrize("channels", [slice(None), slice(1, 2)])
def test_a_nan_deviation_is_repaired_from_the_joint_moments(tmp_path, channels):
    latents, labels = batch()
    seen_once = entry()
    seen_once["std"][channels] = np.nan
    files = [
        save(tmp_path / "j.npy", joint_content(latents, labels)),
        save(tmp_path / "c.npy", {0: entry(), 5: seen_once, 10: entry()}),
    ]
    got, report = imported(files)
    assert report.repaired == (5,)
    want = latents.transpose(0, 2, 3, 1)[labels == 5].std(0) / SCALE
    np.testing.assert_allclose(got.class_std[1][channels], want[channels], rtol=1e-5)
    np.testing.assert_allclose(got.class_mean[1], 0.25 / SCALE, rtol=1e-6)
    np.testing.assert_allclose(got.class_std[0], 0.5 / SCALE, rtol=1e-6)
    assert torch.isfinite(got.class_std).all()


def test_classes_of_one_file_only_are_kept_and_reported(tmp_path):
    latents, labels = batch()
    nan = entry(std=np.nan)
    files = [
        save(tmp_path / "j.npy", joint_content(latents, labels)),
        save(tmp_path / "c.npy", {5: entry(), 10: entry(), 99: entry(), 200: nan}),
    ]
    got, report = imported(files, palette=PALETTES["cityscapes"])
    assert got.class_ids.tolist() == [0, 5, 10, 99, 200]
    assert report.without_entry == (0,) and report.without_cells == (99, 200)
    assert report.repaired == (200,) and report.outside_palette == (99, 200)
    of_zero = latents.transpose(0, 2, 3, 1)[labels == 0] / SCALE
    close(got.class_mean[0], torch.from_numpy(of_zero.mean(0)))
    assert got.joint_count[3:].sum() == 0 and got.class_image_count[3:].tolist() == [2, 1]
    assert (got.class_std[4] == 0).all()
    save_prior(got, tmp_path / "p.safetensors")
    loaded = load_prior(tmp_path / "p.safetensors")
    assert loaded.class_ids.tolist() == [0, 5, 10, 99, 200]
    # Other images add to what the categorical file says of a class, and take nothing away.
    merged = merge_priors([imported(files[:1], palette=PALETTES["cityscapes"])[0], loaded])
    assert merged.class_image_count[3:].tolist() == [2, 1]
    close(merged.class_mean[3:], got.class_mean[3:])
    close(merged.class_std[3:], got.class_std[3:])


def test_counts_are_bounds_from_the_cells(tmp_path):
    latents, labels = batch(images=7)
    labels[:, :2] = 255
    got, report = imported([save(tmp_path / "j.npy", joint_content(latents, labels))])
    held = torch.from_numpy(np.stack([(labels == i).sum(0).max() for i in (0, 5, 10)]))
    assert got.num_images == 7 and torch.equal(got.class_image_count, held.int())
    assert report.left_out == (255,) and got.metadata.ignore_ids == (255,)


def test_ids_are_mapped_and_dropped(tmp_path):
    path = joint_file(tmp_path)
    plain, _ = imported([path])
    got, report = imported([path], id_map={0: 7, 5: -1, 77: 3})
    assert got.class_ids.tolist() == [7, 10] and report.kept == {0: 7, 10: 10}
    assert torch.equal(got.joint_mean, plain.joint_mean[[0, 2]])
    assert torch.equal(got.spatial_mean, plain.spatial_mean)
    swapped, _ = imported([path], id_map={0: 10, 10: 0})
    assert torch.equal(swapped.joint_mean, plain.joint_mean.flip(0))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"id_map": {0: 5}}, "classes 0 and 5 of the files would both become class 5"),
        ({"id_map": {0: 10**6}}, "class id 0 is mapped to 1000000"),
        ({"id_map": {0: -1, 5: -1, 10: -1}}, "no class is left of 0, 5, 10"),
        ({"ignore_ids": (0, 5, 10)}, "no class is left"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"latent_format": "flux"}, "no factor is known here for latent format 'flux'"),
        ({"latent_format": "sd9", "scale": 1.0}, "latent_format is 'sd9'"),
        ({"latent_format": "flux2", "scale": 1.0}, "but latent_format 'flux2' has 128"),
        ({"latent_format": "sd_x4", "scale": 1.0}, "8 pixels a latent cell, but .*'sd_x4' has 4"),
    ],
)
def test_options_that_cannot_be_met_are_refused(tmp_path, options, says):
    with pytest.raises(PriorError, match=says):
        imported([joint_file(tmp_path)], **options)


def with_value(name, value):
    def change(content):
        content[name].flat[3] = value
        return content

    return change


def cast(name, dtype):
    return lambda content: {**content, name: content[name].astype(dtype)}


def cut(name, *index):
    return lambda content: {**content, name: content[name][index]}


MALFORMED = {
    "nan mean": (
        "joint",
        with_value("mean", np.nan),
        "joint.npy: mean holds 1 values that are NaN",
    ),
    "infinite std": ("joint", with_value("std", np.inf), "std holds 1 values"),
    "absurd mean": ("joint", with_value("mean", 1e30), "mean holds 1 values"),
    "negative std": ("joint", with_value("std", -1), "std holds negative"),
    "negative count": ("joint", with_value("count", -1), "no numbers of images"),
    "half count": ("joint", with_value("count", 0.5), "no numbers of images"),
    "nan count": ("joint", with_value("count", np.nan), "count holds 1 values"),
    "huge count": ("joint", with_value("count", 1e8), "no numbers of images"),
    "double": ("joint", cast("mean", np.float64), "mean is float64 .*expected float32"),
    "whole numbers": ("joint", cast("count", np.int32), "count is int32"),
    "few classes": ("joint", cut("mean", slice(99)), r"mean has shape \(99, 4, 4, 5\)"),
    "no grid": ("joint", cut("mean", 0), r"mean has shape \(4, 4, 5\)"),
    "other grid": ("joint", cut("std", ..., slice(3)), r"std is float32 \(256, 4, 4, 3\)"),
    "count without channel": ("joint", cut("count", slice(None), 0), "count is float32"),
    "no images": ("joint", lambda c: {**c, "count": c["count"] * 0}, "every count is 0"),
    "number": ("joint", lambda c: {**c, "std": 3}, "std is no array"),
    "another key": ("joint", lambda c: {**c, "extra": 1}, "none of the published"),
    "a key less": ("joint", lambda c: {"mean": c["mean"]}, "none of the published"),
    "bare array": ("joint", lambda c: c["mean"], "none of the published"),
    "nothing": ("joint", lambda c: {}, "none of the published"),
    "spatial grid": ("spatial", cut("mean", ..., slice(3)), r"spatial.npy: mean is float32"),
    "spatial nan": ("spatial", with_value("std", np.nan), "std holds 1 values that are NaN"),
    "spatial negative": ("spatial", with_value("std", -1), "negative"),
    "class nan mean": ("categorical", lambda c: {5: entry(np.nan)}, "class 5: mean holds 4 values"),
    "class infinite": ("categorical", lambda c: {5: entry(0, np.inf)}, "class 5: std holds 4"),
    "class negative": ("categorical", lambda c: {5: entry(0, -1)}, "class 5: std holds negative"),
    "class channels": (
        "categorical",
        lambda c: {5: {k: v[:3] for k, v in entry().items()}},
        r"class 5: mean is float32 \(3,\)",
    ),
    "class id": ("categorical", lambda c: {256: entry()}, "class id 256; expected 0..255"),
    "class entry": ("categorical", lambda c: {5: {"mean": entry()["mean"]}}, "entry of class 5"),
    "mixed keys": ("categorical", lambda c: {5: entry(), "x": entry()}, "none of the published"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_what_no_statistics_can_be_is_refused(tmp_path, kind):
    which, change, says = MALFORMED[kind]
    latents, labels = batch()
    contents = {
        "joint": joint_content(latents, labels),
        "spatial": spatial_content(latents),
        "categorical": {0: entry(), 5: entry(), 10: entry()},
    }
    imported([save(tmp_path / f"{name}.npy", content) for name, content in contents.items()])
    save(tmp_path / f"{which}.npy", change(contents[which]))
    with pytest.raises(PriorError, match=says) as caught:
        read_published(tmp_path / f"{name}.npy" for name in contents)
    assert f"{which}.npy" in str(caught.value)


def test_files_must_be_one_of_each_kind_with_a_joint_one(tmp_path):
    joint = joint_file(tmp_path)
    spatial = save(tmp_path / "s.npy", spatial_content(batch()[0]))
    with pytest.raises(PriorError, match=r"joint.npy and joint.npy are both joint files"):
        read_published([joint, joint])
    with pytest.raises(PriorError, match=r"no joint file is among s\.npy"):
        read_published([spatial])
    with pytest.raises(FileNotFoundError):
        read_published([tmp_path / "absent.npy"])
    with pytest.raises(PriorError, match="is not a file"):
        read_published([tmp_path])


def test_a_cell_without_count_needs_the_spatial_file(tmp_path):
    content = joint_content(*batch())
    content["count"][:, :, 0, 0] = 0
    files = [save(tmp_path / "j.npy", content)]
    with pytest.raises(PriorError, match=r"1 cells of j\.npy have no count.*give NAME_spatial"):
        imported(files)
    files.append(save(tmp_path / "s.npy", spatial_content(batch()[0])))
    got, _ = imported(files)
    assert (got.joint_mean[:, :, 0, 0] == 0).all()


class Calls:
    """Pickles to a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def npy(pickled: bytes) -> bytes:
    """A .npy file of one object with this pickle in it."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (128 - 10 - len(header) - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pickled


def array_of(value: object) -> bytes:
    holder = np.empty((), dtype=object)
    holder[()] = value
    return npy(pickle.dumps(holder, 4))


# Each would make the file `marker` when read the usual way.
RUNS_CODE = {
    "os.system": lambda marker: array_of(Calls(os.system, f"echo > {marker}")),
    "bare os.system": lambda marker: npy(pickle.dumps(Calls(os.system, f"echo > {marker}"), 2)),
    "builtins.eval": lambda marker: array_of(Calls(builtins.eval, f"open({str(marker)!r}, 'w')")),
    "nested pickle": lambda marker: array_of(
        Calls(pickle.loads, pickle.dumps(Calls(os.system, f"echo > {marker}")))
    ),
    "inside an entry": lambda marker: array_of(
        {0: entry(), 5: {"mean": entry()["mean"], "std": Calls(os.mkdir, str(marker))}}
    ),
    "as a key": lambda marker: array_of({Calls(os.system, f"echo > {marker}"): entry()}),
    "numpy's own": lambda marker: array_of(Calls(np.savetxt, str(marker), [1.0])),
    "attribute of an allowed name": lambda marker: npy(
        pickle.dumps(Calls(np.ndarray.tofile, np.ones(3), str(marker)), 4)
    ),
    "state of a file object": lambda marker: array_of(Calls(Path.touch, marker)),
}


@pytest.mark.parametrize("kind", RUNS_CODE)
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path, kind):
    marker = tmp_path / "marker"
    path = tmp_path / "hostile.npy"
    path.write_bytes(RUNS_CODE[kind](marker))
    for files in ([path], [joint_file(tmp_path), path]):
        with pytest.raises(PriorError, match=r"hostile\.npy is refused and nothing in it was run"):
            read_published(files)
    assert not marker.exists()
    # The file is no dud.
    np.load(path, allow_pickle=True)
    assert marker.exists()


def instructions(*parts: bytes) -> bytes:
    return npy(b"\x80\x04" + b"".join(parts) + b".")


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


NDARRAY = text("numpy") + text("ndarray") + b"\x93"
BILLION = b"\x8a\x05" + (10**12).to_bytes(5, "little")

# Small files that claim or grow much, and files that are not what they should be.
NO_ARRAY = {
    "an array of a million million": instructions(NDARRAY, BILLION, b"\x85R"),
    "such an array by its state": instructions(
        text("numpy._core.multiarray"),
        text("_reconstruct"),
        b"\x93",
        NDARRAY,
        b"K\x00\x85C\x01b\x87R(K\x01J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86",
        text("numpy") + text("dtype") + b"\x93" + text("f4") + b"\x89\x88\x87R",
        b"\x89C\x04abcdtb",
    ),
    "bytes that are not there": instructions(b"\x8e" + (2**40).to_bytes(8, "little")),
    "a text that is not there": instructions(b"\x8d" + (2**40).to_bytes(8, "little")),
    "a memo far out": instructions(b"N", b"r\xff\xff\xff\x7f"),
    "a deep key": instructions(b"})" + b"\x85" * 60_000 + b"Ns"),
    "a deep list": instructions(b"]" * 60_000 + b"a" * 59_999),
    "many instructions": instructions(b"N" * 1_000_000),
    "a structured type": instructions(
        text("numpy") + text("dtype") + b"\x93" + text("V8") + b"\x89\x88\x87R"
    ),
    "objects in numbers' place": array_of({0: {"mean": np.array([None] * 4), "std": 0}}),
    "a huge shape in the header": npy(b"")
    .replace(b"()", b"(9999999999999,)")
    .replace(b"|O", b"<f8"),
    "many objects": npy(b"").replace(b"()", b"(9999999999999,)"),
    "a later format": npy(b"").replace(b"\x01\x00", b"\x02\x00", 1),
    "numbers": b"",
    "text": b"hello, this is not statistics " * 9,
    "a zip archive": b"PK\x03\x04" + b"\x00" * 300,
}


@pytest.mark.parametrize("kind", NO_ARRAY)
def test_a_file_that_claims_much_is_refused_without_making_room(tmp_path, kind):
    path = tmp_path / "odd.npy"
    if kind == "numbers":
        np.save(path, np.zeros(3))
    else:
        path.write_bytes(NO_ARRAY[kind])
    tracemalloc.start()
    try:
        with pytest.raises(PriorError, match=r"odd\.npy is refused and nothing in it was run"):
            read_published([path])
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    whole = array_of({0: entry(), 5: entry()})
    path = tmp_path / "cut.npy"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(PriorError, match=r"cut\.npy is refused"):
            read_published([path])


@pytest.mark.skipif(os.name == "nt", reason="Windows finds room for the whole length of a file")
def test_a_file_larger_than_any_is_not_read(tmp_path):
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(PriorError, match=r"large\.npy has 1099511627776 bytes"):
        read_published([path])


def test_damage_of_any_byte_never_escapes_as_another_error(tmp_path):
    whole = array_of({0: entry(), 5: entry()})
    path = tmp_path / "damaged.npy"
    chosen = random.Random(0)
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chosen.choice((1, 1, 3))):
            damaged[chosen.randrange(len(damaged))] = chosen.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(PriorError):
            read_npy_object(path)


def test_no_module_reads_pickles():
    root = Path(__file__).parents[2] / "prior_tools"
    for module in root.rglob("*.py"):
        source = module.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in source and "pickle.load" not in source, module.name
