"""Laws of building from folders: every image once, every failure by name, nothing left running."""

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import save as tensors_to_bytes

from prior_tools import (
    PALETTES,
    BuildCancelled,
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
from prior_tools.building.build import collect_moments
from prior_tools.building.checkpoint import HEADER_KEY, Checkpoint, Progress
from prior_tools.cli.stopping import stopped_by_signal
from prior_tools.datasets.dataset import PairDataset, as_floats
from prior_tools.datasets.images import label_folders_among
from prior_tools.datasets.pairs import Pair, choose_subset, find_pairs
from prior_tools.helper_threads import InOrder
from prior_tools.labels.geometry import resize_labels
from prior_tools.labels.tally import LabelTally
from prior_tools.vae_fingerprint import fingerprint_weights

SIZE = (48, 32)
REPOSITORY = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals and pipes")


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


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.parametrize("way", ["cancelled", "progress", "encode"])
def test_cancel_between_batches_leaves_no_reader_behind(tmp_path, way, processes):
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
            dataset,
            stop if way == "encode" else encode,
            BuildOptions(batch_size=2, workers=2, processes=processes),
            **options,
        )
    assert not [t for t in threading.enumerate() if t.name.startswith("scp-")]
    assert not multiprocessing.active_children()


# A build as a script of its own: images of 0.4 MB, of which more are read ahead than fit into 4 MB.
IN_PROCESSES = """
import torch
from prior_tools import BuildOptions, build_prior
from prior_tools.datasets.dataset import LabelledImage

class Noise:
    labelled, ignored, metadata = True, (), {}
    def __len__(self): return 24
    def name(self, index): return str(index)
    def __getitem__(self, index):
        image = torch.full((256, 512, 3), index, dtype=torch.uint8)
        return LabelledImage(image, torch.zeros(256, 512, dtype=torch.int64))

def encode(images):
    return torch.nn.functional.avg_pool2d(images.movedim(-1, 1), 8)

if __name__ == "__main__":
    options = BuildOptions(batch_size=8, workers=2, processes=True)
    print("mean", build_prior(Noise(), encode, options).spatial_mean.mean().item() * 255)
"""


@pytest.mark.skipif(
    not shutil.which("unshare"), reason="no unshare to give a process its own mounts"
)
@pytest.mark.parametrize("kilobytes", [4096, 4])
def test_processes_need_no_shared_memory(tmp_path, kilobytes):
    """4 kB hold not even a lock: Docker's default is 64 MB for all that a container runs."""
    mounted = f"mount -t tmpfs -o size={kilobytes}k tmpfs /dev/shm"
    probe = subprocess.run(["unshare", "-m", "sh", "-c", mounted], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"a /dev/shm of its own is not allowed here: {probe.stderr.strip()}")
    script = tmp_path / "script.py"
    script.write_text(IN_PROCESSES)
    full = "head -c 4096 /dev/zero > /dev/shm/full" if kilobytes == 4 else "true"
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{mounted} && {full} && exec {sys.executable} {script}"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout.split()[-1]) == pytest.approx(sum(range(24)) / 24, abs=1e-3)


def with_a_hanging_image(folder, at: int) -> PairDataset:
    """Pairs of which one image is a pipe that nobody writes to, as a drive that has gone."""
    dataset = dataset_of(write_pairs(folder))
    os.mkfifo(folder / "hanging")
    pairs = list(dataset.pairs)
    pairs[at] = Pair("hanging", folder / "hanging", pairs[at].label)
    return PairDataset(pairs, dataset.size, dataset.palette)


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_build_that_waits_for_a_reader_ends_on_a_signal_and_keeps_what_it_has(
    tmp_path, workers, number
):
    dataset = with_a_hanging_image(tmp_path, 5)
    checkpoint = Checkpoint(tmp_path / "checkpoint", {})
    options = BuildOptions(batch_size=2, workers=workers, processes=True)

    def soon(done: int, _total: int) -> None:
        if done == 4:
            threading.Timer(0.3, os.kill, (os.getpid(), number)).start()

    before = set(threading.enumerate())
    with stopped_by_signal() as cancelled, pytest.raises(BuildCancelled, match="after 4 of 7"):
        collect_moments(
            dataset, encode, options, checkpoint=checkpoint, progress=soon, cancelled=cancelled
        )
    assert checkpoint.load().next_batch == 2 and checkpoint.load().state.num_images == 4
    assert not multiprocessing.active_children()
    # One's own thread cannot be ended while it waits for the system; it keeps nothing waiting.
    assert all(thread.daemon for thread in set(threading.enumerate()) - before)
    os.close(os.open(tmp_path / "hanging", os.O_RDWR | os.O_NONBLOCK))


@posix
def test_a_signal_that_comes_twice_at_once_is_one(monkeypatch):
    """Supervisors send it to a process and to its group; a person presses Ctrl-C again later."""
    with stopped_by_signal() as stopped:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert stopped()
        later = time.monotonic() + 2
        monkeypatch.setattr("prior_tools.cli.stopping.time.monotonic", lambda: later)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


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
    with pytest.raises(PriorError, match=r"left out 1 items; the first, 005: image 005\.png"):
        collect_moments(dataset_of(folder), encode, options, checkpoint=checkpoint)


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


@posix
def test_readers_leave_signals_to_the_build(tmp_path):
    """A signal to the process group reaches them as well."""
    dataset = dataset_of(write_pairs(tmp_path))
    signalled = []

    def signalling(images):
        # Other children are not this test's, such as a browser's driver.
        for reader in multiprocessing.active_children():
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(reader.pid, number)
                signalled.append(number)
        time.sleep(0.2)
        return encode(images)

    options = BuildOptions(batch_size=1, workers=2, processes=True)
    assert build_prior(dataset, signalling, options).num_images == 7 and signalled


@posix
def test_a_reader_that_is_killed_ends_the_build_by_name(tmp_path):
    dataset = with_a_hanging_image(tmp_path, 3)

    def killing(images):
        for reader in multiprocessing.active_children():
            reader.kill()
        return encode(images)

    options = BuildOptions(batch_size=1, workers=1, processes=True)
    with pytest.raises(PriorError, match=r"read \w+ was ended by SIGKILL.*short of memory.*fewer"):
        build_prior(dataset, killing, options)


def test_a_fault_in_a_reader_is_shown_with_its_traceback(tmp_path):
    dataset = dataset_of(write_pairs(tmp_path, 2))
    broken = PairDataset(
        [*dataset.pairs, Pair("strange", 3, dataset.pairs[0].label)], SIZE, dataset.palette
    )
    with pytest.raises(RuntimeError, match=r"reading strange failed:\nTraceback"):
        build_prior(broken, encode, BuildOptions(workers=1, processes=True))


@posix
def test_readers_end_when_the_build_is_killed(tmp_path):
    with_a_hanging_image(tmp_path, 2)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from pathlib import Path
            from prior_tools import PALETTES, BuildOptions, build_prior
            from prior_tools.datasets.dataset import PairDataset
            from prior_tools.datasets.pairs import Pair

            folder = Path({str(tmp_path)!r})
            if __name__ == "__main__":
                label = folder / "labels" / "000.png"
                pairs = [Pair(str(i), folder / "hanging", label) for i in range(9)]
                dataset = PairDataset(pairs, (48, 32), PALETTES["camvid"])
                build_prior(dataset, None, BuildOptions(workers=3, processes=True))
            """
        )
    )
    build = psutil.Popen(
        [sys.executable, script], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}
    )
    deadline = time.monotonic() + 60
    while len(readers := build.children()) < 3:
        assert time.monotonic() < deadline and build.is_running()
        time.sleep(0.05)
    time.sleep(0.5)
    build.kill()
    build.wait(10)
    _, left = psutil.wait_procs(readers, timeout=10)
    assert not left


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


def test_a_checkpoint_tells_of_another_build_before_all_is_known(tmp_path):
    path = tmp_path / "p.checkpoint"
    Checkpoint(path, {"size": "8x8", "vae": "ab"}).save(Progress())
    known = Checkpoint(path, {"size": "8x8"})
    known.check()
    with pytest.raises(PriorError, match="vae was ab and is None"):
        known.load()
    with pytest.raises(PriorError, match="size was 8x8 and is 9x9"):
        Checkpoint(path, {"size": "9x9"}).check()


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


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": (0, 32)}, r"size is \(0, 32\); expected \(width, height\) in pixels"),
        ({"size": 32}, "size is 32"),
        ({"size": (48.5, 32)}, "size is"),
        ({"palette": "camvit"}, "no palette is named 'camvit'"),
        ({"palette": None}, "no palette is named None"),
        ({"ignore_ids": ("11",)}, "an ignored id is '11'"),
    ],
)
def test_pairs_are_read_at_a_size_by_a_palette(wrong, says):
    with pytest.raises(PriorError, match=says):
        PairDataset([], **{"size": SIZE, "palette": "camvid", **wrong})


def test_a_palettes_name_does_for_pairs(tmp_path):
    ours = dataset_of(write_pairs(tmp_path, 1))
    theirs = PairDataset(ours.pairs, np.array(SIZE), "camvid", ignore_ids=np.array([11]))
    assert torch.equal(theirs[0].labels, ours[0].labels)
    assert (theirs.metadata, theirs.ignored) == (ours.metadata, ours.ignored)


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
    with pytest.raises(
        PriorError, match=r"label map a\.png is in no color.*palette cityscapes has 100%"
    ):
        dataset[0]


@pytest.mark.parametrize("shown", ["grey", "voc"])
def test_ids_made_visible_by_a_usual_color_table_are_ids(tmp_path, shown):
    """Under coco_stuff, whose colors are those of PASCAL VOC for the next id."""
    from prior_tools.labels.palette_colors import bit_color

    label = Image.fromarray(IDS)
    table = [(i, i, i) if shown == "grey" else bit_color(i) for i in range(256)]
    label.putpalette([v for color in table for v in color])
    pairs = one_pair(tmp_path, PHOTO, label).pairs
    dataset = PairDataset(pairs, SIZE, PALETTES["coco_stuff"])
    assert np.array_equal(dataset[0].labels.numpy(), IDS)


def test_grey_pictures_of_ids_do_not_pass_for_unlabelled(tmp_path):
    grey = Image.fromarray(np.stack([IDS + 1] * 3, -1))
    pairs = one_pair(tmp_path, PHOTO, grey).pairs
    dataset = PairDataset(pairs, SIZE, PALETTES["coco_stuff"])
    assert np.array_equal(dataset[0].labels.numpy(), IDS + 1)


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
