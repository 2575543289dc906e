"""Laws of what a build sets aside: by name alone, encoded once, whole after any interruption."""

import hashlib
import json
import logging

import pytest
import torch

from prior_tools import (
    BuildCancelled,
    BuildOptions,
    HeldOut,
    LabelledDataset,
    LabelledImage,
    PriorError,
    build_prior,
    load_prior,
    measure_grain,
    merge_priors,
    resize_labels,
    save_prior,
)
from prior_tools.building import kept
from prior_tools.building.build import collect_moments, finalize
from prior_tools.building.checkpoint import Checkpoint
from prior_tools.building.kept import KeptLatents, SetAside
from prior_tools.cli import main
from prior_tools.labels.soft import soft_labels

GRID = (2, 3)


def encode(images):
    """A stand-in for a VAE: means of 8x8 blocks, and of their squares."""
    x = images.movedim(-1, 1)
    return torch.nn.functional.avg_pool2d(torch.cat([x, x.square()[:, :1]], 1), 8) * 4 - 2


class Scenes(LabelledDataset):
    """Images of noise with label maps of three classes, by name."""

    def __init__(self, names):
        self.names = list(names)

    def __len__(self):
        return len(self.names)

    def name(self, index):
        return self.names[index]

    def __getitem__(self, index):
        if "broken" in self.names[index]:
            raise PriorError(f"{self.names[index]} cannot be read")
        seed = int.from_bytes(hashlib.sha256(self.names[index].encode()).digest()[:4], "little")
        generator = torch.Generator().manual_seed(seed)
        levels = torch.randint(0, 256, (16, 24, 3), generator=generator, dtype=torch.uint8)
        return LabelledImage(levels, torch.randint(0, 3, (16, 24), generator=generator))


class Counting:
    """The encoder, which remembers how many images it has seen."""

    def __init__(self):
        self.images = 0

    def __call__(self, images):
        self.images += len(images)
        return encode(images)


NAMES = [f"city/{i:03}" for i in range(30)]


def digest(word, name):
    return hashlib.sha256(f"{word} {name}".encode()).digest()


@pytest.fixture
def few(monkeypatch):
    """Six images are kept at most, and held out."""
    monkeypatch.setattr(kept, "MOST_IMAGES", 6)


def assert_same_grain(ours, theirs, tolerance):
    for lag in ((0, 0), (1, 0), (0, 1), (1, 2)):
        torch.testing.assert_close(ours.at(*lag), theirs.at(*lag), atol=tolerance, rtol=0)


def options(**more):
    return BuildOptions(**{"batch_size": 4, "workers": 1, **more})


def test_those_are_kept_whose_digest_is_smallest_whatever_their_order(few):
    want = sorted(NAMES, key=lambda name: digest("scp-diff grain", name))[:6]
    for names in (NAMES, NAMES[::-1]):
        found = collect_moments(Scenes(names), encode, options()).aside.for_grain.read()
        assert found.names == want
        for name, latents, labels in zip(want, found.latents, found.labels, strict=True):
            item = Scenes([name])[0]
            own = encode(item.image[None].float() / 255)[0]
            torch.testing.assert_close(latents, own, atol=1e-3, rtol=1e-3)
            assert torch.equal(labels, resize_labels(item.labels, GRID))


def test_several_processes_keep_what_one_does(few):
    dataset, share = Scenes(NAMES), options(holdout=0.1)
    whole = collect_moments(dataset, encode, share).aside
    first, *others = (
        collect_moments(dataset, encode, share, share=(rank, 3)).aside for rank in range(3)
    )
    for other in others:
        for ours, theirs in zip(first, other, strict=True):
            ours.take(theirs.to_bytes())
    for ours, theirs in zip(first, whole, strict=True):
        assert ours.to_bytes() == theirs.to_bytes() != b""


def test_no_more_than_so_many_bytes_are_kept(monkeypatch):
    one = 32 + 4 + 2 * 4 * 6 + 4 * 6
    monkeypatch.setattr(kept, "MOST_BYTES", 5 * one + 1)
    found = collect_moments(Scenes(NAMES), encode, options()).aside.for_grain.read()
    assert len(found.names) == 5


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e7])
def test_half_precision_is_kept_at_any_scale(scale):
    dataset = Scenes(NAMES[:1])
    latents = scale * torch.randn(4, *GRID)
    store = KeptLatents(dataset, [0])
    store.begin(4, GRID)
    store.put(0, latents, torch.zeros(GRID, dtype=torch.int64), None)
    torch.testing.assert_close(store.read().latents[0], latents, rtol=1e-3, atol=1e-3 * scale)


def test_soft_labels_are_kept_of_those_held_out(few):
    found = collect_moments(Scenes(NAMES), encode, options(holdout=0.1)).aside.held_out.read()
    for name, soft in zip(found.names, found.soft, strict=True):
        want = soft_labels(Scenes([name])[0].labels, GRID)
        assert torch.equal(soft.ids, want.ids)
        torch.testing.assert_close(soft.shares, want.shares, atol=1e-3, rtol=0)


@pytest.mark.parametrize("processes", [False, True])
def test_held_out_images_are_encoded_once_and_left_out_of_the_moments(processes):
    encoder = Counting()
    prior = build_prior(Scenes(NAMES), encoder, options(holdout=0.1, processes=processes))
    out = sorted(NAMES, key=lambda name: digest("scp-diff held out", name))[:3]
    rest = build_prior(Scenes([name for name in NAMES if name not in out]), encode, options())
    assert encoder.images == len(NAMES)
    assert prior.num_images == 27 and prior.metadata.held_out.images == 3
    for name in ("joint_mean", "joint_std", "spatial_std", "class_std", "joint_count"):
        torch.testing.assert_close(getattr(prior, name), getattr(rest, name))
    # Nor is grain measured of them.
    assert_same_grain(prior.grain, rest.grain, 1e-3)


def test_grain_is_that_of_all_where_all_are_kept():
    dataset = Scenes(NAMES)
    prior = build_prior(dataset, encode, options())
    latents = torch.cat(
        [encode(item.image[None].float() / 255) for item in map(dataset.__getitem__, range(30))]
    )
    labels = torch.stack([resize_labels(dataset[i].labels, GRID) for i in range(30)])
    want = measure_grain(latents, labels, prior)
    assert_same_grain(prior.grain, want, 5e-3)


def interrupted(checkpoint, at=3, **more):
    """A build of the scenes that is cancelled once so many batches are done."""
    calls = []
    with pytest.raises(BuildCancelled):
        collect_moments(
            Scenes(NAMES),
            encode,
            options(**more),
            checkpoint=checkpoint,
            progress=lambda *_: calls.append(1),
            cancelled=lambda: len(calls) > at,
        )


def saved(collected, folder, **more):
    prior = finalize(collected, Scenes(NAMES), options(**more))
    return save_prior(prior, folder / "p.safetensors").read_bytes()


@pytest.mark.parametrize("holdout", [0.0, 0.2])
def test_resumed_it_is_the_same_bit_for_bit(tmp_path, few, holdout):
    want = saved(collect_moments(Scenes(NAMES), encode, options(holdout=holdout)), tmp_path)
    checkpoint, encoder = Checkpoint(tmp_path / "c", {}), Counting()
    interrupted(checkpoint, holdout=holdout)
    found = collect_moments(Scenes(NAMES), encoder, options(holdout=holdout), checkpoint=checkpoint)
    assert encoder.images == len(NAMES) - 3 * 4
    assert saved(found, tmp_path, holdout=holdout) == want
    found.aside.remove()
    checkpoint.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]


@pytest.mark.parametrize("harm", ["missing", "short", "changed"])
def test_what_is_missing_or_damaged_is_encoded_again_and_told(tmp_path, few, harm, caplog):
    want = saved(collect_moments(Scenes(NAMES), encode, options()), tmp_path)
    checkpoint, encoder = Checkpoint(tmp_path / "c", {}), Counting()
    interrupted(checkpoint, at=5)
    path = tmp_path / "c.grain"
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "short":
        path.write_bytes(data[:150])
    else:
        place = next(i for i in range(40, len(data)) if data[i])
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with caplog.at_level(logging.WARNING):
        found = collect_moments(Scenes(NAMES), encoder, options(), checkpoint=checkpoint)
    again = encoder.images - (len(NAMES) - 5 * 4)
    assert f"of {again} images, latents that were kept" in caplog.text
    assert again == 1 if harm == "changed" else again >= 1
    assert saved(found, tmp_path) == want


def test_the_file_of_another_build_is_not_taken(tmp_path, few):
    checkpoint = Checkpoint(tmp_path / "c", {})
    interrupted(checkpoint)
    # Removed to begin anew; the dataset has the same names and other pictures.
    checkpoint.remove()

    def darker(images):
        return encode(images / 2)

    found = collect_moments(Scenes(NAMES), darker, options(), checkpoint=checkpoint)
    assert saved(found, tmp_path) == saved(
        collect_moments(Scenes(NAMES), darker, options()), tmp_path
    )


def test_images_that_are_left_out_are_not_kept_either(few):
    names = [f"{name} broken" if i % 2 else name for i, name in enumerate(NAMES)]
    aside = collect_moments(Scenes(names), encode, options(on_error="skip", holdout=0.1)).aside
    assert not [name for each in aside for name in each.read().names if "broken" in name]


def test_latents_that_are_no_numbers_are_refused_though_held_out():
    dataset = Scenes(NAMES)
    (out,) = SetAside(dataset, 0.01).candidates

    calls = []

    def spoiled(images):
        calls.append(1)
        return encode(images) * (torch.nan if len(calls) == 1 else 1)

    only = Scenes([NAMES[out], NAMES[0 if out else 1]])
    with pytest.raises(PriorError, match="NaN"):
        build_prior(only, spoiled, options(batch_size=1, holdout=0.5))


@pytest.mark.parametrize("holdout", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(holdout):
    with pytest.raises(PriorError, match="holdout is"):
        BuildOptions(holdout=holdout)


def test_what_leaves_nothing_to_hold_out_is_told_with_the_first_batch(monkeypatch):
    encoder = Counting()
    with pytest.raises(PriorError, match="there is one image alone"):
        build_prior(Scenes(NAMES[:1]), encoder, options(holdout=0.5))
    assert encoder.images == 0
    monkeypatch.setattr(kept, "MOST_BYTES", 100)
    with pytest.raises(PriorError, match=r"holdout is 0\.1, but latents of 4 channels on 3x2"):
        build_prior(Scenes(NAMES), encoder, options(holdout=0.1))
    assert encoder.images == 4


def test_if_only_images_that_are_held_out_could_be_used_the_reason_is_told():
    # By name alone, so other names are tried until the two that are whole are those held out.
    names = next(
        names
        for number in range(999)
        if (names := ["a", "b", f"broken {number}"])
        and set(SetAside(Scenes(names), 0.6).candidates) == {0, 1}
    )
    with pytest.raises(PriorError, match=r"of 3 images all that were not held out.*broken"):
        build_prior(Scenes(names), encode, options(on_error="skip", holdout=0.6))


def test_figures_are_stored_shown_and_not_merged(tmp_path, capsys):
    prior = build_prior(Scenes(NAMES), encode, options(holdout=0.2))
    held_out = prior.metadata.held_out
    path = save_prior(prior, tmp_path / "p.safetensors")
    assert load_prior(path).metadata.held_out == held_out
    assert main(["inspect", str(path)]) == 0
    assert str(held_out) in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 0
    assert HeldOut.from_json(json.loads(capsys.readouterr().out)["held_out"]) == held_out
    assert merge_priors([prior]).metadata.held_out == held_out
    assert merge_priors([prior, prior]).metadata.held_out is None
