"""Laws of checkpoints: a build goes on from its last batch, and from no other build."""

import json
from collections import Counter

import pytest
import torch
from safetensors.torch import save as tensors_to_bytes

from dev.leftovers import killed_while_writing
from dev.tiny_pairs import dataset_of, encode, write_pairs
from prior_tools import (
    BuildOptions,
    PriorAccumulator,
    PriorError,
)
from prior_tools.building.build import collect_moments
from prior_tools.building.checkpoint import HEADER_KEY, Checkpoint, Progress
from prior_tools.labels.tally import LabelTally
from prior_tools.vae_fingerprint import fingerprint_weights


def test_a_checkpoint_holds_what_was_saved(tmp_path):
    state = PriorAccumulator(2, (3, 4), (11,))
    state.update(torch.randn(2, 2, 3, 4), torch.randint(0, 12, (2, 3, 4)))
    vae = fingerprint_weights({"w": torch.ones(3)})
    checkpoint = Checkpoint(tmp_path / "out.checkpoint", {"size": "32x24"}, vae)
    tally = LabelTally(1, 24, 2, 1, 5, Counter({3: 20, 11: 1}), Counter({(1, 2, 3): 1}))
    tally.notes["lossy"] += 1
    checkpoint.save(Progress(state, 1, [("007", "cut short")], tally))
    at = checkpoint.load()
    assert (at.next_batch, at.skipped, at.tally) == (1, [("007", "cut short")], tally)
    assert all(torch.equal(t, state.to_state()[name]) for name, t in at.state.to_state().items())


@pytest.mark.parametrize("every", [0.0, 1e9])
def test_a_checkpoint_never_counts_a_batch_that_is_still_being_accumulated(tmp_path, every):
    """However often one is saved; the last is saved where reading stops."""
    folder = write_pairs(tmp_path, 7)
    (folder / "images" / "005.png").write_bytes(b"no picture")
    checkpoint = Checkpoint(tmp_path / "p.checkpoint", {}, every=every)
    seen, save = [], checkpoint.save

    def saved(progress):
        seen.append((progress.next_batch, progress.state.num_images if progress.state else 0))
        save(progress)

    checkpoint.save = saved
    with pytest.raises(PriorError, match="005"):
        collect_moments(
            dataset_of(folder), encode, BuildOptions(batch_size=1), checkpoint=checkpoint
        )
    assert all(done == images for done, images in seen)
    assert [done for done, _ in seen] == ([*range(5), 5] if every == 0 else [5])


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_done_before_a_file_that_stops_the_build_is_kept(tmp_path, workers):
    folder = write_pairs(tmp_path, 7)
    (folder / "images" / "005.png").write_bytes(b"no picture")
    checkpoint = Checkpoint(tmp_path / "p.checkpoint", {})
    options = BuildOptions(batch_size=2, workers=workers, processes=workers > 0)
    with pytest.raises(PriorError, match="005"):
        collect_moments(dataset_of(folder), encode, options, checkpoint=checkpoint)
    assert checkpoint.load().next_batch == 2 and checkpoint.load().state.num_images == 4
    # Who then leaves such files out goes on from there, but not back again.
    skipping = BuildOptions(8, "majority", 2, "skip", workers, workers > 0)
    found = collect_moments(dataset_of(folder), encode, skipping, checkpoint=checkpoint)
    alone = collect_moments(dataset_of(folder), encode, skipping)
    assert found.tally == alone.tally and found.state.num_images == 6
    state = found.state.to_state()
    assert all(torch.equal(t, state[name]) for name, t in alone.state.to_state().items())
    with pytest.raises(PriorError, match=r"first, 005: image 005\.png.*go on, set on_error"):
        collect_moments(dataset_of(folder), encode, options, checkpoint=checkpoint)


def damaged(change) -> bytes:
    """A checkpoint's bytes, its header or its tensors changed."""
    state = PriorAccumulator(2, (2, 3))
    state.update(torch.ones(1, 2, 2, 3), torch.zeros(1, 2, 3, dtype=torch.int64))
    tensors = state.to_state()
    progress = {"next_batch": 1, "skipped": [], "tally": LabelTally(1, 6, 1).to_json()}
    header = {"identity": {"size": "8x8"}, "vae": None, "used": "", "progress": progress}
    change(header, tensors)
    return tensors_to_bytes(tensors, {HEADER_KEY: json.dumps(header)})


@pytest.mark.parametrize(
    "change",
    [
        lambda header, tensors: header.pop("progress"),
        lambda header, tensors: header.update(identity=[]),
        lambda header, tensors: header.update(used=None),
        lambda header, tensors: header["progress"].update(next_batch=-1),
        lambda header, tensors: header["progress"].update(next_batch=None),
        lambda header, tensors: header["progress"].update(tally=None),
        lambda header, tensors: header["progress"]["tally"].update(pixels=-1),
        lambda header, tensors: header["progress"]["tally"].update(classes={"a": 1}),
        lambda header, tensors: header["progress"]["tally"].update(colors=[[1, 2, 300, 4]]),
        lambda header, tensors: header["progress"].update(next_batch=float("inf")),
        lambda header, tensors: header["progress"].update(skipped=[1]),
        lambda header, tensors: tensors.pop("joint_n"),
        lambda header, tensors: tensors["joint_n"].fill_(2),
        lambda header, tensors: tensors["spatial_mean"].fill_(1e10),
        lambda header, tensors: tensors["joint_m2"].fill_(torch.inf),
        lambda header, tensors: tensors.update(shape=torch.tensor([2, 20000, 20000, 1])),
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, change):
    path = tmp_path / "p.checkpoint"
    path.write_bytes(damaged(lambda header, tensors: None))
    assert Checkpoint(path, {"size": "8x8"}).load().next_batch == 1
    path.write_bytes(damaged(change))
    with pytest.raises(PriorError, match=r"p\.checkpoint cannot be read.*remove it"):
        Checkpoint(path, {"size": "8x8"}).load()


def test_resumed_and_done_a_build_leaves_nothing_of_a_killed_write(tmp_path):
    path = tmp_path / "p.checkpoint"
    known = Checkpoint(path, {})
    killed_while_writing(path)
    known.load()
    assert not list(tmp_path.iterdir())
    known.save(Progress())
    killed_while_writing(path)
    assert known.load() == Progress()
    assert list(tmp_path.iterdir()) == [path]
    # As a rank that ended the job before its share was done.
    killed_while_writing(path)
    known.remove()
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_tells_of_another_build_before_all_is_known(tmp_path):
    path = tmp_path / "p.checkpoint"
    Checkpoint(path, {"size": "8x8", "vae": "ab"}).save(Progress())
    known = Checkpoint(path, {"size": "8x8"})
    known.check()
    with pytest.raises(PriorError, match="vae was ab and is None"):
        known.load()
    with pytest.raises(PriorError, match="size was 8x8 and is 9x9"):
        Checkpoint(path, {"size": "9x9"}).check()


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
