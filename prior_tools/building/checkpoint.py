"""Where a build stands, on disk: killed at any moment, it goes on from the last batch's end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes

from ..accumulator import PriorAccumulator
from ..atomic import write_bytes
from ..errors import PriorError
from ..prior_file import read_header

HEADER_KEY = "scp_prior_checkpoint"

# What reading bytes that are no checkpoint can end in, PriorError as a ValueError included.
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, SafetensorError)


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
            checkpoint only if every one of them is the same. May grow until `load`.
        every: seconds between two saves.
    """

    def __init__(self, path: Path, identity: Mapping[str, str], every: float = 60.0) -> None:
        self.path = Path(path)
        self.identity = dict(identity)
        self.every = every
        self._saved_at = time.monotonic()

    def check(self) -> None:
        """Raise PriorError as `load` would, for as much of the identity as is known so far."""
        if self.path.exists():
            self._check_identity(self._read()[0], self.identity.keys())

    def load(self) -> Progress:
        """Where to go on; from the beginning if there is no file.

        Raises PriorError if the file is of another build, saying what differs, or damaged.
        """
        if not self.path.exists():
            return Progress()
        identity, progress = self._read()
        self._check_identity(identity, identity.keys() | self.identity.keys())
        return progress

    def _read(self) -> tuple[dict[str, str], Progress]:
        """(identity, progress) as the file has them."""
        data = self.path.read_bytes()
        try:
            entries = read_header(data)
            if HEADER_KEY not in entries:
                raise ValueError("it is not a checkpoint")
            header = json.loads(entries[HEADER_KEY])
            tensors = tensors_from_bytes(data)
            identity = {str(name): str(value) for name, value in header["identity"].items()}
            progress = Progress(
                PriorAccumulator.from_state(tensors) if tensors else None,
                int(header["progress"]["next_batch"]),
                [(str(name), str(reason)) for name, reason in header["progress"]["skipped"]],
            )
            if progress.next_batch < 0:
                raise ValueError(f"{progress.next_batch} batches are done")
        except _DAMAGE as error:
            raise PriorError(
                f"{self.path.name} cannot be read ({error}); remove it to begin anew"
            ) from error
        return identity, progress

    def _check_identity(self, theirs: Mapping[str, str], names: Iterable[str]) -> None:
        changed = [
            f"{name} was {theirs.get(name)} and is {self.identity.get(name)}"
            for name in sorted(names)
            if theirs.get(name) != self.identity.get(name)
        ]
        if changed:
            raise PriorError(
                f"{self.path.name} is of a build that differs: {'; '.join(changed)}. Give the "
                "same dataset and options to resume, or remove the file to begin anew"
            )

    def save(self, progress: Progress) -> None:
        """Write `progress` in one step."""
        tensors = progress.state.to_state() if progress.state else {}
        header = {
            "identity": self.identity,
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
