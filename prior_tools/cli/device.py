"""On which device a process encodes."""

from __future__ import annotations

import re

import torch

from ..building.ranks import Ranks
from ..errors import PriorError


def choose_device(asked: str, ranks: Ranks, cuda_devices: int, mps: bool) -> str:
    """What `--device` means in this process: "auto", "cpu", "mps" or "cuda:N".

    "auto" leaves the choice to ComfyUI, which takes any accelerator that it knows. Among several
    ranks "auto" and "cuda" are the GPU of the rank's own number on its machine; a launcher that
    shows each rank one GPU only has chosen already.

    Args:
        asked: as given.
        ranks: this process among those of the build.
        cuda_devices: how many torch sees, 0 where it has no CUDA (or ROCm).
        mps: whether torch sees an Apple GPU.

    Raises PriorError if it is no device, not there, or a rank has no GPU of its own.
    """
    if asked not in ("auto", "cpu", "mps", "cuda") and not re.fullmatch("cuda:[0-9]{1,4}", asked):
        raise PriorError(
            f"device is {asked!r}; expected auto, cpu, cuda, cuda:N or mps; auto takes whatever "
            "accelerator ComfyUI finds"
        )
    if asked == "mps" and not mps:
        raise PriorError("device mps is not there: torch sees no Apple GPU; give auto or cpu")
    kind, _, number = asked.partition(":")
    if kind == "cuda" and int(number or 0) >= cuda_devices:
        raise PriorError(
            f"device {asked} is not there; torch sees {cuda_devices} CUDA devices, numbered from "
            "0; give one of them, auto or cpu"
        )
    if number:
        return f"cuda:{int(number)}"
    if asked in ("cpu", "mps") or cuda_devices == 0 or (asked == "auto" and ranks.size == 1):
        return asked
    if ranks.size == 1 or cuda_devices == 1:
        return "cuda:0"
    if ranks.local >= cuda_devices:
        raise PriorError(
            f"rank {ranks.local} of this machine has no GPU of its own: torch sees {cuda_devices}; "
            "start as many processes as there are GPUs, or give --device cpu"
        )
    return f"cuda:{ranks.local}"


def seen_by_torch() -> tuple[int, bool]:
    """(number of CUDA devices, whether there is an Apple GPU), for `choose_device`."""
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return cuda, torch.backends.mps.is_available()
