"""Priors as safetensors files: only occupied cells, checked on the way in, whole on the way out."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from .accumulator import MAX_CLASSES
from .atomic import remove_leftovers_of, write_bytes, write_new_bytes
from .errors import PriorError
from .grain import Grain
from .held_out import HeldOut
from .json_values import by_id, integer, items, parsed, table, text
from .labels.ids import MAX_CLASS_ID
from .labels.palettes import Palette
from .moments import MAX_IMAGES, MAX_VALUE
from .prior import Prior, PriorMetadata
from .tensor_file import read_tensors
from .vae_fingerprint import VaeFingerprint

FORMAT_VERSION = 1

# The one entry of the header: safetensors writes several in an order that changes from run to run,
# and equal priors are to be equal files.
HEADER_KEY = "scp_prior"

# Far above a real header (COCO-Stuff's names and colors take 20 kB, a VAE's fingerprint as much),
# and little enough that nothing written in it can take much memory.
_MAX_HEADER = 4 * 2**20

# Empty cells take a bit in the file and are filled in when it is read. Beyond this many bytes of
# memory they may not outweigh the file so many times: only files made to fill the memory do.
_MAX_FILLED, _MAX_GROWTH = 2**29, 100

# All that a prior of images alone stores.
_SPATIAL = ("spatial_mean", "spatial_std")
# Stored as they are.
_DENSE = (*_SPATIAL, "class_mean", "class_std", "class_image_count")
# Stored for occupied cells only.
_SPARSE = ("joint_mean", "joint_std", "joint_count")
# Of the grain, in files of priors that have one.
_GRAIN = ("grain_mixing", "grain_correlation", "grain_regions")


def save_prior(prior: Prior, path: Path | str, overwrite: bool = True) -> Path:
    """Write `prior` to `path` (safetensors) in one step and return the path.

    Raises PriorError for what `load_prior` would not read again: values that no statistics can
    have, tensors of another type or shape; FileExistsError if something is there and `overwrite` is
    off. On any error, a full disk included, a file that was there stays as it was.

    >>> path = save_prior(prior, folder / "copy.safetensors", overwrite=False)
    >>> path.name
    'copy.safetensors'
    """
    path = Path(path)
    try:
        data = _to_bytes(prior)
    except ValueError as error:
        raise PriorError(f"{path.name} is not written: {error}") from error
    remove_leftovers_of(path)
    (write_bytes if overwrite else write_new_bytes)(path, data)
    return path


def load_prior(path: Path | str) -> Prior:
    """Read a prior; nothing of the file stays open or mapped.

    Raises PriorError if the file is damaged, not a prior, of a later format version, or holds
    values that no statistics can have; FileNotFoundError if it is not there.

    >>> prior = load_prior(folder / "streets.safetensors")
    >>> prior.num_images, prior.metadata.palette
    (2, Palette('camvid', 12 colors))
    """
    path = Path(path)
    try:
        written, tensors = read_tensors(path, HEADER_KEY, _MAX_HEADER)
    except ValueError as error:
        raise PriorError(
            f"{path.name} is not a complete safetensors file ({error}); it may have been cut short "
            "in copying: copy or build it again"
        ) from error
    if written is None:
        raise PriorError(
            f"{path.name} is a safetensors file but not a prior; expected one that Build SCP Prior "
            "wrote"
        )
    try:
        header = parsed(written)
        version = header.get("format_version") if isinstance(header, dict) else None
        if integer(version, 1, 2**31, "format_version") <= FORMAT_VERSION:
            header = table(header, ("format_version", "num_images", "metadata"), "the header")
            return _from_tensors(tensors, header)
    except ValueError as error:
        raise PriorError(f"{path.name} is damaged: {error}; copy or build it again") from error
    raise PriorError(
        f"{path.name} has format version {version} and this version of SCP-Diff reads up to "
        f"{FORMAT_VERSION}; update SCP-Diff"
    )


def _to_bytes(prior: Prior) -> bytes:
    """The file's content; ValueError says what of the prior cannot be."""
    own = {}
    for name in ("class_ids", *_SPARSE, *_DENSE):
        tensor = getattr(prior, name)
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name} is a {type(tensor).__name__}, expected a tensor")
        own[name] = tensor.detach().to("cpu")
    classes, channels, grid = own["class_ids"].numel(), prior.latent_channels, prior.grid
    # Those of cells are picked by the count, for which they have to fit.
    _check_shape("joint_count", own["joint_count"], torch.int32, (classes, *grid))
    for name in ("joint_mean", "joint_std"):
        _check_shape(name, own[name], torch.float32, (classes, channels, *grid))
    if (own["joint_count"] < 0).any():
        raise ValueError("joint_count holds values below 0")
    occupied = own["joint_count"] > 0
    tensors = {
        **own,
        "occupied": torch.from_numpy(np.packbits(occupied.numpy().reshape(-1))),
        "joint_mean": own["joint_mean"].movedim(1, -1)[occupied],
        "joint_std": own["joint_std"].movedim(1, -1)[occupied],
        "joint_count": own["joint_count"][occupied],
    }
    if prior.grain is not None:
        grain = prior.grain
        parts = (grain.mixing, grain.correlation, grain.regions)
        tensors |= zip(_GRAIN, parts, strict=True)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    header = {
        "format_version": FORMAT_VERSION,
        "num_images": integer(prior.num_images, 1, MAX_IMAGES, "num_images"),
        "metadata": _metadata_to_json(prior.metadata),
    }
    written = json.dumps(header)
    _check(tensors, _metadata_from_json(parsed(written)["metadata"]))
    _check_counts(own["joint_count"], own["class_image_count"], prior.num_images)
    if not prior.labelled:
        if classes:
            raise ValueError(f"it is of images alone, but holds {classes} classes")
        tensors = {name: tensors[name] for name in (*_SPATIAL, *_grained(tensors))}
    data = tensors_to_bytes(tensors, {HEADER_KEY: written})
    length = int.from_bytes(data[:8], "little")
    if length > _MAX_HEADER:
        raise ValueError(f"its metadata take {length} bytes, expected at most {_MAX_HEADER}")
    return data


def _without_classes(channels: int) -> dict[str, Tensor]:
    """What the file of a prior of images alone leaves out: the tables of no class."""
    return {
        "class_ids": torch.zeros(0, dtype=torch.int64),
        "occupied": torch.zeros(0, dtype=torch.uint8),
        "class_image_count": torch.zeros(0, dtype=torch.int32),
        "joint_count": torch.zeros(0, dtype=torch.int32),
        **{
            name: torch.zeros(0, channels)
            for name in ("joint_mean", "joint_std", "class_mean", "class_std")
        },
    }


def _check(tensors: dict[str, Tensor], metadata: PriorMetadata) -> np.ndarray:
    """Which of all classes' cells are in the file; ValueError says what cannot be."""
    channels, (height, width) = metadata.latent_channels, metadata.grid
    names = ("class_ids", "occupied", *_SPARSE, *_DENSE, *_grained(tensors))
    table(tensors, names, "the file")
    class_ids, marks = tensors["class_ids"], tensors["occupied"]
    classes = class_ids.numel()
    if classes > MAX_CLASSES:
        raise ValueError(f"it holds {classes} classes, expected at most {MAX_CLASSES}")
    cells = classes * height * width

    # All shapes are compared with those that are in the file before anything is made of that size.
    _check_shape("class_ids", class_ids, torch.int64, (classes,))
    _check_shape("occupied", marks, torch.uint8, ((cells + 7) // 8,))
    _check_shape("spatial_mean", tensors["spatial_mean"], torch.float32, (channels, height, width))
    in_file = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    filled = cells * (8 * channels + 4)
    if filled > max(_MAX_FILLED, _MAX_GROWTH * in_file):
        raise ValueError(
            f"{classes} classes on {width}x{height} cells would take {filled / 1e9:.1f} GB of "
            f"memory, though the file has {in_file / 1e6:.1f} MB"
        )
    occupied = np.unpackbits(marks.numpy(), count=cells).view(bool)
    count = int(np.count_nonzero(occupied))
    for name, dtype, shape in (
        ("joint_mean", torch.float32, (count, channels)),
        ("joint_std", torch.float32, (count, channels)),
        ("joint_count", torch.int32, (count,)),
        ("spatial_std", torch.float32, (channels, height, width)),
        ("class_mean", torch.float32, (classes, channels)),
        ("class_std", torch.float32, (classes, channels)),
        ("class_image_count", torch.int32, (classes,)),
    ):
        _check_shape(name, tensors[name], dtype, shape)
    for name in (*_SPARSE, *_DENSE):
        _check_values(name, tensors[name])
    _check_class_ids(class_ids, metadata.ignore_ids)
    _grain(tensors, metadata)
    return occupied


def _from_tensors(tensors: dict[str, Tensor], header: dict[str, Any]) -> Prior:
    """The prior; ValueError says what cannot be."""
    num_images = integer(header["num_images"], 1, MAX_IMAGES, "num_images")
    metadata = _metadata_from_json(header["metadata"])
    if metadata.label_method is None:
        stored = table(tensors, (*_SPATIAL, *_grained(tensors)), "the file")
        tensors = {**stored, **_without_classes(metadata.latent_channels)}
    occupied = _check(tensors, metadata)
    class_ids = tensors["class_ids"]
    classes, (height, width) = len(class_ids), metadata.grid

    def dense(name: str) -> Tensor:
        """[occupied cells, ...] to [K, h, w, ...]."""
        stored = tensors[name].numpy()
        if len(stored) == len(occupied):
            full = stored.copy()
        else:
            full = np.zeros((len(occupied), *stored.shape[1:]), stored.dtype)
            # A cell's values as one: half the time of scattering them one by one.
            cell = np.dtype((np.void, full.nbytes // len(occupied)))
            full.view(cell)[occupied] = stored.view(cell)
        return torch.from_numpy(full).view(classes, height, width, *stored.shape[1:])

    joint_count = dense("joint_count")
    _check_counts(joint_count, tensors["class_image_count"], num_images)
    return Prior(
        class_ids=class_ids.clone(),
        # Views: channels lie side by side in memory, as in the file.
        joint_mean=dense("joint_mean").movedim(-1, 1),
        joint_std=dense("joint_std").movedim(-1, 1),
        joint_count=joint_count,
        num_images=num_images,
        metadata=metadata,
        grain=_grain(tensors, metadata),
        # Copies, so that the tensors do not keep the file's whole content in memory.
        **{name: tensors[name].clone() for name in _DENSE},
    )


def _grained(tensors: dict[str, Tensor]) -> tuple[str, ...]:
    """The names of a grain's tensors if any of them is there."""
    return _GRAIN if set(_GRAIN) & tensors.keys() else ()


def _grain(tensors: dict[str, Tensor], metadata: PriorMetadata) -> Grain | None:
    """The grain in the file's tensors; ValueError says what of it cannot be."""
    if _GRAIN[0] not in tensors:
        return None
    grain = Grain(metadata.grid, *(tensors[name].clone() for name in _GRAIN))
    own, expected = (
        f"{channels} channels and {classes} classes"
        for channels, classes in (
            (grain.channels, len(grain.regions)),
            (metadata.latent_channels, len(tensors["class_ids"])),
        )
    )
    if own != expected:
        raise ValueError(f"its grain is of {own}, expected {expected}")
    return grain


def _check_shape(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    if tensor.dtype != dtype or tuple(tensor.shape) != shape:
        raise ValueError(
            f"{name} is {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {shape}"
        )


def _check_values(name: str, tensor: Tensor) -> None:
    if tensor.numel() == 0:
        return
    # numpy's extremes are NaN where there is one, and much faster than asking each value.
    least, greatest = tensor.numpy().min(), tensor.numpy().max()
    if tensor.is_floating_point() and not (least >= -MAX_VALUE and greatest <= MAX_VALUE):
        raise ValueError(f"{name} holds NaN, infinity or values beyond {MAX_VALUE:g}")
    if name.endswith("_std") and least < 0:
        raise ValueError(f"{name} holds negative values")
    if name.endswith("_count") and least < 1:
        raise ValueError(f"{name} holds values below 1")


def _check_class_ids(class_ids: Tensor, ignore_ids: tuple[int, ...]) -> None:
    if not (class_ids[1:] > class_ids[:-1]).all():
        raise ValueError("class ids are not in ascending order")
    ids = class_ids.tolist()
    if ids and not 0 <= ids[0] <= ids[-1] <= MAX_CLASS_ID:
        raise ValueError(f"class ids run from {ids[0]} to {ids[-1]}, expected 0..{MAX_CLASS_ID}")
    if not set(ids).isdisjoint(ignore_ids):
        raise ValueError("it has statistics of class ids that it ignores")


def _check_counts(joint_count: Tensor, images: Tensor, num_images: int) -> None:
    """An image has one class at a cell, and holds the classes of its cells."""
    if len(images) and (
        int(images.max()) > num_images
        or (joint_count.flatten(1).amax(1) > images).any()
        or int(joint_count.sum(0).max()) > num_images
    ):
        raise ValueError(f"its counts do not fit its {num_images} images")


def _metadata_to_json(metadata: PriorMetadata) -> dict[str, object]:
    data = asdict(replace(metadata, palette=None, vae=None, held_out=None))
    data["class_names"] = {str(i): name for i, name in metadata.class_names.items()}
    data["palette"] = metadata.palette.to_json() if metadata.palette else None
    data["vae"] = metadata.vae.to_json() if metadata.vae else None
    if metadata.held_out:
        data["held_out"] = metadata.held_out.to_json()
    else:
        del data["held_out"]
    return data


def _metadata_from_json(value: object) -> PriorMetadata:
    names = {f.name for f in fields(PriorMetadata)}
    held_out = value.get("held_out") if isinstance(value, dict) else None
    data = table(value, names if held_out is not None else names - {"held_out"}, "metadata")

    def side(value: object, name: str) -> int:
        return integer(value, 1, 2**31, name)

    def pair(name: str) -> tuple[int, int]:
        if len(items(data[name], name)) != 2:
            raise ValueError(f"{name} is no pair")
        return side(data[name][0], name), side(data[name][1], name)

    return PriorMetadata(
        latent_channels=side(data["latent_channels"], "latent_channels"),
        grid=pair("grid"),
        downscale_factor=side(data["downscale_factor"], "downscale_factor"),
        latent_format=text(data["latent_format"], "latent_format"),
        vae=None if data["vae"] is None else VaeFingerprint.from_json(data["vae"]),
        source_size=None if data["source_size"] is None else pair("source_size"),
        dataset_name=text(data["dataset_name"], "dataset_name"),
        class_names=by_id(data["class_names"], text, "class_names"),
        palette=None if data["palette"] is None else Palette.from_json(data["palette"]),
        ignore_ids=tuple(
            integer(class_id, -(2**31), 2**31, "an ignored id")
            for class_id in items(data["ignore_ids"], "ignore_ids")
        ),
        resize_policy=text(data["resize_policy"], "resize_policy"),
        label_method=None
        if data["label_method"] is None
        else text(data["label_method"], "label_method"),
        held_out=None if held_out is None else HeldOut.from_json(held_out),
    )
