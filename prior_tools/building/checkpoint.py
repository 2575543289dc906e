"""Where a build stands, on disk: killed at any moment, it goes on from the last batch's end."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from ..accumulator import MAX_CLASSES, PriorAccumulator
from ..atomic import write_bytes
from ..errors import PriorError
from ..json_values import integer, items, parsed, table, text
from ..labels.ids import MAX_CLASS_ID
from ..tensor_file import read_tensors
from ..vae_fingerprint import VaeFingerprint

HEADER_KEY = "scp_prior_checkpoint"

# The most that safetensors takes: names and reasons of a million items left out.
_MAX_HEADER = 100_000_000


@dataclass
class Progress:
    """How far a build has come.

    Attributes:
        state: the moments so far; None before the first batch.
        next_batch: batches before this one are in `state`.
        skipped: (name, reason) of items left out.
    """

    state: PriorAccumulator | None = None
    next_batch: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


class Checkpoint:
    """A file that holds a Progress, and what the build is of.

    Args:
        path: the file.
        identity: all that the result depends on, as texts by name: a build goes on from a
            checkpoint only if every one of them is the same.
        vae: of the VAE that encodes, which has to be the same, too.
        every: seconds between two saves.
    """

    def __init__(
        self, path: Path, identity: Mapping[str, str], vae: VaeFingerprint, every: float = 60.0
    ) -> None:
        self.path = Path(path)
        self.identity = dict(identity)
        self.vae = vae
        self.every = every
        self._saved_at = time.monotonic()

    def load(self) -> Progress:
        """Where to go on; from the beginning if there is no file.

        Raises PriorError if the file is of another build, saying what differs, or damaged.
        """
        try:
            written, tensors = read_tensors(self.path, HEADER_KEY, _MAX_HEADER)
            if written is None:
                raise ValueError("it is not a checkpoint")
            header = table(parsed(written), ("identity", "vae", "progress"), "the header")
            identity = table(header["identity"], header["identity"], "identity")
            vae = VaeFingerprint.from_json(header["vae"])
            progress = _progress(header["progress"], tensors)
        except FileNotFoundError:
            return Progress()
        except ValueError as error:
            raise PriorError(
                f"{self.path.name} cannot be read ({error}); remove it to begin anew"
            ) from error
        changed = [
            f"{name} was {identity.get(name)} and is {self.identity.get(name)}"
            for name in sorted({*identity, *self.identity})
            if identity.get(name) != self.identity.get(name)
        ]
        if not vae.fits(self.vae):
            changed.append(f"the VAE ({vae.against(self.vae)})")
        if changed:
            raise PriorError(
                f"{self.path.name} is of a build that differs: {'; '.join(changed)}. Give the "
                "same dataset and options to resume, or remove the file to begin anew"
            )
        return progress

    def save(self, progress: Progress) -> None:
        """Write `progress` in one step."""
        tensors = progress.state.to_state() if progress.state else {}
        header = {
            "identity": self.identity,
            "vae": self.vae.to_json(),
            "progress": {"next_batch": progress.next_batch, "skipped": progress.skipped},
        }
        data = tensors_to_bytes(tensors, {HEADER_KEY: json.dumps(header)})
        write_bytes(self.path, data)
        self._saved_at = time.monotonic()

    def save_if_due(self, progress: Progress) -> None:
        """`save`, if the last one is long enough ago."""
        if time.monotonic() - self._saved_at >= self.every:
            self.save(progress)

    def remove(self) -> None:
        """The build is done."""
        self.path.unlink(missing_ok=True)


def _progress(value: object, tensors: Mapping[str, Tensor]) -> Progress:
    """The progress that `save` wrote; ValueError says why it is none."""
    data = table(value, ("next_batch", "skipped"), "progress")
    skipped = []
    for entry in items(data["skipped"], "skipped"):
        name, reason = items(entry, "an item left out")
        skipped.append((text(name, "a name"), text(reason, "a reason")))
    state = None
    if tensors:
        _check_state(tensors)
        state = PriorAccumulator.from_state(tensors)
    return Progress(state, integer(data["next_batch"], 0, 2**53, "next_batch"), skipped)


def _check_state(tensors: Mapping[str, Tensor]) -> None:
    """ValueError if the tensors are not those of a state.

    Before an accumulator is made of the sizes that they claim.
    """
    whole = ("shape", "ignore_ids", "class_ids")
    means = ("spatial_mean", "joint_mean", "class_mean")
    m2s = tuple(name.replace("_mean", "_m2") for name in means)
    table(tensors, (*whole, *means, *m2s, "joint_n", "class_images"), "the file")
    for name, tensor in tensors.items():
        if tensor.dtype != (torch.int64 if name in whole else torch.float64):
            raise ValueError(f"{name} is of {tensor.dtype}")
    if tensors["shape"].shape != (4,) or tensors["ignore_ids"].ndim != 1:
        raise ValueError("its shape is none")
    channels, height, width, images = tensors["shape"].tolist()
    if min(channels, height, width) < 1 or images < 0:
        raise ValueError(f"its shape is {(channels, height, width, images)}")
    cells, classes = height * width, tensors["class_ids"].numel()
    for name, shape in (
        ("class_ids", (classes,)),
        ("spatial_mean", (cells, channels)),
        ("joint_n", (classes, cells)),
        ("joint_mean", (classes, cells, channels)),
        ("class_images", (classes,)),
        ("class_mean", (classes, channels)),
    ):
        for same in (name, name.replace("_mean", "_m2")):
            if tensors[same].shape != shape:
                raise ValueError(f"{same} has shape {tuple(tensors[same].shape)}, not {shape}")
    ids = tensors["class_ids"]
    known = ids.numel() == 0 or 0 <= int(ids.min()) <= int(ids.max()) <= MAX_CLASS_ID
    if not known or len(ids.unique()) < classes or classes > MAX_CLASSES:
        raise ValueError("its class ids are none")
    if torch.isin(ids, tensors["ignore_ids"]).any():
        raise ValueError("it has statistics of class ids that it ignores")
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds NaN or infinity")
        if name not in (*means, "ignore_ids") and (tensor < 0).any():
            raise ValueError(f"{name} holds negative values")
