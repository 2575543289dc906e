"""A name for a VAE's weights that does not depend on the precision they were loaded in."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def hash_weights(state_dict: Mapping[str, Tensor]) -> str:
    """64 hex digits over names, shapes and values of the floating-point tensors.

    Values are rounded to bfloat16 first: the host loads one and the same file in float32 on one
    machine and in bfloat16 on another.
    """
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name]
        if not tensor.is_floating_point():
            continue
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().to("cpu").to(torch.bfloat16).contiguous()
        digest.update(values.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()
