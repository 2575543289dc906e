"""Laws of building from folders: every image once, every failure by name, nothing left running."""

import pickle
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from dev.fuzz.limits import memory_limit, offence
from dev.fuzz.tensor_files import damaged_files
from prior_tools import (
    PALETTES,
    BuildCancelled,
    BuildOptions,
    PriorAccumulator,
    PriorError,
    build_prior,
)
from prior_tools.building.checkpoint import HEADER_KEY, Checkpoint, Progress
from prior_tools.datasets.dataset import PairDataset, as_floats
from prior_tools.datasets.pairs import choose_subset, find_pairs
from prior_tools.labels.geometry import resize_labels
from prior_tools.vae_fingerprint import fingerprint_weights

SIZE = (48, 32)


def encode(images: torch.Tensor) -> torch.Tensor:
    """A stand-in for a VAE that is one in earnest: means of 8x8 blocks, and of their squares."""
    x = images.movedim(-1, 1)
    return torch.nn.functional.avg_pool2d(torch.cat([x, x.square()[:, :1]], 1), 8) * 4 - 2


def write_pairs(folder, count=7, size=(60, 40), palette="camvid", seed=0):
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for i in range(count):
        ids = np.kron(rng.integers(0, 5, (4, 6)), np.ones((size[1] // 4, size[0] // 6), int))
        image = rng.integers(0, 255, (*ids.shape, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{i:03}.png")
        colors = PALETTES[palette].paint(torch.from_numpy(ids)).numpy()
        Image.fromarray(colors).save(folder / "labels" / f"{i:03}.png")
    return folder


def dataset_of(folder, **options) -> PairDataset:
    pairs, _ = find_pairs(folder / "images", folder / "labels")
    return PairDataset(pairs, SIZE, PALETTES["camvid"], **options)


def test_equals_the_accumulator_fed_by_hand(tmp_path):
    dataset = dataset_of(write_pairs(tmp_path))
    state = PriorAccumulator(4, (4, 6), (11,))
    for i in range(len(dataset)):
        item = dataset[i]
        state.update(encode(as_floats(item.image)[None]), resize_labels(item.labels[None], (4, 6)))
    want = state.finalize()
    for batch_size, workers in ((1, 1), (3, 4), (100, 2)):
        got = build_prior(dataset, encode, BuildOptions(batch_size=batch_size, workers=workers))
        for name in ("joint_mean", "joint_std", "class_std", "spatial_std", "joint_count"):
            torch.testing.assert_close(
                getattr(got, name), getattr(want, name), atol=1e-6, rtol=1e-6
            )


def test_a_checkpoint_holds_what_was_saved(tmp_path):
    state = PriorAccumulator(2, (3, 4), (11,))
    state.update(torch.randn(2, 2, 3, 4), torch.randint(0, 12, (2, 3, 4)))
    vae = fingerprint_weights({"w": torch.ones(3)})
    checkpoint = Checkpoint(tmp_path / "out.checkpoint", {"size": "32x24"}, vae)
    checkpoint.save(Progress(state, 1, [("007", "cut short")]))
    at = checkpoint.load()
    assert (at.next_batch, at.skipped) == (1, [("007", "cut short")])
    assert all(torch.equal(t, state.to_state()[name]) for name, t in at.state.to_state().items())


def test_each_image_is_encoded_once_in_full_batches_in_order(tmp_path):
    dataset = dataset_of(write_pairs(tmp_path, count=7))
    seen, done = [], []

    def counting(images):
        seen.append(images.clone())
        return encode(images)

    build_prior(dataset, counting, BuildOptions(batch_size=3), progress=lambda *p: done.append(p))
    assert [len(b) for b in seen] == [3, 3, 1]
    assert torch.equal(
        torch.cat(seen), torch.stack([as_floats(dataset[i].image) for i in range(7)])
    )
    assert done == [(0, 7), (3, 7), (6, 7), (7, 7)]


def test_a_skipped_file_moves_no_other_into_another_batch(tmp_path):
    """So that resumed builds and shares of several processes encode the same batches."""
    folder = write_pairs(tmp_path, count=7)
    (folder / "images" / "001.png").write_bytes(b"not a picture")
    sizes, left_out = [], []

    def counting(images):
        sizes.append(len(images))
        return encode(images)

    prior = build_prior(
        dataset_of(folder),
        counting,
        BuildOptions(batch_size=3, on_error="skip"),
        skipped=lambda name, error: left_out.append((name, str(error))),
    )
    assert sizes == [2, 3, 1] and prior.num_images == 6
    assert left_out[0][0] == "001" and "001.png cannot be read" in left_out[0][1]


def test_a_damaged_file_stops_the_build_by_its_name(tmp_path):
    folder = write_pairs(tmp_path)
    whole = (folder / "images" / "002.png").read_bytes()
    (folder / "images" / "002.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PriorError, match=r"image 002\.png cannot be read.*set on_error to skip"):
        build_prior(dataset_of(folder), encode)


def test_an_error_comes_back_from_a_process_that_reads():
    error = pickle.loads(pickle.dumps(PriorError("a file is damaged")))
    assert type(error) is PriorError and str(error) == "a file is damaged"


def test_if_nothing_can_be_used_the_first_reason_is_told(tmp_path):
    folder = write_pairs(tmp_path, count=3)
    for path in (folder / "labels").iterdir():
        path.write_bytes(b"")
    with pytest.raises(PriorError, match=r"none of the 3 images.*label map 000\.png"):
        build_prior(dataset_of(folder), encode, BuildOptions(on_error="skip"))


@pytest.mark.parametrize("way", ["cancelled", "progress", "encode"])
def test_cancel_between_batches_leaves_no_thread_behind(tmp_path, way):
    dataset = dataset_of(write_pairs(tmp_path, count=12))
    calls = []

    class Stop(Exception):
        pass

    def stop(*_):
        calls.append(1)
        if len(calls) == 2:
            raise Stop
        return encode(*_) if way == "encode" else None

    options = {
        "cancelled": {"cancelled": lambda: len(calls) == 1, "progress": lambda *_: calls.append(1)},
        "progress": {"progress": stop},
        "encode": {},
    }[way]
    with pytest.raises(BuildCancelled if way == "cancelled" else Stop):
        build_prior(
            dataset, stop if way == "encode" else encode, BuildOptions(batch_size=2), **options
        )
    assert not [t for t in threading.enumerate() if t.name.startswith("scp-read")]


def test_nan_and_other_sizes_of_latents_are_refused(tmp_path):
    dataset = dataset_of(write_pairs(tmp_path, count=2))
    with pytest.raises(PriorError, match="NaN"):
        build_prior(dataset, lambda images: encode(images) / 0 * 0)
    with pytest.raises(PriorError, match="downscale factor of 16"):
        build_prior(dataset, encode, BuildOptions(downscale_factor=16))


def test_metadata_is_kept(tmp_path):
    prior = build_prior(dataset_of(write_pairs(tmp_path, 2)), encode, latent_format="sd15")
    assert prior.metadata.latent_format == "sd15" and prior.metadata.downscale_factor == 8
    assert prior.grid == (4, 6)


def test_pairs_go_by_name_and_the_lonely_are_listed(tmp_path):
    folder = write_pairs(tmp_path, count=4)
    (folder / "images" / "000.png").unlink()
    (folder / "labels" / "003.png").unlink()
    (folder / "images" / ".hidden.png").write_bytes(b"")
    (folder / "images" / "notes.txt").write_text("hello")
    pairs, unpaired = find_pairs(folder / "images", folder / "labels")
    assert [p.name for p in pairs] == ["001", "002"]
    assert str(unpaired) == "1 images have no label: 003; 1 labels have no image: 000"


def test_pairs_in_subfolders_keep_their_folder(tmp_path):
    folder = write_pairs(tmp_path, count=2)
    for kind in ("images", "labels"):
        (folder / kind / "city").mkdir()
        (folder / kind / "000.png").rename(folder / kind / "city" / "000.png")
    pairs, _ = find_pairs(folder / "images", folder / "labels")
    assert [p.name for p in pairs] == ["001", "city/000"]


@pytest.mark.parametrize("case", ["missing", "empty", "none", "double"])
def test_folders_without_pairs_are_told_apart(tmp_path, case):
    folder = write_pairs(tmp_path, count=2)
    images = folder / "images"
    if case == "missing":
        images = folder / "pictures"
    if case == "empty":
        images = folder / "nothing"
        images.mkdir()
    if case == "none":
        for i, path in enumerate(images.iterdir()):
            path.rename(images / f"other{i}.png")
    if case == "double":
        (images / "000.jpg").write_bytes(b"")
    says = {
        "missing": "'pictures' does not exist",
        "empty": "holds no pictures",
        "none": "no image in images has a label",
        "double": "two image files are named '000'",
    }
    with pytest.raises(PriorError, match=says[case]):
        find_pairs(images, folder / "labels")


def test_a_subset_is_seeded_and_ascending():
    assert choose_subset(5, 0, 1) == choose_subset(5, 9, 1) == [0, 1, 2, 3, 4]
    some = choose_subset(1000, 50, 3)
    assert some == sorted(set(some)) and len(some) == 50
    assert some == choose_subset(1000, 50, 3) != choose_subset(1000, 50, 4)


def one_pair(tmp_path, image: Image.Image, label: Image.Image, suffix="png", **options):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    image.save(tmp_path / "images" / f"a.{suffix}", **options)
    label.save(tmp_path / "labels" / "a.png")
    return dataset_of(tmp_path)


IDS = np.kron(np.array([[0, 1, 2], [3, 4, 8]], np.uint8), np.ones((20, 20), np.uint8))
PHOTO = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8))


@pytest.mark.parametrize("mode", ["L", "P index", "P color", "I;16", "RGB", "RGBA"])
def test_label_files_of_every_kind_hold_the_same_ids(tmp_path, mode):
    colors = PALETTES["camvid"].paint(torch.from_numpy(IDS).long()).numpy()
    label = Image.fromarray(colors)
    if mode == "L":
        label = Image.fromarray(IDS)
    elif mode == "I;16":
        label = Image.fromarray(IDS.astype(np.uint16))
    elif mode == "P index":
        label = Image.fromarray(IDS)
        label.putpalette([v for i in range(256) for v in (i, 255 - i, 33)])
    elif mode == "P color":
        label = label.quantize(16)
    elif mode == "RGBA":
        label = label.convert("RGBA")
    dataset = one_pair(tmp_path, PHOTO, label)
    assert np.array_equal(dataset[0].labels.numpy(), IDS)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "I;16", "P"])
def test_images_of_every_kind_become_three_channels(tmp_path, mode):
    grey = Image.fromarray(np.linspace(0, 65535, 2400).reshape(40, 60).astype(np.uint16))
    image = grey if mode == "I;16" else PHOTO.convert(mode)
    suffix = "tif" if mode == "CMYK" else "png"
    dataset = one_pair(tmp_path, image, Image.fromarray(IDS), suffix)
    read = as_floats(dataset[0].image)
    assert read.shape == (32, 48, 3) and read.dtype == torch.float32
    assert read.min() >= 0 and read.max() <= 1
    if mode == "I;16":
        assert read.max() > 0.95 and read.mean() == pytest.approx(0.5, abs=0.02)


def test_exif_rotation_turns_the_image(tmp_path):
    tall = Image.fromarray(np.zeros((60, 40, 3), np.uint8))
    tall.paste((255, 255, 255), (0, 0, 40, 30))
    exif = Image.Exif()
    exif[0x0112] = 8  # shown turned by 90 degrees: the bright half lies at the left
    dataset = one_pair(tmp_path, tall, Image.fromarray(IDS), "jpg", exif=exif)
    image = as_floats(dataset[0].image)
    assert image[:, :20].mean() > 0.9 and image[:, 28:].mean() < 0.1


def test_crop_cuts_image_and_label_alike_at_their_own_sizes(tmp_path):
    wide = np.zeros((40, 120), np.uint8)
    wide[:, 30:90] = 1
    picture = Image.fromarray(wide * 255).convert("RGB").resize((240, 80), Image.Resampling.NEAREST)
    pairs = one_pair(tmp_path, picture, Image.fromarray(wide)).pairs
    dataset = PairDataset(pairs, (60, 40), PALETTES["camvid"], resize="crop")
    assert as_floats(dataset[0].image).min() == 1
    assert dataset[0].labels.unique().tolist() == [1]


def test_ids_outside_the_palette_are_named(tmp_path):
    strange = IDS.copy()
    strange[0, 0] = 77
    dataset = one_pair(tmp_path, PHOTO, Image.fromarray(strange))
    with pytest.raises(PriorError, match=r"a\.png holds class ids 77, which palette 'camvid'"):
        dataset[0]
    allowed = PairDataset(dataset.pairs, SIZE, PALETTES["camvid"], ignore_ids=(77,))
    assert allowed[0].labels[0, 0] == 77


def test_a_label_file_in_another_palette_is_named_with_the_likely_one(tmp_path):
    colors = PALETTES["cityscapes"].paint(torch.from_numpy(IDS).long()).numpy()
    dataset = one_pair(tmp_path, PHOTO, Image.fromarray(colors))
    with pytest.raises(PriorError, match=r"label map a\.png matches no.*it may be cityscapes"):
        dataset[0]


@pytest.mark.parametrize("shown", ["grey", "voc"])
def test_ids_made_visible_by_a_usual_color_table_are_ids(tmp_path, shown):
    """Under coco_stuff, whose colors are those of PASCAL VOC for the next id."""
    from prior_tools.labels.palettes import bit_color

    label = Image.fromarray(IDS)
    table = [(i, i, i) if shown == "grey" else bit_color(i) for i in range(256)]
    label.putpalette([v for color in table for v in color])
    pairs = one_pair(tmp_path, PHOTO, label).pairs
    dataset = PairDataset(pairs, SIZE, PALETTES["coco_stuff"])
    assert np.array_equal(dataset[0].labels.numpy(), IDS)


def test_grey_ids_do_not_pass_for_unlabelled(tmp_path):
    grey = Image.fromarray(np.stack([IDS + 1] * 3, -1))
    pairs = one_pair(tmp_path, PHOTO, grey).pairs
    dataset = PairDataset(pairs, SIZE, PALETTES["coco_stuff"])
    with pytest.raises(PriorError, match="it may be grey_ids"):
        dataset[0]


def test_an_image_is_not_turned_away_from_a_label_drawn_on_it_unturned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    dataset = one_pair(tmp_path, PHOTO, Image.fromarray(IDS), "jpg", exif=exif, quality=95)
    unturned = PHOTO.resize(SIZE, Image.Resampling.BICUBIC)
    assert np.abs(dataset[0].image.numpy() - np.asarray(unturned).astype(int)).mean() < 30


def checkpoint(folder, weights=None, **identity) -> Checkpoint:
    """The checkpoint of 6 images in `folder`, saved after batch 3 if it was not there."""
    generator = torch.Generator().manual_seed(0)
    own = {"a": torch.randn(50, 9, generator=generator), "b": torch.randn(3, generator=generator)}
    vae = fingerprint_weights(own if weights is None else weights(own))
    found = Checkpoint(folder / "p.checkpoint", {"size": "48x32", **identity}, vae)
    if not found.path.exists():
        state = PriorAccumulator(4, (3, 5), (255,))
        labels = torch.randint(-1, 9, (6, 3, 5), generator=generator)
        state.update(torch.randn(6, 4, 3, 5, generator=generator), labels)
        found.save(Progress(state, 3, [("007", "it is no picture")]))
    return found


def test_a_checkpoint_is_of_its_vae_in_any_precision(tmp_path):
    checkpoint(tmp_path)
    halves = checkpoint(tmp_path, lambda own: {name: own[name].half() for name in own})
    assert halves.load().next_batch == 3
    with pytest.raises(PriorError, match=r"build that differs: the VAE \(.* differ by up to 9"):
        checkpoint(tmp_path, lambda own: {**own, "b": own["b"] * 1.1}).load()
    with pytest.raises(PriorError, match="size was 48x32 and is 8x8"):
        checkpoint(tmp_path, size="8x8").load()


def test_a_damaged_checkpoint_is_refused_whatever_is_wrong(tmp_path):
    """2,000 files with bits flipped and headers rewritten; those that load can be gone on from."""
    whole = checkpoint(tmp_path).path.read_bytes()
    loaded = []

    def use():
        progress = checkpoint(tmp_path).load()
        loaded.append(progress)
        if progress.state:
            grid, channels = progress.state.grid, progress.state.latent_channels
            progress.state.update(torch.ones(1, channels, *grid), torch.full((1, *grid), 3))
            progress.state.finalize()

    use()
    with memory_limit(100):
        found = {}
        for seed, data in damaged_files(whole, HEADER_KEY, range(2000)):
            (tmp_path / "p.checkpoint").write_bytes(data)
            found[seed] = offence(use)
    assert {seed: told for seed, told in found.items() if told} == {}
    assert 100 < len(loaded) < 700
