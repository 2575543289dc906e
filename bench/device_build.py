"""A whole build on a device against encoding the same batches from memory, and its stages alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from demo.scenes import generate_scene
from prior_tools import BuildOptions, PairDataset, PriorAccumulator, build_prior, find_dataset
from prior_tools.building.reading import GridItems, read_in_processes, stack_batch

# How a batch goes to the device and is scaled. "host" is ComfyUI's way, which the command line and
# the graph take; "pinned" is the best a script can do.
WAYS = ("host", "pinned")


class DeviceEncoder:
    """A VAE's encoder on a device, to be called as `build_prior` calls one.

    Attributes:
        seconds: spent in calls since the last `reset`.
        first_call: when the first call since then began, by `time.perf_counter`; None before it.
    """

    def __init__(self, net: nn.Module, device: str, dtype: torch.dtype, way: str = "host") -> None:
        self.net = net.to(device, dtype)
        self.device, self.dtype, self.way = torch.device(device), dtype, way
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        self.seconds = 0.0
        self.first_call: float | None = None

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Images float32 [N, H, W, 3] in 0..1 to latents float32 [N, 4, h, w] on the CPU."""
        started = time.perf_counter()
        self.first_call = self.first_call or started
        # The copy back waits for all that was begun.
        latents = self.net(self.handed_over(images)).cpu().float()
        self.seconds += time.perf_counter() - started
        return latents

    def handed_over(self, images: Tensor) -> Tensor:
        """The batch on the device, [N, 3, H, W] in -1..1."""
        if self.way == "host":
            return (images.movedim(-1, 1) * 2 - 1).to(self.dtype).to(self.device)
        if self.device.type == "cuda":
            images = images.pin_memory()
        there = images.to(self.device, non_blocking=True)
        return there.movedim(-1, 1).to(self.dtype) * 2 - 1

    def wait(self) -> None:
        """Until the device has done all."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Row:
    """One setting.

    Attributes:
        readers: processes that read.
        batch: images encoded at once.
        way: one of WAYS.
        images: that each of the builds took in.
        build_s: seconds of each whole build, its start and end included.
        memory_s: seconds of encoding the same batches from memory, before and after each build.
        start_s: seconds of each build before the encoder got its first batch: looking through
            label files, starting readers, reading. A large dataset's build has it once, too.
        encoding: share of the builds' time after that which was spent in the encoder, median.
    """

    readers: int
    batch: int
    way: str
    images: int
    build_s: Sequence[float]
    memory_s: Sequence[float]
    start_s: Sequence[float]
    encoding: float

    @property
    def ratio(self) -> float:
        """Of the whole build to encoding from memory: of medians."""
        return statistics.median(self.build_s) / statistics.median(self.memory_s)

    @property
    def ratio_after_start(self) -> float:
        """The same once the encoder has its first batch."""
        after = [b - s for b, s in zip(self.build_s, self.start_s, strict=True)]
        return statistics.median(after) / statistics.median(self.memory_s)

    @property
    def images_a_second(self) -> float:
        """Of the whole build."""
        return self.images / statistics.median(self.build_s)

    @property
    def images_a_second_from_memory(self) -> float:
        """Of encoding alone."""
        return self.images / statistics.median(self.memory_s)


def draw_pairs(folder: Path, count: int, side: int, cores: int) -> PairDataset:
    """PNG pairs of `count` generated scenes of side x side pixels, as a dataset."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    tasks = [(folder, seed, side) for seed in range(count)]
    with ProcessPoolExecutor(cores) as pool:
        list(pool.map(_draw_pair, tasks))
    layout = find_dataset("pairs", folder, "").with_palette("cityscapes")
    return layout.dataset((side, side))


def _draw_pair(task: tuple[Path, int, int]) -> None:
    folder, seed, side = task
    scene = generate_scene(seed, side, side)
    name = f"scene_{seed:05d}.png"
    Image.fromarray(scene.image).save(folder / "images" / name)
    Image.fromarray(scene.label_colors).save(folder / "labels" / name)


def repeated(dataset: PairDataset, count: int) -> PairDataset:
    """`count` items, those of the dataset again and again."""
    return dataset.subset([i % len(dataset) for i in range(count)])


def batches_of(dataset: PairDataset, batch: int, readers: int) -> list[Tensor]:
    """Images float32 [N, H, W, 3] of the whole dataset in memory, as a build stacks them."""
    items, found = GridItems(dataset, 8, "majority"), []
    with read_in_processes(items, range(len(dataset)), readers, 2 * batch + readers) as read:
        while group := list(islice(read, batch)):
            found.append(stack_batch(group)[0])
    return found


def measure_row(
    encoder: DeviceEncoder,
    dataset: PairDataset,
    in_memory: Sequence[Tensor],
    readers: int,
    count: int,
    repeats: int,
) -> Row:
    """Whole builds of `count` images and, before each and at the end, encoding from memory.

    in_memory: the dataset's batches; `count` is a multiple of its size, so both encode the same.
    """
    batch = len(in_memory[0])
    many = repeated(dataset, count)
    options = BuildOptions(batch_size=batch, workers=readers, processes=True)

    def from_memory() -> float:
        started = time.perf_counter()
        for _ in range(count // len(dataset)):
            for images in in_memory:
                encoder(images)
        return time.perf_counter() - started

    built, alone, starts, shares = [], [from_memory()], [], []
    for _ in range(repeats):
        encoder.reset()
        started = time.perf_counter()
        prior = build_prior(many, encoder, options)
        built.append(time.perf_counter() - started)
        starts.append((encoder.first_call or started) - started)
        shares.append(encoder.seconds / (built[-1] - starts[-1]))
        if prior.num_images != count:
            raise AssertionError(f"{prior.num_images} of {count} images were taken in")
        alone.append(from_memory())
    return Row(readers, batch, encoder.way, count, built, alone, starts, statistics.median(shares))


@dataclass(frozen=True)
class Stage:
    """What one step of a build takes by itself.

    Attributes:
        name: what is done.
        where: "readers" for a step that all readers do at once, "beside" for one in a thread beside
            the encoder, "loop" for one that the encoder waits for, "device" for the encoder itself.
        ms: milliseconds an image, median.
    """

    name: str
    where: str
    ms: float


def measure_stages(
    encoder: DeviceEncoder, dataset: PairDataset, batch: int, rounds: int
) -> list[Stage]:
    """Each step alone, on batches of the dataset's first images."""
    items = GridItems(dataset, 8, "majority")
    indices = range(min(batch, len(dataset)))
    pairs = [dataset.pairs[i] for i in indices]
    read = [items[i] for i in indices]
    images, labels, *_ = stack_batch(read)
    there = encoder.handed_over(images)
    with torch.inference_mode():
        latents = encoder.net(there)
    state = PriorAccumulator(latents.shape[1], labels.shape[1:], dataset.ignored)

    def files() -> None:
        for pair in pairs:
            pair.image.read_bytes(), pair.label.read_bytes()

    def decode() -> None:
        for pair in pairs:
            for path in (pair.image, pair.label):
                with Image.open(path) as picture:
                    picture.load()

    def encode() -> None:
        with torch.inference_mode():
            encoder.net(there)

    steps: tuple[tuple[str, str, Callable[[], object]], ...] = (
        ("read both files", "readers", files),
        ("read and decode both files", "readers", decode),
        (
            "an item: all that, and labels to the grid",
            "readers",
            lambda: [items[i] for i in indices],
        ),
        ("stack a batch, bytes to floats", "beside", lambda: stack_batch(read)),
        (
            f"scale and copy to the device ({encoder.way})",
            "loop",
            lambda: encoder.handed_over(images),
        ),
        ("encode", "device", encode),
        ("copy latents back", "loop", lambda: latents.cpu().float()),
        ("accumulate", "beside", lambda: state.update(latents.cpu().float(), labels)),
    )
    return [Stage(name, where, _ms(step, encoder, rounds) / batch) for name, where, step in steps]


def _ms(step: Callable[[], object], encoder: DeviceEncoder, rounds: int) -> float:
    """Milliseconds of a step, median; one round before does not count."""
    taken = []
    for _ in range(rounds + 1):
        encoder.wait()
        started = time.perf_counter()
        step()
        encoder.wait()
        taken.append(1e3 * (time.perf_counter() - started))
    return statistics.median(taken[1:])


def settings(readers: Sequence[int], batches: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(batch, readers) in the order in which they are measured: the batches' change is rare."""
    yield from ((batch, count) for batch in batches for count in readers)
