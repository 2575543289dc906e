"""Where a build stands, on disk: killed at any moment, it goes on from the last batch's end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from ..accumulator import PriorAccumulator
from ..atomic import remove_leftovers_of, write_bytes
from ..errors import PriorError
from ..json_values import integer, items, parsed, table, text
from ..labels.tally import LabelTally
from ..moments import MAX_VALUE
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
        tally: what the label maps hold.
    """

    state: PriorAccumulator | None = None
    next_batch: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    tally: LabelTally = field(default_factory=LabelTally)


class Checkpoint:
    """A file that holds a Progress, and what the build is of.

    Args:
        path: the file.
        identity: all that the result depends on, as texts by name: a build goes on from a
            checkpoint only if every one of them is the same. May grow until `load`.
        vae: of the VAE that encodes, which has to be the same, too. May come until `load`; None
            where nothing else than this build's own encoder is meant.
        every: seconds between two saves.
        used: given a number of batches, what changes when a file of these does. Files that are
            still to come may be mended.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, str],
        vae: VaeFingerprint | None = None,
        every: float = 60.0,
        used: Callable[[int], str] = lambda _batches: "",
    ) -> None:
        self.path = Path(path)
        self.identity = dict(identity)
        self.vae = vae
        self.every = every
        self.used = used
        self._saved_at = time.monotonic()

    def check(self) -> None:
        """Raise PriorError as `load` would, for as much of the identity as is known so far."""
        if self.path.exists():
            identity, vae, progress, used = self._read()
            self._check(identity, self.identity.keys(), vae if self.vae else None)
            self._check_used(progress, used)

    def load(self) -> Progress:
        """Where to go on; from the beginning if there is no file.

        Raises PriorError if the file is of another build, saying what differs, or damaged.
        """
        remove_leftovers_of(self.path)
        if not self.path.exists():
            return Progress()
        identity, vae, progress, used = self._read()
        self._check(identity, identity.keys() | self.identity.keys(), vae)
        self._check_used(progress, used)
        return progress

    def _read(self) -> tuple[dict[str, str], VaeFingerprint | None, Progress, str]:
        """(identity, vae, progress, state of the files that were used) as the file has them."""
        try:
            written, tensors = read_tensors(self.path, HEADER_KEY, _MAX_HEADER)
            if written is None:
                raise ValueError("it is not a checkpoint")
            header = table(parsed(written), ("identity", "vae", "used", "progress"), "the header")
            identity = table(header["identity"], header["identity"], "identity")
            vae = None if header["vae"] is None else VaeFingerprint.from_json(header["vae"])
            used = text(header["used"], "used")
            return identity, vae, _progress(header["progress"], tensors), used
        except ValueError as error:
            raise PriorError(
                f"{self.path.name} cannot be read ({error}); remove it to begin anew"
            ) from error

    def _check(
        self, theirs: Mapping[str, str], names: Iterable[str], vae: VaeFingerprint | None
    ) -> None:
        changed = [
            f"{name} was {theirs.get(name)} and is {self.identity.get(name)}"
            for name in sorted(names)
            if theirs.get(name) != self.identity.get(name)
        ]
        if vae is None or self.vae is None:
            changed += ["the VAE"] if vae is not self.vae else []
        elif not vae.fits(self.vae):
            changed.append(f"the VAE ({vae.against(self.vae)})")
        if changed:
            raise PriorError(
                f"{self.path.name} is of a build that differs: {'; '.join(changed)}. Give the "
                "same dataset and options to resume, or remove the file to begin anew"
            )

    def _check_used(self, progress: Progress, used: str) -> None:
        if self.used(progress.next_batch) != used:
            raise PriorError(
                f"{self.path.name} is of a build that differs: files that it has used are of other "
                "sizes or dates. Put them back to resume, or remove the file to begin anew"
            )

    def save(self, progress: Progress) -> None:
        """Write `progress` in one step."""
        tensors = progress.state.to_state() if progress.state else {}
        header = {
            "identity": self.identity,
            "vae": None if self.vae is None else self.vae.to_json(),
            "used": self.used(progress.next_batch),
            "progress": {
                "next_batch": progress.next_batch,
                "skipped": progress.skipped,
                "tally": progress.tally.to_json(),
            },
        }
        data = tensors_to_bytes(tensors, {HEADER_KEY: json.dumps(header)})
        write_bytes(self.path, data)
        self._saved_at = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the last `save` is long enough ago for another."""
        return time.monotonic() - self._saved_at >= self.every

    def remove(self) -> None:
        """The build is done."""
        self.path.unlink(missing_ok=True)
        remove_leftovers_of(self.path)


def _progress(value: object, tensors: Mapping[str, Tensor]) -> Progress:
    """The progress that `save` wrote; ValueError says why it is none."""
    data = table(value, ("next_batch", "skipped", "tally"), "progress")
    skipped = []
    for entry in items(data["skipped"], "skipped"):
        name, reason = items(entry, "an item left out")
        skipped.append((text(name, "a name"), text(reason, "a reason")))
    state = None
    if tensors:
        _check_state(tensors)
        state = PriorAccumulator.from_state(tensors)
    next_batch = integer(data["next_batch"], 0, 2**53, "next_batch")
    return Progress(state, next_batch, skipped, LabelTally.from_json(data["tally"]))


def _check_state(tensors: Mapping[str, Tensor]) -> None:
    """ValueError if the tensors hold what no moments can be; their shapes are not looked at."""
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.int64, torch.float64):
            raise ValueError(f"{name} is {tensor.dtype}, expected int64 or float64")
        most = MAX_VALUE if name.endswith("_mean") else torch.finfo(torch.float64).max
        if tensor.is_floating_point() and not (tensor.abs() <= most).all():
            raise ValueError(f"{name} holds NaN, infinity or values beyond {most:g}")
        if not name.endswith("_mean") and name != "ignore_ids" and (tensor < 0).any():
            raise ValueError(f"{name} holds negative values")
