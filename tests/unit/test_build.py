"""Laws of building from folders: every image once, every failure by name."""

import threading
import time

import pytest
import torch
from PIL import Image

from dev.tiny_pairs import SIZE, dataset_of, encode, write_pairs
from prior_tools import (
    PALETTES,
    BuildOptions,
    ImageDataset,
    LabelledDataset,
    LabelledImage,
    PriorAccumulator,
    PriorError,
    build_prior,
    find_images,
    load_prior,
    memory,
    save_prior,
)
from prior_tools.accumulator import state_bytes
from prior_tools.building import batches
from prior_tools.datasets.dataset import as_floats
from prior_tools.datasets.images import label_folders_among
from prior_tools.helper_threads import InOrder
from prior_tools.labels.geometry import resize_labels


def test_equals_the_accumulator_fed_by_hand(tmp_path):
    dataset = dataset_of(write_pairs(tmp_path))
    state = PriorAccumulator(4, (4, 6), (11,))
    for i in range(len(dataset)):
        item = dataset[i]
        state.update(encode(as_floats(item.image)[None]), resize_labels(item.labels[None], (4, 6)))
    want = state.finalize()
    for batch_size, workers, processes in (
        *((1, 1, False), (3, 4, False), (100, 0, False)),
        *((3, 0, True), (3, 2, True), (100, 1, True)),
    ):
        options = BuildOptions(batch_size=batch_size, workers=workers, processes=processes)
        got = build_prior(dataset, encode, options)
        for name in ("joint_mean", "joint_std", "class_std", "spatial_std", "joint_count"):
            torch.testing.assert_close(
                getattr(got, name), getattr(want, name), atol=1e-6, rtol=1e-6
            )


@pytest.mark.parametrize("resize", ["stretch", "crop"])
@pytest.mark.parametrize("processes", [False, True])
def test_images_alone_give_the_spatial_moments_that_they_give_with_labels(
    tmp_path, resize, processes
):
    labelled = dataset_of(write_pairs(tmp_path, size=(60, 24)), resize=resize)
    alone = ImageDataset(find_images(tmp_path / "images"), SIZE, resize)
    options, tallies = BuildOptions(batch_size=3, workers=2, processes=processes), []
    got = build_prior(alone, encode, options, tallied=tallies.append)
    want = build_prior(labelled, encode, options)
    assert not got.labelled and not tallies and len(got.class_ids) == 0
    assert torch.equal(got.spatial_mean, want.spatial_mean)
    assert torch.equal(got.spatial_std, want.spatial_std)
    assert got.grain is not None
    assert got.num_images == 7 and got.metadata.source_size == SIZE
    assert got.metadata.resize_policy == resize and got.metadata.label_method is None


def test_every_picture_of_a_folder_counts_also_those_that_differ_in_the_suffix(tmp_path):
    for name in ("b.png", "b.jpg", "sub/a.webp", "sub/.hidden.png", "._b.png", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".txt":
            path.write_text("none")
        else:
            Image.new("RGB", (8, 8)).save(path)
    images = find_images(tmp_path)
    assert [image.name for image in images] == ["b.jpg", "b.png", "sub/a.webp"]
    assert ImageDataset(images, (8, 8)).files(2) == (tmp_path / "sub" / "a.webp",)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PriorError, match="'empty' holds no pictures; expected files ending in"):
        find_images(tmp_path / "empty")
    with pytest.raises(PriorError, match="'none' does not exist"):
        find_images(tmp_path / "none")


def test_a_dataset_whole_among_images_alone_is_told_of(tmp_path):
    write_pairs(tmp_path, count=2)
    told = label_folders_among(find_images(tmp_path))
    assert "2 in labels" in told and "count as images too" in told
    assert not label_folders_among(find_images(tmp_path / "images"))
    # The folder that was named was meant.
    assert not label_folders_among(find_images(tmp_path / "labels"))


def test_a_picture_among_images_alone_that_cannot_be_read_is_named_or_left_out(tmp_path):
    write_pairs(tmp_path, count=3)
    (tmp_path / "images" / "001.png").write_bytes(b"\x89PNG garbage")
    dataset, left_out = ImageDataset(find_images(tmp_path / "images"), SIZE), []
    with pytest.raises(PriorError, match=r"image 001\.png cannot be read"):
        build_prior(dataset, encode)
    prior = build_prior(
        dataset,
        encode,
        BuildOptions(on_error="skip"),
        skipped=lambda *told: left_out.append(told[0]),
    )
    assert prior.num_images == 2 and left_out == ["001.png"]


def test_labels_are_there_or_the_dataset_says_that_there_are_none():
    with pytest.raises(PriorError, match="item 0: the item has no labels; expected class ids"):
        build_prior(Scenes(grey(), labels=False), encode)

    class Unlabelled(Scenes):
        labelled = False

    assert not build_prior(Unlabelled(grey(), labels=False), encode).labelled
    with pytest.raises(PriorError, match=r"holdout is 0\.5, but the dataset has no label maps"):
        build_prior(Unlabelled(grey()), never, BuildOptions(holdout=0.5))
    with pytest.raises(PriorError, match="palette is given, but label_method None"):
        build_prior(Unlabelled(grey()), never, palette="camvid")
    with pytest.raises(PriorError, match=r"grid is \(0, 6\)"):
        build_prior(Unlabelled(grey(size=(4, 48))), encode)


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


def test_a_batch_is_accumulated_while_the_next_is_encoded(tmp_path, monkeypatch):
    """Each waits here for the other, so the build ends only if they run side by side."""
    encoding, added, calls = threading.Event(), threading.Event(), []
    update = PriorAccumulator.update

    def waiting_update(state, *arguments):
        if state.num_images == 0:
            assert encoding.wait(20)
        update(state, *arguments)
        added.set()

    def waiting_encode(images):
        calls.append(len(images))
        if len(calls) == 2:
            encoding.set()
            assert added.wait(20)
        return encode(images)

    monkeypatch.setattr(PriorAccumulator, "update", waiting_update)
    dataset = dataset_of(write_pairs(tmp_path, count=7))
    assert build_prior(dataset, waiting_encode, BuildOptions(batch_size=3)).num_images == 7


def test_a_batch_is_stacked_while_the_one_before_is_encoded(tmp_path, monkeypatch):
    """If it has been read by then, as it has here; the encoder waits for it."""
    stacked, calls = threading.Semaphore(0), []
    stack, ready = batches.stack_batch, InOrder.ready

    def told_stack(items):
        result = stack(items)
        stacked.release()
        return result

    def ready_soon(items, count):
        end = time.monotonic() + 20
        while not ready(items, count) and time.monotonic() < end:
            time.sleep(0.01)
        return ready(items, count)

    def waiting_encode(images):
        calls.append(len(images))
        # Its own, and the next one.
        assert all(stacked.acquire(timeout=20) for _ in range({1: 2, 2: 1, 3: 0}[len(calls)]))
        return encode(images)

    monkeypatch.setattr(InOrder, "ready", ready_soon)
    monkeypatch.setattr(batches, "stack_batch", told_stack)
    dataset = dataset_of(write_pairs(tmp_path, count=6))
    assert build_prior(dataset, waiting_encode, BuildOptions(batch_size=2)).num_images == 6


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


def test_what_to_do_follows_the_reason_after_one_full_stop(tmp_path):
    folder = write_pairs(tmp_path, count=1, palette="cityscapes")
    with pytest.raises(PriorError, match=r"of label maps\. To leave such files out") as refused:
        build_prior(dataset_of(folder), encode)
    assert ".." not in str(refused.value)


def test_if_nothing_can_be_used_the_first_reason_is_told(tmp_path):
    folder = write_pairs(tmp_path, count=3)
    for path in (folder / "labels").iterdir():
        path.write_bytes(b"")
    with pytest.raises(PriorError, match=r"none of the 3 images.*label map 000\.png"):
        build_prior(dataset_of(folder), encode, BuildOptions(on_error="skip"))


def test_what_all_classes_of_the_palette_would_take_is_said_before_they_come(
    tmp_path, monkeypatch, caplog
):
    dataset = dataset_of(write_pairs(tmp_path))
    # Of the palette's eleven classes five are in the label maps.
    monkeypatch.setattr(memory, "machine_memory", lambda: 2 * state_bytes(8, 4, (4, 6)))
    build_prior(dataset, encode)
    assert "collecting all 11 classes of the palette camvid" in caplog.text
    caplog.clear()
    monkeypatch.setattr(memory, "machine_memory", lambda: 2 * state_bytes(11, 4, (4, 6)))
    build_prior(dataset, encode)
    assert not caplog.text


def test_nan_and_other_sizes_of_latents_are_refused(tmp_path):
    dataset = dataset_of(write_pairs(tmp_path, count=2))
    with pytest.raises(PriorError, match="NaN"):
        build_prior(dataset, lambda images: encode(images) / 0 * 0)
    with pytest.raises(PriorError, match="downscale factor of 16"):
        build_prior(dataset, encode, BuildOptions(downscale_factor=16))


class Scenes(LabelledDataset):
    """A dataset of one's own, with these images [H, W, 3], all of one class."""

    def __init__(self, *images, labels=None):
        self.images, self.labels = images, torch.zeros(8, 8).long() if labels is None else labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return LabelledImage(self.images[index], None if self.labels is False else self.labels)


def grey(level=0.5, size=(32, 48), dtype=torch.float32) -> torch.Tensor:
    return torch.full((*size, 3), level, dtype=dtype)


def never(*_):
    raise AssertionError("something was read or encoded")


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"datasetname": "x"}, "datasetname is given as metadata; expected fields of PriorMeta"),
        ({"latent_format": "sd1"}, "latent_format is 'sd1'; expected one of sd15"),
        ({"ignore_ids": (1,)}, "ignore_ids is given .* told by the dataset: give them to PairD"),
        ({"grid": (4, 6)}, "grid is given as metadata; it is told by the latents"),
        ({"downscale_factor": 4}, "told by the options: give it to BuildOptions"),
        ({"palette": "camvit"}, "no palette is named 'camvit'"),
        ({"vae": "vae.safetensors"}, "vae is 'vae.safetensors'"),
        ({"source_size": (0, 32)}, "source_size is"),
    ],
)
def test_wrong_metadata_is_told_before_anything_is_read(metadata, says):
    class Unread(Scenes):
        __getitem__ = never

    with pytest.raises(PriorError, match=says):
        build_prior(Unread(grey()), never, **metadata)

    class TellsWrong(Unread):
        @property
        def metadata(self):
            return metadata

    with pytest.raises(PriorError, match=says):
        build_prior(TellsWrong(grey()), never)


def test_a_palettes_name_is_the_palette_in_the_file(tmp_path):
    prior = build_prior(Scenes(grey()), encode, palette="camvid")
    loaded = load_prior(save_prior(prior, tmp_path / "p.safetensors"))
    assert loaded.metadata.palette == PALETTES["camvid"]


def test_latents_of_another_format_end_the_build_with_the_first_batch():
    batches = []

    def three_channels(images):
        batches.append(len(images))
        return encode(images)[:, :3]

    with pytest.raises(PriorError, match=r"3 latent channels, but latent_format 'sd15' has 4"):
        build_prior(
            Scenes(*[grey()] * 9), three_channels, BuildOptions(batch_size=2), latent_format="sd15"
        )
    assert batches == [2]


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (grey(200.0), r"holds floats from 200 to 200; expected 0\.\.1"),
        (grey(1.01), "holds floats"),
        (grey(-0.01), "holds floats"),
        (grey(float("nan")), "holds floats from nan"),
        (grey(200, dtype=torch.int64), r"is torch\.int64; expected uint8"),
        (grey().movedim(-1, 0), r"is \(3, 32, 48\); expected a tensor \[H, W, 3\]"),
        (grey().numpy(), "is ndarray"),
        (grey(size=(4, 48)), "grid is"),
    ],
)
@pytest.mark.parametrize("processes", [False, True])
def test_an_item_that_is_no_image_is_named_or_left_out(image, says, processes):
    dataset, left_out = Scenes(grey(), image), []
    with pytest.raises(PriorError, match=f"^item 1: .*{says}"):
        build_prior(dataset, encode, BuildOptions(workers=1, processes=processes))
    options = BuildOptions(on_error="skip", workers=1, processes=processes)
    prior = build_prior(dataset, encode, options, skipped=lambda *told: left_out.append(told))
    assert prior.num_images == 1 and left_out[0][0] == "item 1"


def test_labels_of_floats_are_named():
    with pytest.raises(PriorError, match=r"^item 0: labels are torch\.float32; expected integer"):
        build_prior(Scenes(grey(), labels=torch.full((8, 8), 3.7)), encode)


def test_floats_a_hair_out_of_range_and_bytes_are_images_in_one_batch():
    dataset = Scenes(grey(1 + 1e-5), grey(1.0), grey(255, dtype=torch.uint8))
    latents = build_prior(dataset, encode).spatial_mean
    torch.testing.assert_close(latents, encode(grey(1.0)[None])[0], atol=1e-3, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_images_of_several_sizes_are_told_by_name(batch_size, on_error):
    dataset = Scenes(grey(), grey(), grey(size=(33, 49)))
    with pytest.raises(PriorError, match="item 2 has 49x33 pixels, that of item 0 48x32"):
        build_prior(dataset, encode, BuildOptions(batch_size=batch_size, on_error=on_error))


def test_what_a_dataset_lacks_is_told():
    class Bare:
        def __len__(self):
            return 1

        __getitem__ = name = never

    with pytest.raises(PriorError, match="Bare, lacks labelled, ignored, metadata; derive"):
        build_prior(Bare(), never)
    Bare.labelled, Bare.ignored, Bare.metadata = True, (), None
    with pytest.raises(PriorError, match="the dataset's metadata are None"):
        build_prior(Bare(), never)
    Bare.metadata, Bare.__getitem__ = {}, lambda self, index: (grey(), torch.zeros(8, 8))
    Bare.name = lambda self, index: "scene"
    with pytest.raises(PriorError, match="scene: the item is a tuple; expected a LabelledImage"):
        build_prior(Bare(), never)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"downscale_factor": 0}, r"downscale_factor is 0; expected 1\.\.128"),
        ({"downscale_factor": 8.5}, r"downscale_factor is 8\.5; expected a whole number"),
        ({"label_method": "mean"}, "label_method is 'mean'; expected one of majority, nearest"),
        ({"batch_size": 0}, "batch_size is 0; expected at least 1"),
        ({"batch_size": 2.5}, "batch_size is 2"),
        ({"workers": -1}, "workers is -1; expected at least 0"),
        ({"on_error": "go on"}, "on_error is 'go on'"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(option, says):
    with pytest.raises(PriorError, match=says):
        BuildOptions(**option)


def test_metadata_is_kept(tmp_path):
    prior = build_prior(dataset_of(write_pairs(tmp_path, 2)), encode, latent_format="sd15")
    assert prior.metadata.latent_format == "sd15" and prior.metadata.downscale_factor == 8
    assert prior.grid == (4, 6)
