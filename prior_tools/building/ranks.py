"""Several processes build one prior: `torchrun --nproc_per_node N -m prior_tools build ...`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes

from ..accumulator import PriorAccumulator
from ..errors import PriorError
from ..labels.tally import LabelTally
from .build import Collected

# Ranks wait for the slowest of them, which on a large dataset may be hours behind the first. A rank
# that has died is not waited for: torchrun then ends the others.
_PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Ranks:
    """This process among those of one build.

    Attributes:
        rank: 0 .. size - 1; rank 0 speaks and saves.
        size: number of processes.
        local: rank among those of this machine, which is also its GPU.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @staticmethod
    def of_environment() -> Ranks:
        """As torchrun says; a single process where it was not started by torchrun."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        return Ranks(*(int(os.environ.get(n, d)) for n, d in zip(names, (0, 1, 0), strict=True)))

    def __enter__(self) -> Ranks:
        if self.size > 1:
            # The moments are float64 on the CPU also where the VAE runs on GPUs (Apple's have no
            # float64, and CUDA's scattered sums depend on their order), so Gloo carries them.
            dist.init_process_group("gloo", timeout=_PATIENCE)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        # After an error the others may be gone, and a tidy end would wait for them.
        if self.size > 1 and kind is None:
            dist.destroy_process_group()

    def united(self, collected: Collected) -> Collected:
        """What all ranks have collected on rank 0, in the order of ranks; each one's own elsewhere.

        What was kept beside the moments goes into what rank 0 keeps.
        """
        state, tally, aside = collected.state, collected.tally, collected.aside
        for data in self._of_others(tensors_to_bytes(state.to_state()) if state else b""):
            if data:
                theirs = PriorAccumulator.from_state(tensors_from_bytes(data))
                aside.begin(theirs.latent_channels, theirs.grid)
                state = theirs if state is None else state.merge(theirs)
        for data in self._of_others(json.dumps(tally.to_json()).encode()):
            tally = tally + LabelTally.from_json(json.loads(data))
        # Nothing was put aside where there is no state, here or on another rank.
        for kept in aside:
            for data in self._of_others(kept.to_bytes() if state else b""):
                kept.take(data)
        return Collected(state, tally, aside)

    def wait_until_saved(self) -> None:
        """Return once rank 0 calls this as well, which does so when all is saved.

        Raises PriorError where it ended before: what each rank has must then stay for another try.
        """
        if self.size == 1:
            return
        try:
            dist.barrier()
        except RuntimeError as error:
            raise PriorError(
                "another process of this build ended before the prior was saved, see what it says; "
                "start the same command again to go on from there"
            ) from error

    def gathered(self, lines: list[str]) -> list[str]:
        """The texts of all ranks on rank 0, in the order of ranks; those given on the others."""
        for data in self._of_others("\0".join(lines).encode(errors="surrogateescape")):
            text = data.decode(errors="surrogateescape")
            lines = lines + (text.split("\0") if text else [])
        return lines

    def _of_others(self, data: bytes) -> Iterator[bytes]:
        """On rank 0 what each other rank gives, one at a time; nothing on those, which send it."""
        if self.rank > 0:
            _send(data)
            return
        for other in range(1, self.size):
            yield _receive(other)


def _send(data: bytes) -> None:
    dist.send(torch.tensor([len(data)]), dst=0)
    if data:
        dist.send(torch.frombuffer(bytearray(data), dtype=torch.uint8), dst=0)


def _receive(source: int) -> bytes:
    length = torch.zeros(1, dtype=torch.int64)
    dist.recv(length, src=source)
    data = torch.empty(int(length), dtype=torch.uint8)
    if len(data):
        dist.recv(data, src=source)
    return data.numpy().tobytes()
