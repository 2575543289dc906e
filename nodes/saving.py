"""Priors that nodes save under models/scp_priors."""

from __future__ import annotations

from pathlib import Path

from ..prior_tools import Prior, PriorError, save_prior
from .host_folders import new_prior_path


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
