"""Laws of what reads for a build: errors come back, and nothing is left running."""

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
from pathlib import Path

import psutil
import pytest

from dev.tiny_pairs import SIZE, dataset_of, encode, write_pairs
from prior_tools import (
    BuildCancelled,
    BuildOptions,
    PriorError,
    build_prior,
)
from prior_tools.building.build import collect_moments
from prior_tools.building.checkpoint import Checkpoint
from prior_tools.cli.stopping import stopped_by_signal
from prior_tools.datasets.dataset import PairDataset
from prior_tools.datasets.pairs import Pair

REPOSITORY = Path(__file__).parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals and pipes")


def test_an_error_comes_back_from_a_process_that_reads():
    error = pickle.loads(pickle.dumps(PriorError("a file is damaged")))
    assert type(error) is PriorError and str(error) == "a file is damaged"


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
def test_readers_leave_signals_to_the_build_from_their_first_moment(tmp_path):
    dataset = dataset_of(write_pairs(tmp_path))
    signalled, over = set(), threading.Event()

    def signal_what_starts():
        while not over.is_set():
            for reader in multiprocessing.active_children():
                if reader.pid not in signalled:
                    os.kill(reader.pid, signal.SIGTERM)
                    os.kill(reader.pid, signal.SIGINT)
                    signalled.add(reader.pid)

    options = BuildOptions(batch_size=1, workers=4, processes=True)
    thread = threading.Thread(target=signal_what_starts)
    thread.start()
    try:
        assert build_prior(dataset, encode, options).num_images == 7
    finally:
        over.set()
        thread.join()
    assert len(signalled) == 4


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
