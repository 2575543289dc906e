"""Priors as safetensors files: only occupied cells, checked on the way in, whole on the way out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from .atomic import write_bytes, write_new_bytes
from .errors import PriorError
from .labels.palettes import Palette
from .prior import Prior, PriorMetadata

FORMAT_VERSION = 1

# The one entry of the header: safetensors writes several in an order that changes from run to run,
# and equal priors are to be equal files.
HEADER_KEY = "scp_prior"

# Far above a real header (COCO-Stuff's names and colors take 20 kB), far below a denial of memory.
_MAX_HEADER = 16 * 2**20

# What comes of taking apart data that is not of the kind or size that it should be.
MALFORMED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)


def save_prior(prior: Prior, path: Path | str, overwrite: bool = True) -> Path:
    """Write `prior` to `path` (safetensors) in one step and return the path.

    Raises FileExistsError if something is there and `overwrite` is off. On any error, a full disk
    included, a file that was there stays as it was.

    >>> path = save_prior(prior, folder / "copy.safetensors", overwrite=False)
    >>> path.name
    'copy.safetensors'
    """
    path = Path(path)
    occupied = prior.joint_count > 0
    tensors = {
        "class_ids": prior.class_ids,
        "occupied": torch.from_numpy(np.packbits(occupied.numpy().reshape(-1))),
        "joint_mean": prior.joint_mean.movedim(1, -1)[occupied],
        "joint_std": prior.joint_std.movedim(1, -1)[occupied],
        "joint_count": prior.joint_count[occupied],
    }
    for name in _DENSE:
        tensors[name] = getattr(prior, name)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    header = {
        "format_version": FORMAT_VERSION,
        "num_images": prior.num_images,
        "metadata": _metadata_to_json(prior.metadata),
    }
    data = tensors_to_bytes(tensors, {HEADER_KEY: json.dumps(header)})
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
    data = path.read_bytes()
    try:
        entries = read_header(data)
    except ValueError as error:
        raise PriorError(
            f"{path.name} is not a complete safetensors file ({error}); it may have been cut short "
            "in copying: copy or build it again"
        ) from error
    if HEADER_KEY not in entries:
        raise PriorError(
            f"{path.name} is a safetensors file but not a prior; expected one that Build SCP Prior "
            "wrote"
        )
    try:
        header = json.loads(entries[HEADER_KEY])
        version = int(header["format_version"])
        if version <= FORMAT_VERSION:
            return _from_tensors(tensors_from_bytes(data), header)
    except MALFORMED as error:
        raise PriorError(f"{path.name} is damaged: {error}; copy or build it again") from error
    raise PriorError(
        f"{path.name} has format version {version} and this version of SCP-Diff reads up to "
        f"{FORMAT_VERSION}; update SCP-Diff"
    )


# Stored as they are; their shapes come from `_shapes`.
_DENSE = (
    "spatial_mean",
    "spatial_std",
    "class_mean",
    "class_std",
    "class_image_count",
)


def read_header(data: bytes) -> dict[str, str]:
    """The free-text part of a safetensors file's header; ValueError if the file is incomplete."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(_MAX_HEADER, len(data) - 8):
        raise ValueError(f"{len(data)} bytes are too few for its header")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"))
        texts: dict[str, str] = header.pop("__metadata__", {})
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except MALFORMED as error:
        raise ValueError("its header is not a table of tensors") from error
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("the free text of its header is not a table of texts")
    if len(data) < 8 + length + end:
        raise ValueError(f"{8 + length + end - len(data)} bytes are missing at its end")
    return texts


def _from_tensors(tensors: dict[str, Tensor], header: dict[str, Any]) -> Prior:
    metadata = _metadata_from_json(header["metadata"])
    channels, (height, width) = metadata.latent_channels, metadata.grid
    class_ids = tensors["class_ids"]
    classes = len(class_ids)
    cells = classes * height * width
    packed = tensors["occupied"].numpy()
    if packed.shape != (-(-cells // 8),):
        raise ValueError(f"occupied has shape {packed.shape} for {cells} cells, 8 to a byte")
    occupied = np.unpackbits(packed, count=cells).view(bool)
    count = int(np.count_nonzero(occupied))

    shapes = {
        "class_ids": (torch.int64, (classes,)),
        "joint_mean": (torch.float32, (count, channels)),
        "joint_std": (torch.float32, (count, channels)),
        "joint_count": (torch.int32, (count,)),
        "spatial_mean": (torch.float32, (channels, height, width)),
        "spatial_std": (torch.float32, (channels, height, width)),
        "class_mean": (torch.float32, (classes, channels)),
        "class_std": (torch.float32, (classes, channels)),
        "class_image_count": (torch.int32, (classes,)),
    }
    for name, (dtype, shape) in shapes.items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name} is {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {shape}"
            )
        if tensor.numel() == 0:
            continue
        # numpy's extremes are NaN where there is one, and much faster than asking each value.
        least, greatest = tensor.numpy().min(), tensor.numpy().max()
        if not (np.isfinite(least) and np.isfinite(greatest)):
            raise ValueError(f"{name} holds NaN or infinity")
        if name.endswith(("_std", "_count")) and least < 0:
            raise ValueError(f"{name} holds negative values")
    if classes > 1 and not (class_ids[1:] > class_ids[:-1]).all():
        raise ValueError("class ids are not in ascending order")
    num_images = int(header["num_images"])
    if num_images < 1 or (count and int(tensors["joint_count"].max()) > num_images):
        raise ValueError(f"its counts do not fit its {num_images} images")

    def dense(name: str) -> Tensor:
        """[occupied cells, ...] to [K, h, w, ...]."""
        stored = tensors[name].numpy()
        if count == cells:
            full = stored.copy()
        else:
            full = np.zeros((cells, *stored.shape[1:]), stored.dtype)
            # A cell's values as one: half the time of scattering them one by one.
            cell = np.dtype((np.void, full.nbytes // cells))
            full.view(cell)[occupied] = stored.view(cell)
        return torch.from_numpy(full).view(classes, height, width, *stored.shape[1:])

    return Prior(
        class_ids=class_ids.clone(),
        # Views: channels lie side by side in memory, as in the file.
        joint_mean=dense("joint_mean").movedim(-1, 1),
        joint_std=dense("joint_std").movedim(-1, 1),
        joint_count=dense("joint_count"),
        num_images=num_images,
        metadata=metadata,
        # Copies, so that the tensors do not keep the file's whole content in memory.
        **{name: tensors[name].clone() for name in _DENSE},
    )


def _metadata_to_json(metadata: PriorMetadata) -> dict[str, object]:
    data = {key: value for key, value in asdict(metadata).items() if key != "palette"}
    data["class_names"] = {str(i): name for i, name in metadata.class_names.items()}
    data["palette"] = metadata.palette.to_json() if metadata.palette else None
    return data


def _metadata_from_json(data: dict[str, Any]) -> PriorMetadata:
    def pair(value: Iterable[Any]) -> tuple[int, int]:
        first, second = (int(side) for side in value)
        if first < 1 or second < 1:
            raise ValueError(f"a size is {(first, second)}")
        return first, second

    return PriorMetadata(
        latent_channels=int(data["latent_channels"]),
        grid=pair(data["grid"]),
        downscale_factor=int(data["downscale_factor"]),
        latent_format=str(data["latent_format"]),
        vae_hash=str(data["vae_hash"]),
        source_size=pair(data["source_size"]) if data["source_size"] else None,
        dataset_name=str(data["dataset_name"]),
        class_names={int(i): str(name) for i, name in data["class_names"].items()},
        palette=Palette.from_json(data["palette"]) if data["palette"] else None,
        ignore_ids=tuple(int(i) for i in data["ignore_ids"]),
        resize_policy=str(data["resize_policy"]),
        label_method=str(data["label_method"]),
    )
