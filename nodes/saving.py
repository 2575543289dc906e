"""Priors that nodes save under models/scp_priors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from comfy_api.v0_0_2 import io, ui
from torch import Tensor

from ..prior_tools import Prior, PriorError, save_prior
from ..prior_tools.errors import reason
from .host_folders import new_prior_path
from .host_models import Cancelled, notify


def check_new(filename: str, overwrite: bool) -> Path:
    """Where a prior of this name will be saved; PriorError if it may not be.

    To be asked before the work, so that nothing is computed in vain.
    """
    path = new_prior_path(filename)
    if path.exists() and not overwrite:
        raise PriorError(
            f"a prior named {path.name!r} exists already; choose another filename, turn "
            "overwrite on, or take it with Load SCP Prior"
        )
    return path


def save_new(prior: Prior, path: Path, overwrite: bool) -> None:
    """Save it there; PriorError if somebody else has meanwhile."""
    try:
        save_prior(prior, path, overwrite=overwrite)
    except FileExistsError as error:
        raise PriorError(
            f"a prior named {path.name!r} was saved by somebody else meanwhile; choose another "
            "filename"
        ) from error


def preview_of_saved(
    cls: type[io.ComfyNode], path: Path, picture: Callable[[], Tensor]
) -> ui.PreviewImage | None:
    """A preview on the node of what was saved at `path`; None with a warning if that fails.

    An error would hide that the prior is there. `picture` makes it: [H, W, 3] in 0..1.
    """
    try:
        return ui.PreviewImage(picture()[None], cls=cls)
    except Cancelled:
        raise
    except Exception as error:
        notify(
            f"{path.name} is saved, but there is no preview of it: {reason(error)}",
            "no preview of a saved prior",
        )
        return None
